"""The two clocks of the service, behind one seam, and the one way to write a time.

Wall time says when something happened; monotonic time says how long it took. Nothing else may be used for either.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """Aware UTC wall time; may step."""

    def monotonic(self) -> float:
        """Seconds that never step back; counts suspend (CLOCK_BOOTTIME) and restarts at boot."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)


def to_iso(moment: datetime) -> str:
    """ISO 8601 in UTC with seconds and `Z`, as the integration guide writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_iso(text: str) -> datetime:
    """Inverse of `to_iso`; also reads offsets and fractions. Raises ValueError when no zone is given."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {text!r}")
    return moment.astimezone(UTC)
