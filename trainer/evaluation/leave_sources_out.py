"""Leave-one-source-out evaluation: scores for each real source and generator by a head fitted without it.

For each fold of `trainer.split.sources` the head is fitted again on the train split without the fold, and without any
group that it appears in, and scores the whole fold. Its temperature is that of the published head, so that thresholds
mean the same on both; where the head is not of the published kind, the rest of the calibration split gives it.
Pairs leave out a source and a generator together. The network itself is not trained again, and `method` says so: the
result is exact for frozen features and an upper bound for fine-tuned ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

from trainer.data.types import Floats, GroupedSample, PartsOfSplit, Refit, Scorer
from trainer.evaluation.temperature import fit_temperature
from trainer.split.sources import LEAST_IMAGES, SourceFold, source_folds
from trainer.stats.novelty import Novelty
from trainer.stats.predictions import Bools, Ints, Scored, choose
from trainer.stats.probes import feature_head
from trainer.stats.projection import Projection
from utils.config.training import Evaluation as Settings

MOST_PAIRS = 12  # of a source and a generator that are left out together
REFITTED = "the head is fitted again, as the published one was, on the features of a network that never met them"
PLAIN_HEAD = (
    "a linear head is fitted again on the features of the finished network, which has met what is left out: an upper "
    "bound; asked are pictures that it was not trained on"
)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One fold as seen by a head that never met it: its pictures, and with them the other label's test pictures.

    `novelty` is that of its pictures to a train split without it.
    """

    name: str
    target: int
    own: Scored
    against: Scored
    novelty: Floats = field(default_factory=lambda: np.empty(0))

    def is_familiar(self, cut: float | None) -> Bools:
        """Of its own pictures; all of them where there is no cut."""
        if cut is None or not len(self.novelty):
            return np.ones(len(self.own), dtype=bool)
        return np.asarray(self.novelty <= cut)


@dataclass(frozen=True, slots=True)
class LeftOutSources:
    """Folds of either label, and pairs of them left out together. `why` names a label that has too few sources."""

    real: tuple[LeftOut, ...]
    generated: tuple[LeftOut, ...]
    pairs: tuple[Scored, ...]
    pair_names: tuple[str, ...]
    method: str

    @property
    def folds(self) -> tuple[LeftOut, ...]:
        return (*self.real, *self.generated)


NOTHING_LEFT_OUT = LeftOutSources((), (), (), (), "not measured (evaluation.leave_one_out)")


def leave_sources_out(
    scorer: Scorer, parts: PartsOfSplit, refit: Refit | None, settings: Settings, temperature: float | None = None
) -> LeftOutSources:
    """`refit` fits the published head again on some train members; without it a plain one stands in.

    `temperature` is that of the published head.
    """
    members = choose([member for part in parts.values() for member in part], settings.max_images)
    most = settings.leave_one_out_slices
    real, generated = (source_folds(members, target, most=most) for target in (0, 1))
    if not real and not generated:
        return LeftOutSources((), (), (), (), REFITTED if refit else PLAIN_HEAD)
    heads = _Heads(scorer, members, refit, temperature if refit else None)
    pairs = {f"{first.name} and {second.name}": heads.pair(first, second) for first, second in _pairs(real, generated)}
    return LeftOutSources(
        tuple(filter(None, map(heads.left_out, real))),
        tuple(filter(None, map(heads.left_out, generated))),
        tuple(filter(None, pairs.values())),
        tuple(name for name, pair in pairs.items() if pair),
        REFITTED if refit else PLAIN_HEAD,
    )


class _Heads:
    """Heads without one fold or two, over the same members."""

    def __init__(
        self, scorer: Scorer, members: Sequence[GroupedSample], refit: Refit | None, temperature: float | None
    ) -> None:
        self._members, self._temperature = members, temperature
        self._embeddings = scorer.embeddings(members)
        self._targets = np.array([member.sample.target for member in members], dtype=np.int64)
        self._groups = np.array([member.group for member in members])
        self._parts = np.array([member.part for member in members])
        self._askable = np.ones(len(members), dtype=bool) if refit else self._parts != "train"
        self._refit = refit or _plain_refit(scorer, [member for member in members if member.part == "train"])

    def left_out(self, fold: SourceFold) -> LeftOut | None:
        others = (self._parts == "test") & (self._targets != fold.target)
        asked = (fold.rows & self._askable) | others
        answer = self._without(fold.rows, asked)
        if answer is None:
            return None
        rows, scored = answer
        of_fold = fold.rows[rows]
        if of_fold.sum() < LEAST_IMAGES:
            return None
        own = Scored(
            tuple(member for member, is_own in zip(scored.samples, of_fold, strict=True) if is_own),
            scored.probabilities[of_fold],
        )
        fit = self._fit_rows(fold.rows, asked)
        novelty = Novelty.of(self._embeddings[fit], self._targets[fit])
        found = novelty(self._embeddings[rows[of_fold]]) if novelty else np.empty(0)
        return LeftOut(fold.name, fold.target, own, scored, found)

    def pair(self, first: SourceFold, second: SourceFold) -> Scored | None:
        both = first.rows | second.rows
        found = self._without(both, both & self._askable)
        return found[1] if found and len(set(found[1].targets.tolist())) == 2 else None

    def _without(self, rows: Bools, asked: Bools) -> tuple[Ints, Scored] | None:
        """The asked members as a head sees them that was fitted without `rows`; None where too little is left."""
        fit = self._fit_rows(rows, asked)
        if min(int((self._targets[fit] == label).sum()) for label in (0, 1)) < LEAST_IMAGES:
            return None
        weight, bias = self._refit([self._members[index] for index in np.flatnonzero(fit).tolist()])
        logits: Floats = self._embeddings @ weight + bias
        temperature = self._temperature or self._own_temperature(logits, self._free(rows, asked))
        chosen = np.flatnonzero(asked)
        return chosen, Scored(
            tuple(self._members[index] for index in chosen.tolist()), expit(logits[chosen] / temperature)
        )

    def _own_temperature(self, logits: Floats, free: Bools) -> float:
        known = free & np.isin(self._parts, ("calibration", "validation"))
        both = len(set(self._targets[known].tolist())) == 2
        return fit_temperature(logits[known], self._targets[known]) if both else 1.0

    def _free(self, rows: Bools, asked: Bools) -> Bools:
        """Members whose group is neither left out nor asked."""
        return np.asarray(~np.isin(self._groups, self._groups[rows | asked]))

    def _fit_rows(self, rows: Bools, asked: Bools) -> Bools:
        return np.asarray(self._free(rows, asked) & (self._parts == "train"))


def _pairs(real: Sequence[SourceFold], generated: Sequence[SourceFold]) -> Iterator[tuple[SourceFold, SourceFold]]:
    """Up to MOST_PAIRS, so that each fold is in one before any is in many."""
    if not real or not generated:
        return
    longest = max(len(real), len(generated))
    turns = [
        (index % len(real), (index + turn) % len(generated)) for turn in range(longest) for index in range(longest)
    ]
    for first, second in list(dict.fromkeys(turns))[:MOST_PAIRS]:
        yield real[first], generated[second]


def _plain_refit(scorer: Scorer, train: Sequence[GroupedSample]) -> Refit:
    embeddings = scorer.embeddings(train) if train else np.zeros((0, 1))
    row_of = {member.sample.sha256: row for row, member in enumerate(train)}
    project = Projection.of(embeddings) if train else None

    def refit(members: Sequence[GroupedSample]) -> tuple[Floats, float]:
        assert project is not None  # there are no members without a train split
        rows = [row_of[member.sample.sha256] for member in members]
        targets = np.array([member.sample.target for member in members])
        head = feature_head().fit(project(embeddings[rows]), targets)
        weight: Floats = project.matrix @ head.coef_[0]
        return weight, float(head.intercept_[0] - project.centre @ weight)

    return refit
