"""Periodic jobs keep their interval when the wall clock is set, in either direction."""

from __future__ import annotations

import datetime as real
from types import SimpleNamespace

import pytest
import schedule

from daemon.scheduling.periodic import PeriodicJobs


class WallClock:
    """Local time as the schedule library reads it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = real.datetime(2026, 10, 25, 2, 59, 30)
        clock = self

        class Moved(real.datetime):
            @classmethod
            def now(cls, tz: real.tzinfo | None = None) -> real.datetime:
                return clock.time

        monkeypatch.setattr(schedule, "datetime", SimpleNamespace(datetime=Moved, timedelta=real.timedelta))

    def move(self, **by: float) -> None:
        self.time += real.timedelta(**by)


@pytest.mark.parametrize("step", [{"hours": -1}, {"hours": -6}, {"days": -400}, {"hours": 6}, {"seconds": -20}])
def test_a_step_of_the_wall_clock_delays_nothing(monkeypatch: pytest.MonkeyPatch, step: dict[str, float]) -> None:
    clock = WallClock(monkeypatch)
    ran: list[str] = []
    jobs = PeriodicJobs()
    jobs.every(15, lambda: ran.append("plan"))
    jobs.every(60, lambda: ran.append("gpu"))
    for _ in range(120):
        clock.move(seconds=1)
        jobs.run_pending()
    assert (ran.count("plan"), ran.count("gpu")) == (8, 2)
    clock.move(**step)
    ran.clear()
    for _ in range(120):
        clock.move(seconds=1)
        jobs.run_pending()
    assert 6 <= ran.count("plan") <= 9
    assert 1 <= ran.count("gpu") <= 3
