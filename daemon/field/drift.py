"""Whether what Exposr-Core sees has moved away from what the version in service was tested on: one pure decision.

Two shares are compared with validation: of pictures that the version cannot judge (`uncertain`), where each label has a
share of its own in validation and the larger one counts, since nobody knows the mixture of labels out there; and of
pictures unlike all that it was measured on (`unfamiliar`, which are among the uncertain ones). A share has risen only
when that is sure, by intervals on both sides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
class Window:
    """Counts of the last WINDOW_DAYS days of the version in service."""

    pictures: int
    uncertain: int
    unfamiliar: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """`seen` of the window's pictures, `low` its lower limit; `validation` and its upper limit `high`."""

    seen: float
    low: float
    validation: float
    high: float

    @property
    def is_risen(self) -> bool:
        return self.low > self.high


@dataclass(frozen=True, slots=True)
class Drift:
    """`shares` by kind, uncertain and unfamiliar; empty where nothing can be said."""

    state: DriftState
    reason: str
    pictures: int = 0
    shares: Mapping[str, Share] = field(default_factory=dict)

    @property
    def is_risen(self) -> bool:
        return self.state == "risen"

    def as_public(self) -> dict[str, Any]:
        shares = {kind: asdict(share) for kind, share in self.shares.items()}
        advice = ADVICE if self.is_risen else ""
        return {
            **{"state": self.state, "reason": self.reason, "pictures": self.pictures, "shares": shares},
            **{"window_days": WINDOW_DAYS, "advice": advice},
        }


def decide_drift(window: Window, baselines: Mapping[str, tuple[float, float]]) -> Drift:
    """`baselines`: validation's share and its upper limit, by kind (`baselines_of`)."""
    if "uncertain" not in baselines:
        reason = "the card of the version in service says nothing of its verdicts"
        return Drift("no_baseline", reason, window.pictures)
    if window.pictures < LEAST_PICTURES:
        reason = f"{window.pictures} pictures in {WINDOW_DAYS} days; {LEAST_PICTURES} are needed"
        return Drift("too_few", reason, window.pictures)
    shares = {}
    for kind, (validation, high) in baselines.items():
        count = getattr(window, kind)
        shares[kind] = Share(count / window.pictures, wilson_low(count, window.pictures), validation, high)
    risen = {kind: share for kind, share in shares.items() if share.is_risen}
    said = "; ".join(
        f"{share.seen:.1%} of {window.pictures} pictures in {WINDOW_DAYS} days were {kind}, at least {share.low:.1%} "
        f"with 99 % confidence; in validation {share.validation:.1%}, at most {share.high:.1%}"
        for kind, share in (risen or shares).items()
    )
    return Drift("risen" if risen else "steady", said, window.pictures, shares)


def wilson_low(successes: int, number: int) -> float:
    """Lower end of Wilson's score interval of a share (Wilson, 1927)."""
    share = successes / number
    centre = share + Z**2 / (2 * number)
    spread = Z * math.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2))
    return max(0.0, (centre - spread) / (1 + Z**2 / number))


def baselines_of(card: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """The validation split's shares and their upper limits, as far as the card has them."""
    found: dict[str, tuple[float, float]] = {}
    try:
        part = card["evaluation"]["validation"]
        rates = [part["verdicts"][name] for name in ("real_uncertain", "ai_uncertain")]
        limits = [(float(rate["high"]), float(rate["value"])) for rate in rates if rate is not None]
        if limits:
            high, share = max(limits)
            found["uncertain"] = (share, high)
        if unfamiliar := part.get("unfamiliar"):
            found["unfamiliar"] = (float(unfamiliar["value"]), float(unfamiliar["high"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return found
    return found
