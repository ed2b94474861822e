"""How many API calls a source has left, by our own count and by what the source says. Survives restarts.

A call is counted before it is sent, so that a kill cannot make us forget one. Windows slide: whatever hours the source
counts in, no hour holds more calls than allowed. RESERVE of each quota is left for other uses of the key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from scrapers.errors import ParkedError
from scrapers.http.retry import LONGEST_PARK_SECONDS
from scrapers.store.item_store import ItemStore
from utils.clock import Clock
from utils.config.sources import Source

WindowName = Literal["hour", "day", "month"]
WINDOW_SECONDS: dict[WindowName, float] = {"hour": 3600.0, "day": 86_400.0, "month": 31 * 86_400.0}
RESERVE = 0.05


@dataclass(frozen=True, slots=True)
class QuotaReading:
    """What an answer's headers say; `resets` None: with the next full hour (day)."""

    window: WindowName
    quota: int | None
    remaining: int | None
    resets: datetime | None = None


def usable(quota: int) -> int:
    """The quota less the reserve; at least one call."""
    return max(1, math.floor(quota * (1 - RESERVE)))


def end_of_hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def end_of_day(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


class Budget:
    """One source's calls. `default_hourly` holds until the settings or the source's headers name another figure."""

    def __init__(
        self, item_store: ItemStore, clock: Clock, source: str, settings: Source, default_hourly: int | None
    ) -> None:
        self._item_store = item_store
        self._clock = clock
        self._source = source
        self._settings = settings
        self._default_hourly = default_hourly
        with item_store.transaction() as db:
            db.execute("DELETE FROM calls WHERE at < ?", (self._now() - WINDOW_SECONDS["day"],))
            # of before the clock was set back: they count as now
            db.execute("UPDATE calls SET at = ?1 WHERE at > ?1", (self._now(),))
            db.execute("DELETE FROM quotas WHERE resets > ?", (self._now() + LONGEST_PARK_SECONDS,))

    def interval_seconds(self) -> float:
        """The least time between two calls: as set, else the hourly quota spread evenly; at once to a sandbox."""
        if self._settings.min_interval_seconds is not None:
            return self._settings.min_interval_seconds
        if self._settings.on_loopback:
            return 0.0
        hourly = self._hourly()
        return 3600.0 / usable(hourly) if hourly else 0.0

    def last_call(self) -> float | None:
        """Wall time of the latest call, of this run or an earlier one."""
        row = self._item_store.read("SELECT max(at) FROM calls WHERE source = ?", self._source)[0]
        return None if row[0] is None else float(row[0])

    def rest_seconds(self) -> tuple[float, str]:
        """How long until a call is affordable (0: now), and which quota it is that makes us wait."""
        waits = [(0.0, "")]
        limits: dict[WindowName, int | None] = {"hour": self._hourly(), "day": self._settings.requests_per_day}
        for window, limit in limits.items():
            if limit:
                waits.append(
                    (self._window_wait(WINDOW_SECONDS[window], usable(limit)), f"its {limit} calls of one {window}")
                )
        for row in self._item_store.read("SELECT * FROM quotas WHERE source = ?", self._source):
            if row["remaining"] is None or row["resets"] is None:
                continue
            reserve = math.ceil((row["quota"] or 0) * RESERVE)
            if row["remaining"] <= reserve:
                waits.append((row["resets"] - self._now(), f"the {row['window']}'s quota of {row['quota']}"))
        return max(waits)

    def left(self) -> dict[WindowName, int]:
        """Calls that may still be made in each window that has a limit."""
        limits: dict[WindowName, int | None] = {"hour": self._hourly(), "day": self._settings.requests_per_day}
        left = {
            window: usable(limit) - self._calls_within(WINDOW_SECONDS[window])
            for window, limit in limits.items()
            if limit
        }
        for row in self._item_store.read("SELECT * FROM quotas WHERE source = ?", self._source):
            if row["remaining"] is not None and row["resets"] is not None and row["resets"] > self._now():
                reserve = math.ceil((row["quota"] or 0) * RESERVE)
                left[row["window"]] = min(left.get(row["window"], row["remaining"]), row["remaining"] - reserve)
        return {window: max(0, count) for window, count in left.items()}

    def _calls_within(self, seconds: float) -> int:
        since = self._now() - seconds
        rows = self._item_store.read("SELECT count(*) FROM calls WHERE source = ? AND at > ?", self._source, since)
        return int(rows[0][0])

    def spend(self) -> None:
        """Count one call that is about to be sent, also against what the source last said."""
        with self._item_store.transaction() as db:
            db.execute("INSERT INTO calls (source, at) VALUES (?, ?)", (self._source, self._now()))
            db.execute(
                "UPDATE quotas SET remaining = remaining - 1 WHERE source = ? AND remaining > 0", (self._source,)
            )

    def refund(self) -> None:
        """The call that was counted last never left this machine."""
        with self._item_store.transaction() as db:
            db.execute(
                "DELETE FROM calls WHERE rowid = (SELECT max(rowid) FROM calls WHERE source = ?)", (self._source,)
            )

    def learn(self, reading: QuotaReading) -> None:
        """Take over what fresh headers say."""
        resets = reading.resets or self._natural_end(reading.window)
        with self._item_store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO quotas (source, window, quota, remaining, resets, updated)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (self._source, reading.window, reading.quota, reading.remaining, resets.timestamp(), self._now()),
            )

    def exhausted(self, window: WindowName | None = None) -> ParkedError:
        """What to raise when the source itself says that the quota is used up: until when, as far as is known."""
        now = self._clock.now()
        months = self._item_store.read(
            "SELECT remaining, resets FROM quotas WHERE source = ? AND window = 'month'", self._source
        )
        if months and months[0]["remaining"] == 0 and months[0]["resets"] > now.timestamp():
            return ParkedError(datetime.fromtimestamp(months[0]["resets"], UTC), "out of the month's quota")
        name = window or "hour"
        return ParkedError(self._natural_end(name), f"out of the {name}'s quota")

    def _natural_end(self, window: WindowName) -> datetime:
        now = self._clock.now()
        return end_of_hour(now) if window == "hour" else end_of_day(now)

    def _hourly(self) -> int | None:
        """0 and None: no limit."""
        if self._settings.requests_per_hour is not None:
            return self._settings.requests_per_hour
        rows = self._item_store.read("SELECT quota FROM quotas WHERE source = ? AND window = 'hour'", self._source)
        return int(rows[0]["quota"]) if rows and rows[0]["quota"] else self._default_hourly

    def _window_wait(self, seconds: float, limit: int) -> float:
        """Until the call that is `limit` back leaves the window."""
        rows = self._item_store.read(
            "SELECT at FROM calls WHERE source = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?",
            self._source,
            self._now() - seconds,
            limit - 1,
        )
        return min(seconds, float(rows[0]["at"]) + seconds - self._now()) if rows else 0.0

    def _now(self) -> float:
        return self._clock.now().timestamp()
