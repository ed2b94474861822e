"""Samples with what a model says about them: the one shape that metrics, evaluation and gate work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from trainer.data.types import Floats, GroupedSample, Scorer, Transform

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scored:
    """Samples and P(ai_generated) of each, after temperature; targets are 1 for ai_generated, groups are counted up."""

    samples: tuple[GroupedSample, ...]
    probabilities: Floats

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def targets(self) -> Ints:
        return np.array([member.sample.target for member in self.samples], dtype=np.int64)

    @property
    def groups(self) -> Ints:
        return group_codes([member.group for member in self.samples])

    def where(self, keep: Callable[[GroupedSample], bool]) -> Scored:
        chosen = np.array([keep(member) for member in self.samples], dtype=bool)
        kept = tuple(member for member, is_kept in zip(self.samples, chosen, strict=True) if is_kept)
        return Scored(kept, self.probabilities[chosen])


class CachedScorer:
    """A scorer that looks at each untouched picture once, however many measurements ask for it."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._logits: dict[str, float] = {}
        self._embeddings: dict[str, Floats] = {}

    def logits(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        if transform is not None:
            return self._scorer.logits(samples, transform, seed)
        new = [member for member in samples if member.sample.sha256 not in self._logits]
        if new:
            values = self._scorer.logits(new).tolist()
            self._logits.update((member.sample.sha256, value) for member, value in zip(new, values, strict=True))
        return np.array([self._logits[member.sample.sha256] for member in samples], dtype=np.float64)

    def embeddings(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        if transform is not None:
            return self._scorer.embeddings(samples, transform, seed)
        new = [member for member in samples if member.sample.sha256 not in self._embeddings]
        if new:
            rows = self._scorer.embeddings(new)
            self._embeddings.update((member.sample.sha256, row) for member, row in zip(new, rows, strict=True))
        return np.stack([self._embeddings[member.sample.sha256] for member in samples])


def score(
    scorer: Scorer,
    samples: Sequence[GroupedSample],
    temperature: float,
    transform: Transform | None = None,
    seed: int = 0,
) -> Scored:
    """P(ai_generated) of each sample: the sigmoid of logit over temperature."""
    if not samples:
        return Scored((), np.empty(0))
    return Scored(tuple(samples), expit(scorer.logits(samples, transform, seed) / temperature))


def group_codes(groups: Sequence[str]) -> Ints:
    """Groups as 0, 1, 2, … in order of name."""
    return np.unique(np.array(groups, dtype=str), return_inverse=True)[1].astype(np.int64)


def choose(samples: Sequence[GroupedSample], limit: int) -> list[GroupedSample]:
    """At most `limit` samples, as evenly by label as they allow, chosen and ordered by sha256 alone."""
    ordered = sorted(samples, key=lambda member: member.sample.sha256)
    if len(ordered) <= limit:
        return ordered
    by_label: dict[int, list[GroupedSample]] = {0: [], 1: []}
    for member in ordered:
        by_label[member.sample.target].append(member)
    fewer = min(by_label.values(), key=len)
    take = min(len(fewer), limit // 2)
    kept = [member for members in by_label.values() for member in members[: take if members is fewer else limit - take]]
    return sorted(kept, key=lambda member: member.sample.sha256)
