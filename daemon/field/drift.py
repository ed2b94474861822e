"""Whether what Exposr-Core sees has moved away from what the version in service was tested on: one pure decision.

The share of pictures that the version cannot judge (`uncertain`, which includes `unfamiliar` ones) is compared with its
share in validation, where each label has its own. What the mixture of labels is out there is not known, so it counts as
risen only when it lies above the larger of the two, by intervals on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

DriftState = Literal["off", "no_version", "no_baseline", "too_few", "steady", "risen"]

WINDOW_DAYS = 7
LEAST_PICTURES = 200  # in the window
ADVICE = (
    "label what waits in the console, reported pictures first; where a source can be used, collecting starts once a "
    "day while this lasts, and a training follows when the data has grown"
)
Z = 2.576  # 99 %, one decision a day


@dataclass(frozen=True, slots=True)
class Baseline:
    """What validation says: the share that was uncertain, and its upper limit, of the label where it is larger."""

    share: float
    high: float


@dataclass(frozen=True, slots=True)
class Drift:
    """`share` of `pictures` in the last days was uncertain, `low` is its lower limit; None where nothing is known."""

    state: DriftState
    reason: str
    pictures: int = 0
    share: float | None = None
    low: float | None = None
    baseline: Baseline | None = None

    @property
    def is_risen(self) -> bool:
        return self.state == "risen"

    def as_public(self) -> dict[str, Any]:
        return {**asdict(self), "window_days": WINDOW_DAYS, "advice": ADVICE if self.is_risen else ""}


def decide_drift(pictures: int, uncertain: int, baseline: Baseline | None) -> Drift:
    """From the counts of the last WINDOW_DAYS days of the version in service."""
    if baseline is None:
        return Drift("no_baseline", "the card of the version in service says nothing of its verdicts", pictures)
    if pictures < LEAST_PICTURES:
        reason = f"{pictures} pictures in {WINDOW_DAYS} days; {LEAST_PICTURES} are needed"
        return Drift("too_few", reason, pictures, baseline=baseline)
    share = uncertain / pictures
    low = wilson_low(uncertain, pictures)
    seen = f"{share:.1%} of {pictures} pictures in {WINDOW_DAYS} days could not be judged (at least {low:.1%})"
    if low > baseline.high:
        reason = f"{seen}; in validation it was {baseline.share:.1%} (at most {baseline.high:.1%})"
        return Drift("risen", reason, pictures, share, low, baseline)
    reason = f"{seen}; in validation up to {baseline.high:.1%}"
    return Drift("steady", reason, pictures, share, low, baseline)


def wilson_low(successes: int, number: int) -> float:
    """Lower end of Wilson's score interval of a share (Wilson, 1927)."""
    share = successes / number
    centre = share + Z**2 / (2 * number)
    spread = Z * math.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2))
    return max(0.0, (centre - spread) / (1 + Z**2 / number))


def baseline_of(card: Mapping[str, Any]) -> Baseline | None:
    """The validation part's uncertain share, of the label where its upper limit is larger."""
    try:
        verdicts = card["evaluation"]["validation"]["verdicts"]
        found = [verdicts[name] for name in ("real_uncertain", "ai_uncertain")]
        known = [(float(rate["high"]), float(rate["value"])) for rate in found if rate is not None]
    except (KeyError, TypeError, ValueError):
        return None
    if not known:
        return None
    high, share = max(known)
    return Baseline(share, high)
