import os

import pytest

from daemon.monitoring.sd_notify import Notifier
from daemon.monitoring.watchdog import Heartbeats, Watchdog, watchdog_interval


class CountingNotifier(Notifier):
    """Counts the pings that would go to systemd."""

    def __init__(self) -> None:
        super().__init__({})
        self.pings = 0

    def watchdog(self) -> None:
        self.pings += 1


def make_watchdog(parts: Heartbeats, limit_seconds: int = 30) -> tuple[Watchdog, CountingNotifier]:
    notifier = CountingNotifier()
    environ = {"WATCHDOG_USEC": str(limit_seconds * 1_000_000), "WATCHDOG_PID": str(os.getpid())}
    return Watchdog(notifier, parts, environ), notifier


def test_the_pace_is_half_of_what_systemd_allows() -> None:
    watchdog, notifier = make_watchdog(Heartbeats(), limit_seconds=30)
    for second in range(61):
        watchdog.tick(float(second))
    assert notifier.pings == 5  # at 0, 15, 30, 45, 60


def test_one_silent_part_stops_the_pings_and_is_named() -> None:
    parts, beat = Heartbeats(), {"api": 0.0, "dataset": 0.0}
    parts.add("api", lambda: beat["api"], 10)
    parts.add("dataset", lambda: beat["dataset"], 10)
    watchdog, notifier = make_watchdog(parts, limit_seconds=2)
    for second in range(20):
        beat["api"] = second
        stale = watchdog.tick(float(second))
    assert notifier.pings == 11  # seconds 0 to 10
    assert stale == ["dataset: silent for 19 s (limit 10 s)"]


def test_pings_go_on_when_the_part_is_back() -> None:
    parts, beat = Heartbeats(), {"api": 0.0}
    parts.add("api", lambda: beat["api"], 10)
    watchdog, notifier = make_watchdog(parts)
    for second in range(0, 101, 5):
        stale = watchdog.tick(float(second))
    assert stale
    assert notifier.pings == 1
    beat["api"] = 100
    assert watchdog.tick(100) == []
    assert notifier.pings == 2


def test_a_part_that_was_ended_on_purpose_is_not_missed() -> None:
    parts = Heartbeats()
    parts.add("scrape", lambda: 0.0, 1)
    parts.remove("scrape")
    assert parts.stale(100) == []


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),  # meant for another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_only_the_process_that_systemd_means_pings(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval(environ, 7) == seconds
