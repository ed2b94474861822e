"""A clock under the test's hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FakeClock:
    """`pass_time` moves both clocks; `wall` and `boot` may also be set apart, as a clock step or a reboot does."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.boot = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.boot

    def pass_time(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.boot += seconds
