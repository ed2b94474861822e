"""Which part (train, validation, calibration, test) a sample lies in: safe against leaks, stable under growth.

A group is what may not be parted: samples of one creator, of one post, and near-duplicates, joined transitively.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.snapshot import Sample
from trainer.types import GroupedSample, Part, PartsOfSplit


@dataclass(frozen=True, slots=True)
class Split:
    """The samples of each part, those left out with the reason, and how the groups came about."""

    parts: PartsOfSplit
    left_out: dict[str, str]  # sha256 -> reason
    report: dict[str, Any]  # the card's data.split

    def samples(self, *parts: Part) -> list[GroupedSample]:
        """Samples of the named parts, of all parts without a name."""
        return [sample for part, members in self.parts.items() if not parts or part in parts for sample in members]


def split_samples(samples: Sequence[Sample], ledger: Path, *, key: str, near_duplicate_distance: int) -> Split:
    """Assign each sample to a part; `ledger` (split.sqlite) remembers every assignment ever made."""
    raise NotImplementedError
