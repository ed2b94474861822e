"""When to try again: Retry-After, full-jitter back-off, a budget of retries, and a circuit breaker per host."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from utils.clock import Clock

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504, *range(520, 525)})
BASE_SECONDS = 1.0
CAP_SECONDS = 60.0
FOREGROUND_SECONDS = 120.0  # a longer wait parks the source instead of sleeping
EXHAUSTED_SECONDS = 24 * 3600.0  # a server that asks for more is taken to be out of quota
LONGEST_PARK_SECONDS = 31 * 24 * 3600.0  # a month's quota; more is a mistake of the server
BREAK_AFTER = 5  # failures in a row
BREAK_SECONDS = 60.0
BREAK_CAP_SECONDS = 1800.0
RETRY_WINDOW_SECONDS = 600.0
RETRY_SLICE_SECONDS = 10.0  # counted in slices, so that memory does not grow with the rate
RETRY_SHARE = 0.25  # retries in the window, of its requests; 10 % of faults must not stop a run
RETRY_FLOOR = 20


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header: integer seconds or an HTTP date; the past is 0, nonsense is None."""
    if text is None:
        return None
    text = text.strip()
    try:
        return max(0.0, float(int(text)))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def backoff_seconds(attempt: int, rng: random.Random) -> float:
    """Full jitter: uniform between 0 and min(cap, base * 2^attempt), attempts counted from 0."""
    return rng.uniform(0.0, min(CAP_SECONDS, BASE_SECONDS * 2.0**attempt))


@dataclass(slots=True)
class RetryBudget:
    """At most a share of the last ten minutes' requests may be retries, so that trouble is not multiplied."""

    clock: Clock
    _slices: deque[list[int]] = field(default_factory=deque)  # [slice number, requests, retries], oldest first

    def note_request(self) -> None:
        self._current()[1] += 1

    def take(self) -> bool:
        """Whether one more retry is affordable; counts it when it is."""
        current = self._current()
        requests, retries = sum(entry[1] for entry in self._slices), sum(entry[2] for entry in self._slices)
        if retries >= max(RETRY_FLOOR, RETRY_SHARE * requests):
            return False
        current[2] += 1
        return True

    def _current(self) -> list[int]:
        number = int(self.clock.monotonic() // RETRY_SLICE_SECONDS)
        if not self._slices or self._slices[-1][0] != number:
            self._slices.append([number, 0, 0])
        while self._slices[0][0] <= number - RETRY_WINDOW_SECONDS // RETRY_SLICE_SECONDS:
            self._slices.popleft()
        return self._slices[-1]


@dataclass(slots=True)
class Breaker:
    """Opens after BREAK_AFTER failures in a row; then one probe at a time, the pause doubling until one succeeds."""

    clock: Clock
    failures: int = 0
    _pause: float = BREAK_SECONDS
    _open_until: float | None = None
    _probing: bool = False

    @property
    def is_open(self) -> bool:
        return self._open_until is not None

    def wait_seconds(self) -> float:
        """How long to wait before asking again: 0 when closed, and for the one probe that is due."""
        if self._open_until is None:
            return 0.0
        wait = self._open_until - self.clock.monotonic()
        if wait > 0:
            return wait
        self._probing = True
        self._open_until = self.clock.monotonic() + self._pause  # the others wait for this probe's answer
        return 0.0

    def succeeded(self) -> None:
        self.failures = 0
        self._pause = BREAK_SECONDS
        self._open_until = None
        self._probing = False

    def failed(self) -> None:
        self.failures += 1
        if self._open_until is None:
            if self.failures >= BREAK_AFTER:
                self._open_until = self.clock.monotonic() + self._pause
        elif self._probing:  # what was under way before the break says nothing new
            self._probing = False
            self._pause = min(BREAK_CAP_SECONDS, self._pause * 2)
            self._open_until = self.clock.monotonic() + self._pause
