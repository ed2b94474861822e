"""A job that fails again and again."""

from __future__ import annotations

import itertools

from daemon.monitoring.job_guard import LONGEST_BACKOFF_SECONDS, JobGuard
from fake_clock import FakeClock


def test_a_failing_job_backs_off_degrades_its_part_and_recovers_by_itself(fake_clock: FakeClock) -> None:
    guard = JobGuard(fake_clock.monotonic)
    attempts: list[float] = []
    is_full = True

    def job() -> None:
        attempts.append(fake_clock.monotonic())
        if is_full:
            raise OSError("no space left")

    for _ in range(600):
        guard.run("tick", job)
        fake_clock.pass_time(1)
    waits = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert waits[:4] == [1, 2, 4, 8] and max(waits) == LONGEST_BACKOFF_SECONDS
    (part,) = guard.health()
    assert (part.name, part.ok) == ("tick", False) and "no space left" in part.reason
    is_full = False
    fake_clock.pass_time(LONGEST_BACKOFF_SECONDS)
    guard.run("tick", job)
    assert guard.health() == []


def test_one_failure_alone_is_no_degraded_part_and_stops_no_other_job(fake_clock: FakeClock) -> None:
    guard = JobGuard(fake_clock.monotonic)
    done: list[str] = []
    guard.run("one", lambda: [][1])
    guard.run("other", lambda: done.append("other"))
    assert guard.health() == [] and done == ["other"]
