"""Turns at a host: few at a time, with a jittered pause between them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from utils.clock import Clock

JITTER = 0.3  # of the interval, to both sides

Sleep = Callable[[float], Awaitable[None]]


class RateLimiter:
    """At most `width` inside at a time; entries at least `interval()` seconds (+-30 %) apart."""

    def __init__(
        self,
        width: int,
        interval: Callable[[], float],
        clock: Clock,
        sleep: Sleep,
        rng: random.Random,
        first_wait: float = 0.0,
        on_wait: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._inside = asyncio.Semaphore(width)
        self._entering = asyncio.Lock()
        self._interval = interval
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._free_at = clock.monotonic() + first_wait
        self._on_wait = on_wait  # hears of each wait, in seconds, and 0 when it is over

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._inside:
            async with self._entering:
                wait = self._free_at - self._clock.monotonic()
                if wait > 0:
                    self._on_wait(wait)
                    await self._sleep(wait)
                    self._on_wait(0.0)
                pause = self._interval() * self._rng.uniform(1 - JITTER, 1 + JITTER)
                self._free_at = self._clock.monotonic() + pause
            yield

    def give_back(self) -> None:
        """The last turn came to nothing that anybody has noticed: the next may follow at once."""
        self._free_at = self._clock.monotonic()
