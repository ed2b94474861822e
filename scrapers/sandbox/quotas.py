"""Counting requests in fixed windows of wall time, as the sources do."""

from __future__ import annotations

from collections import Counter

from utils.clock import Clock


class Quotas:
    """Requests used, by (who, window). A window starts at a multiple of its length since the epoch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: Counter[tuple[str, float, int]] = Counter()

    def clear(self) -> None:
        self._used.clear()

    def use(self, who: str, window_seconds: float) -> int:
        """Count one request and return how many `who` has made in the present window, this one included."""
        window = int(self._clock.now().timestamp() // window_seconds)
        self._used[who, window_seconds, window] += 1
        return self._used[who, window_seconds, window]
