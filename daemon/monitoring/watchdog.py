"""Who is alive: heartbeats of the parts, and the ping to systemd that goes out only while all of them are fresh.

A ping from a timer of its own would keep a service alive that answers nobody; this one stands for every part.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from daemon.monitoring.sd_notify import Notifier

ASLEEP_AFTER_SECONDS = 30.0  # without a tick: the machine was suspended, or this process stopped


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`read` gives the monotonic time (Clock.monotonic) of the part's last proof of life."""

    name: str
    read: Callable[[], float]
    max_age_seconds: float


class Heartbeats:
    """The parts that must all be alive. Used by the supervisor's thread alone."""

    def __init__(self) -> None:
        self._parts: dict[str, Heartbeat] = {}

    def add(self, name: str, read: Callable[[], float], max_age_seconds: float) -> None:
        """Watch a part; a part of the same name is replaced."""
        self._parts[name] = Heartbeat(name, read, max_age_seconds)

    def remove(self, name: str) -> None:
        """Stop watching a part that has been ended on purpose."""
        self._parts.pop(name, None)

    def stale(self, now: float, awake_since: float = 0.0) -> list[str]:
        """The parts that have been silent for too long, each in words; empty while all is well.

        While the machine slept, until `awake_since`, nobody could give a sign of life.
        """
        silent = []
        for part in self._parts.values():
            age = now - max(part.read(), awake_since)
            if age > part.max_age_seconds:
                silent.append(f"{part.name}: silent for {age:.0f} s (limit {part.max_age_seconds:g} s)")
        return silent


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two pings, half of what systemd allows; None where it did not ask this process for any."""
    meant = environ.get("WATCHDOG_PID", str(pid))
    allowed = environ.get("WATCHDOG_USEC", "")
    if not allowed.isdecimal() or int(allowed) == 0 or meant != str(pid):
        return None
    return int(allowed) / 2_000_000


class Watchdog:
    """Pings systemd at its pace while no heartbeat is stale."""

    def __init__(self, notifier: Notifier, heartbeats: Heartbeats, environ: Mapping[str, str] = os.environ) -> None:
        self._notifier = notifier
        self._heartbeats = heartbeats
        self._interval = watchdog_interval(environ, os.getpid())
        self._last_ping: float | None = None
        self._last_tick: float | None = None
        self._awake_since = 0.0

    @property
    def interval_seconds(self) -> float | None:
        """Half of WATCHDOG_USEC; None where systemd does not watch."""
        return self._interval

    def tick(self, now: float) -> list[str]:
        """Call it at least once a second; returns the stale parts, for /health, STATUS= and the log."""
        if self._last_tick is not None and now - self._last_tick > ASLEEP_AFTER_SECONDS:
            self._awake_since = now
        self._last_tick = now
        stale = self._heartbeats.stale(now, self._awake_since)
        if stale or self._interval is None:
            return stale
        if self._last_ping is None or now - self._last_ping >= self._interval:
            self._notifier.watchdog()
            self._last_ping = now
        return stale
