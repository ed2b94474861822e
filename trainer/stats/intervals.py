"""How far a measured number can be trusted: cluster bootstrap by group, and what holds for very few groups.

Pictures of one creator or post are alike, so whole groups are drawn, within each label. The bootstrap of a perfect
score is a single point however few pictures there are; intervals are therefore widened to those of Wilson (shares;
MOVER for sums of shares) and Newcombe's method 5 (AUC; Statistics in Medicine 25, 2006), with groups as observations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from trainer.data.types import Floats
from trainer.stats.predictions import Ints

CONFIDENCE = 0.95
MIN_FINITE_SHARE = 0.5  # of the replicates; below, the interval is not given
CHUNK_NUMBERS = 2_000_000  # size of one block of replicates x samples: 16 MB


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with its 95 % interval, the pictures and groups it rests on, and why it is missing when it is."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    groups: int
    why: str | None = None

    def to_card(self) -> dict[str, Any]:
        card = {"value": self.value, "low": self.low, "high": self.high, "n": self.n, "groups": self.groups}
        rounded: dict[str, Any] = {
            key: round(part, 6) if isinstance(part, float) else part for key, part in card.items()
        }
        return rounded if self.why is None else rounded | {"why": self.why}


def missing(why: str, n: int = 0, groups: int = 0) -> Measured:
    return Measured(None, None, None, n, groups, why)


class Resampler:
    """Weights of a cluster bootstrap: how often each sample's group is drawn, in each of `replicates` draws."""

    def __init__(self, targets: Ints, groups: Ints, replicates: int, seed: int = 0) -> None:
        self.replicates = replicates
        self._groups = groups
        self._seed = seed
        count = int(groups.max()) + 1 if len(groups) else 0
        label_sums = np.bincount(groups, weights=targets, minlength=count)
        sizes = np.bincount(groups, minlength=count)
        # a group's stratum is its label; the rare group that has both labels is in a stratum of its own kind
        strata = np.where(label_sums == sizes, 1, np.where(label_sums == 0, 0, 2))
        self._strata = [np.flatnonzero(strata == stratum) for stratum in (0, 1, 2) if (strata == stratum).any()]
        self._count = count

    def weights(self) -> Iterator[Floats]:
        """Blocks of shape [some replicates, samples]."""
        generator = np.random.default_rng(self._seed)
        block = max(1, CHUNK_NUMBERS // max(1, len(self._groups)))
        for start in range(0, self.replicates, block):
            rows = min(block, self.replicates - start)
            drawn = np.zeros((rows, self._count))
            for members in self._strata:
                drawn[:, members] = generator.multinomial(
                    len(members), np.full(len(members), 1 / len(members)), size=rows
                )
            yield drawn[:, self._groups]


def percentile_interval(replicates: Floats, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """The middle `confidence` of the finite replicates; None when too many are not defined."""
    finite = replicates[np.isfinite(replicates)]
    if len(finite) < MIN_FINITE_SHARE * len(replicates) or len(finite) == 0:
        return None
    tail = 50 * (1 - confidence)
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(low), float(high)


def wilson(share: float, observations: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    if observations <= 0:
        return 0.0, 1.0
    z = float(norm.ppf((1 + confidence) / 2))
    middle = (share + z**2 / (2 * observations)) / (1 + z**2 / observations)
    half = z / (1 + z**2 / observations) * math.sqrt(share * (1 - share) / observations + (z / (2 * observations)) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def auc_interval(auc: float, positives: int, negatives: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Newcombe's method 5: the AUCs whose own Hanley-McNeil error would reach the one measured."""
    if positives < 1 or negatives < 1:
        return 0.0, 1.0
    z = float(norm.ppf((1 + confidence) / 2))
    half = (positives + negatives) / 2 - 1

    def excess(theta: float) -> float:
        spread = 1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)
        return (auc - theta) ** 2 - z**2 * theta * (1 - theta) * spread / (positives * negatives)

    edge = 1e-9  # the ends of the scale are roots of their own
    low = brentq(excess, edge, auc - edge) if auc > 2 * edge and excess(edge) > 0 else 0.0
    high = brentq(excess, auc + edge, 1 - edge) if auc < 1 - 2 * edge and excess(1 - edge) > 0 else 1.0
    return float(low), float(high)


def hull(*intervals: tuple[float, float] | None) -> tuple[float, float] | None:
    given = [interval for interval in intervals if interval is not None]
    return (min(low for low, _ in given), max(high for _, high in given)) if given else None
