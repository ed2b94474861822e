"""A source's requests with all manners applied: budget, turn, breaker, retry. The only way to the network."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from scrapers.candidate import Variant
from scrapers.errors import FailedError, ParkedError, QueryError, TransientError
from scrapers.http.address_guard import AllowList
from scrapers.http.fetcher import Download, Fetcher
from scrapers.http.rate_limit import RateLimiter, Sleep
from scrapers.http.response import Answer, judge_status
from scrapers.http.retry import (
    EXHAUSTED_SECONDS,
    FOREGROUND_SECONDS,
    LONGEST_PARK_SECONDS,
    Breaker,
    RetryBudget,
    backoff_seconds,
)
from scrapers.limits.budget import Budget
from scrapers.sources.source import ExhaustedError, SourceModule
from utils.clock import Clock
from utils.config.sources import Source

ITEM_ATTEMPTS = 2  # in one run, of what fails by itself while its host answers
NEVER_SENT = frozenset({"dns", "connect"})
EXHAUSTION_JITTER_SECONDS = 30.0  # after a quota's window ends, so that not everyone comes back in the same second

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Reply:
    """A successful API answer. `payload` None: not modified since the ETag that was sent along."""

    payload: Any
    etag: str | None


@dataclass(slots=True)
class Client:
    """One source's way out. Nothing else in this folder sends a request."""

    module: SourceModule
    settings: Source
    key: str | None
    fetcher: Fetcher
    budget: Budget
    clock: Clock
    sleep: Sleep
    max_attempts: int
    rng: random.Random = field(default_factory=random.Random)
    on_wait: Callable[[str], None] = lambda why: None  # hears what is waited for, and "" when it is over
    # of API calls and of downloads, by API: sources of one API take turns
    turns: dict[str, tuple[RateLimiter, RateLimiter]] = field(default_factory=dict)
    allowed: AllowList = field(init=False)
    _api_turns: RateLimiter = field(init=False)
    _image_turns: RateLimiter = field(init=False)
    _breakers: dict[tuple[str, str], Breaker] = field(init=False, default_factory=dict)
    _retries: RetryBudget = field(init=False)

    def __post_init__(self) -> None:
        self.allowed = AllowList.of(self.settings)
        last = self.budget.last_call()
        since = self.clock.now().timestamp() - last if last is not None else None
        interval = self.budget.interval_seconds()
        first_wait = min(interval, max(0.0, interval - since)) if since is not None else 0.0
        if self.settings.base_url not in self.turns:
            api = RateLimiter(
                1, self.budget.interval_seconds, self.clock, self.sleep, self.rng, first_wait, self._on_turn
            )
            settings = self.settings
            images = RateLimiter(
                settings.image_connections, lambda: settings.image_interval_seconds, self.clock, self.sleep, self.rng
            )
            self.turns[self.settings.base_url] = api, images
        self._api_turns, self._image_turns = self.turns[self.settings.base_url]
        self._retries = RetryBudget(self.clock)

    async def page(self, query: str, cursor: str | None, etag: str | None = None) -> Reply:
        """One page of a crawl; with `etag` only if it has changed since."""
        return await self._api(self.module.page_url(self.settings, query, cursor), etag)

    async def report_use(self, url: str) -> None:
        """Tell the source that an image is used (Unsplash's download tracking); counts like any call."""
        try:
            await self._api(url)
        except QueryError as error:
            raise FailedError("gone", str(error)) from error

    async def image(self, variant: Variant, part: Path) -> Download:
        max_bytes = int(self.settings.max_image_mb * 1e6)

        async def attempt() -> Download:
            async with self._image_turns.turn():
                return await self.fetcher.download(variant.url, self.allowed.check_image, part, max_bytes)

        self.allowed.check_image(variant.url)
        return await self._persist("image", variant.url, attempt)

    async def _api(self, url: str, etag: str | None = None) -> Reply:
        headers = {**self.module.headers(self.key), **({"If-None-Match": etag} if etag else {})}

        async def attempt() -> Reply:
            async with self._api_turns.turn():
                await self._wait_for_budget()
                self.budget.spend()
                answer = await self._send(url, headers)
            for reading in self.module.quota(answer):
                self.budget.learn(reading)
            try:
                self.module.judge(answer)
            except ExhaustedError as error:
                parked = self.budget.exhausted(error.window)
                jitter = timedelta(seconds=self.rng.uniform(0, EXHAUSTION_JITTER_SECONDS))
                raise ParkedError(parked.until + jitter, parked.reason) from error
            if etag and answer.status == 304:
                return Reply(None, etag)
            judge_status(answer)
            return Reply(answer.json(), answer.headers.get("etag"))

        self.allowed.check_api(url)
        return await self._persist("api", url, attempt)

    async def _send(self, url: str, headers: Mapping[str, str]) -> Answer:
        try:
            return await self.fetcher.get(url, self.allowed.check_api, headers)
        except TransientError as error:
            if error.code in NEVER_SENT:  # the quota and the pause are for calls that the source has seen
                self.budget.refund()
                self._api_turns.give_back()
            raise

    async def _wait_for_budget(self) -> None:
        rest, quota = self.budget.rest_seconds()
        if rest > FOREGROUND_SECONDS:
            raise ParkedError(self.clock.now() + timedelta(seconds=rest), f"has used up {quota}")
        if rest > 0:
            await self._wait(rest, f"for {quota}")

    async def _persist(self, kind: str, url: str, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Attempt until it succeeds or the last transient error stands. Other errors pass through at once."""
        breaker = self._breakers.setdefault((kind, urlsplit(url).netloc), Breaker(self.clock))
        for number in range(self.max_attempts):
            await self._wait_for_breaker(breaker, url)
            self._retries.note_request()
            try:
                result = await attempt()
            except TransientError as error:
                if error.of_host:
                    breaker.failed()
                else:
                    breaker.succeeded()  # the host answers; what is wrong with this one item says nothing of the next
                self._park_if_long(error)
                attempts = self.max_attempts if error.of_host else min(self.max_attempts, ITEM_ATTEMPTS)
                if number + 1 >= attempts or not self._retries.take():
                    self._park_if_broken(kind, breaker, error)
                    raise
                wait = error.retry_after if error.retry_after is not None else backoff_seconds(number, self.rng)
                await self._wait(wait, str(error))
            except ParkedError:
                raise
            except Exception:
                breaker.succeeded()  # the host answers; what it says is another matter
                raise
            else:
                breaker.succeeded()
                return result
        raise AssertionError("max_attempts is at least 1")

    async def _wait_for_breaker(self, breaker: Breaker, url: str) -> None:
        while (wait := breaker.wait_seconds()) > 0:
            if wait > FOREGROUND_SECONDS:
                raise ParkedError(
                    self.clock.now() + timedelta(seconds=wait),
                    f"{urlsplit(url).hostname} is in trouble",
                    "host_trouble",
                )
            await self._wait(wait, f"{urlsplit(url).hostname} is in trouble")

    def _on_turn(self, seconds: float) -> None:
        self.on_wait(f"the next call is due in {math.ceil(seconds)} s" if seconds >= 1 else "")

    async def _wait(self, seconds: float, why: str) -> None:
        self.on_wait(f"waiting {math.ceil(seconds)} s: {why}")
        try:
            await self.sleep(seconds)
        finally:
            self.on_wait("")

    def _park_if_long(self, error: TransientError) -> None:
        """A server that asks for a long wait gets it, but not in the foreground."""
        wait = error.retry_after
        if wait is None or wait <= FOREGROUND_SECONDS:
            return
        until = self.clock.now() + timedelta(seconds=min(wait, LONGEST_PARK_SECONDS))
        raise ParkedError(
            until, "out of quota" if wait > EXHAUSTED_SECONDS else f"asked to wait ({error.code})", error.code
        ) from error

    def _park_if_broken(self, kind: str, breaker: Breaker, error: TransientError) -> None:
        if kind == "api" and breaker.is_open:
            until = self.clock.now() + timedelta(seconds=breaker.wait_seconds())
            raise ParkedError(until, str(error), error.code) from error
