"""Samples and scorers for the tests of the assessment: numbers without pictures where only numbers matter."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from trainer.data.snapshot import Sample
from trainer.data.types import Floats, GroupedSample, Part, Transform
from trainer.stats.predictions import Scored


def make_sample(name: str, target: int, **facts: object) -> Sample:
    defaults: dict[str, object] = {
        "id": name,
        "path": f"{name}.jpg",
        "sha256": hashlib.sha256(name.encode()).hexdigest(),
        "size_bytes": 1000,
        "label": "ai_generated" if target else "real",
        "source": "civitai" if target else "pexels",
        "format": "jpeg",
        "width": 512,
        "height": 512,
        "has_exif": False,
        "generator": "flux" if target else None,
    }
    return Sample(**defaults | facts)  # type: ignore[arg-type]


def make_members(
    count: int, part: Part = "test", *, group_size: int = 1, prefix: str = "", **facts: object
) -> list[GroupedSample]:
    """`count` samples, labels in turn by group."""
    members = []
    for index in range(count):
        group = index // group_size
        sample = make_sample(f"{prefix}{part}{index}", group % 2, **facts)
        members.append(GroupedSample(sample, f"{prefix}{part}-g{group}", part))
    return members


def make_scored(targets: Sequence[int], probabilities: Sequence[float], groups: Sequence[str] | None = None) -> Scored:
    names = groups or [f"g{index}" for index in range(len(targets))]
    members = tuple(
        GroupedSample(make_sample(f"s{index}", target), group, "test")
        for index, (target, group) in enumerate(zip(targets, names, strict=True))
    )
    return Scored(members, np.array(probabilities, dtype=np.float64))


class KnownScorer:
    """Answers with the logits and embeddings it was given, by sha256."""

    def __init__(self, logits: dict[str, float], embeddings: dict[str, Floats] | None = None) -> None:
        self._logits = logits
        self._embeddings = embeddings or {}
        self.asked = 0

    def logits(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        self.asked += len(samples)
        return np.array([self._logits[member.sample.sha256] for member in samples], dtype=np.float64)

    def embeddings(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        return np.stack([self._embeddings[member.sample.sha256] for member in samples])


def noisy_scorer(members: Sequence[GroupedSample], strength: float, seed: int) -> KnownScorer:
    """Logits of normal noise around plus and minus `strength` by label."""
    rng = np.random.default_rng(seed)
    return KnownScorer({m.sample.sha256: float(rng.normal((2 * m.sample.target - 1) * strength, 1)) for m in members})


def silent(done: int, total: int, message: str, metrics: dict[str, float] | None = None) -> None:
    """Progress that nobody reads."""
