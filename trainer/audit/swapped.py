"""The swapped test: each label stored the way the other one comes. What a model owes to storage falls there.

Real test pictures are stored as most generated ones come, and generated ones as most real ones do, at their own size,
so that a signal in the pixels stays what it was. The AUC is set beside that of the pictures as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.audit.counterfactuals import Way
from trainer.data.types import GroupedSample, Scorer
from trainer.stats.intervals import Measured, Resampler, missing, percentile_interval
from trainer.stats.metrics import weighted_auc
from trainer.stats.predictions import choose, group_codes
from trainer.stats.probes import LEAST_GROUPS, auc_of

PICTURES = 120
REPLICATES = 1000


@dataclass(frozen=True, slots=True)
class Swapped:
    """AUC of the test pictures as they are, AUC with the storage swapped, and how much is lost on the same pictures."""

    plain: Measured
    swapped: Measured
    loss: Measured

    def to_card(self) -> dict[str, Any]:
        return {"plain": self.plain.to_card(), "swapped": self.swapped.to_card(), "loss": self.loss.to_card()}

    def falls_to_chance(self) -> bool:
        return (self.plain.low or 0) > 0.5 >= (self.swapped.low if self.swapped.low is not None else 1)

    def surely_loses(self, margin: float) -> bool:
        return self.loss.low is not None and self.loss.low > margin


def swap(ways: tuple[Way, Way], samples: Sequence[GroupedSample], scorer: Scorer) -> Swapped:
    """`ways` are those of real and of generated pictures. Asked is the test split of `samples`."""
    chosen = choose([member for member in samples if member.part == "test"], PICTURES)
    targets = np.array([member.sample.target for member in chosen], dtype=np.int64)
    groups = group_codes([member.group for member in chosen])
    if min((len(np.unique(groups[targets == label])) for label in (0, 1)), default=0) < LEAST_GROUPS:
        nothing = missing(f"fewer than {LEAST_GROUPS} groups of a label in the test split", len(chosen))
        return Swapped(nothing, nothing, nothing)
    own = scorer.logits(chosen)
    other = np.empty(len(chosen))
    for label, way in ((0, ways[1]), (1, ways[0])):
        rows = np.flatnonzero(targets == label)
        other[rows] = scorer.logits([chosen[row] for row in rows.tolist()], replace(way, shrink=1.0))
    plain, swapped = auc_of(own, targets, groups), auc_of(other, targets, groups)
    draws = np.concatenate(
        [
            weighted_auc(weights, targets, own) - weighted_auc(weights, targets, other)
            for weights in Resampler(targets, groups, REPLICATES).weights()
        ]
    )
    low, high = percentile_interval(draws) or (None, None)
    lost = (plain.value or 0) - (swapped.value or 0)
    return Swapped(plain, swapped, Measured(lost, low, high, len(chosen), plain.groups))
