"""One source in one run: crawl its queries in turn, hand what is found to a few workers, know when to stop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

from scrapers.candidate import Page
from scrapers.collector import Collector
from scrapers.errors import (
    BlockedError,
    CursorError,
    FailedError,
    ParkedError,
    QueryError,
    RefusedError,
    TransientError,
)
from scrapers.limits.balance import Balance
from scrapers.limits.capacity import Capacity
from scrapers.limits.shares import GeneratorMix, Shares
from scrapers.outcomes.outcome import SourceResult, Tally
from scrapers.sources.source import PayloadError
from scrapers.status import KEYS
from scrapers.store.cursors import MAX_PAGE_TRIES, Crawl, CrawlCursors
from scrapers.store.item_store import ItemStore
from scrapers.store.items import Decision, QueuedItem
from scrapers.store.second_look import look_again
from scrapers.wishes import Wishes
from utils.clock import Clock
from utils.errors import SkipItemError, StopRunError
from utils.logs import get_logger

log = get_logger(__name__)

BATCH = 64  # queued items read at a time
NO_WAY = frozenset({"connect", "dns", "proxy"})  # no network, or the source is down: its pages are not at fault
STORAGE_ERRORS = (OSError, sqlite3.Error)
PAGE_ERRORS = (TransientError, FailedError, RefusedError, PayloadError)


class Step(Enum):
    """What a look at a query came to."""

    MORE = "more"  # it moved
    WAIT = "wait"  # it depends on downloads under way
    DONE = "done"  # nothing more in this run


class SourceRun:
    """Owns the queue between the crawl and the workers; everything that must last is in the item store."""

    def __init__(
        self,
        collector: Collector,
        item_store: ItemStore,
        balance: Balance,
        capacity: Capacity,
        clock: Clock,
        *,
        wishes: Wishes,
        mix: GeneratorMix,
        max_seconds: float,
        report: Callable[[SourceRun], None],
    ) -> None:
        self._collector = collector
        self._client = collector.client
        self._module = collector.client.module
        self._settings = collector.client.settings
        self._item_store = item_store
        self._balance = balance
        self._capacity = capacity
        self._clock = clock
        self._wishes = wishes
        self._limit = wishes.limit
        self._shares = Shares(item_store, collector.client.module.name, self._settings.max_per_creator, mix)
        self._ends_at = clock.monotonic() + max_seconds
        self._report = report
        self._cursors = CrawlCursors(
            item_store, clock, self._module.name, self._settings.head_interval(), self._module.newest_first
        )
        # short, so that the next page is asked for only when this one is almost used up
        self._queue: asyncio.Queue[tuple[str, QueuedItem] | None] = asyncio.Queue(self._settings.image_connections)
        self._settled = asyncio.Event()
        self._queries: tuple[str, ...] = self._settings.queries or ("",)
        self._stored: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._over: set[str] = set()  # queries of which the rest is too old
        self._taken: dict[str, int] = {}
        self._no_pages: StopRunError | BlockedError | None = None
        self._halted: StopRunError | BlockedError | None = None
        self._notes: list[str] = []
        self._client.on_wait = self._now_waiting
        self.name = self._module.name
        self.tally = Tally()
        self.activity = ""  # what the source waits for, in words
        self.is_over = False

    def note(self, text: str) -> None:
        """A remark for the outcome's message."""
        self._notes.append(text)

    def _now_waiting(self, why: str) -> None:
        self.activity = why
        self._report(self)

    @property
    def planned(self) -> int:
        """Images that this run may store at most."""
        planned = len(self._queries) * self._settings.limit_per_query
        return planned if self._limit is None else min(planned, self._limit)

    async def run(self) -> SourceResult:
        """Never raises for what the source or the network does."""
        look_again(self._item_store, self.name, self._module.rules, self._collector.bases.current())
        self._item_store.adopt_queued(self.name, self._queries)
        for state, whys in self._item_store.outcomes(self.name).items():
            self.tally.counts[state].update(whys)
        self._stored.update({query: self._item_store.stored_in_run(self.name, query) for query in self._queries})
        self._balance.join(self._module.label)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._settings.image_connections):
                    tasks.create_task(self._work())
                try:
                    await self._crawl()
                except STORAGE_ERRORS as error:
                    self._halted = StopRunError(f"cannot store: {error}")
                for _ in range(self._settings.image_connections):
                    await self._queue.put(None)
        finally:
            await self._balance.leave(self._module.label)
            self.is_over = True
            self._report(self)
        return self._result()

    def _result(self) -> SourceResult:
        error = self._halted or self._no_pages
        if isinstance(error, ParkedError):
            return SourceResult("parked", str(error), error.until, error.reason, error.code)
        if isinstance(error, BlockedError):
            return SourceResult("blocked", self._advise(error))
        if error is not None:
            self._notes.append(str(error))
        return SourceResult("finished", "; ".join(dict.fromkeys(self._notes)))

    def _advise(self, error: BlockedError) -> str:
        wanted = KEYS[self.name]
        return f"{error}; check {wanted[1]}" if wanted and error.code == "key_refused" else str(error)

    async def _crawl(self) -> None:
        """Look at each query in turn until all are done; a round without movement waits for a download to end."""
        waiting = self._cursors.in_turn(self._queries)
        while waiting and self._halted is None:
            if not await self._may_go_on():
                return
            self._settled.clear()
            steps = {query: await self._step(query) for query in waiting}
            waiting = [query for query in waiting if steps[query] is not Step.DONE]
            if waiting and Step.MORE not in steps.values():
                await self._settled.wait()

    async def _may_go_on(self) -> bool:
        if self._clock.monotonic() >= self._ends_at:
            self._notes.append("the run's time is up (harvest.max_run_minutes); the next one goes on from here")
            return False
        try:
            await self._capacity.check()
        except StopRunError as error:
            self._halted = error
            return False
        if not await self._balance.wait(self._module.label):
            self._notes.append(f"has enough {self._module.label} images for now (harvest.max_label_ratio)")
            return False
        return True

    async def _step(self, query: str) -> Step:
        """Hand on what waits, else fetch the next page."""
        need = self._need(query)
        if need <= 0:
            return Step.WAIT if self._under_way[query] else Step.DONE
        items = self._item_store.queued(self.name, query, self._taken.get(query, 0), min(need, BATCH))
        if items:
            for item in items:
                await self._offer(query, item)
            return Step.MORE
        if self._no_pages is not None or query in self._over:
            return Step.WAIT if self._under_way[query] else Step.DONE
        crawl = self._cursors.next(query)
        if crawl is None:
            return Step.WAIT if self._under_way[query] else Step.DONE
        return await self._fetch_page(crawl)

    def _need(self, query: str) -> int:
        """How many more images the limits leave room for, counting those under way as stored."""
        under_way = self._under_way.total()
        room = [self._settings.limit_per_query - self._stored[query] - self._under_way[query]]
        if self._limit is not None:
            room.append(self._limit - self.tally.total("stored") - under_way)
        if self._settings.max_per_day:
            day = f"{self._clock.now():%Y-%m-%d}"
            room.append(self._settings.max_per_day - self._item_store.stored_on_day(self.name, day) - under_way)
        if self._settings.max_gb and self._item_store.stored_bytes(self.name) >= self._settings.max_gb * 1e9:
            room.append(0)
        return min(room)

    async def _offer(self, query: str, item: QueuedItem) -> None:
        self._taken[query] = item.row
        if self._wishes.reject(item.candidate):
            return
        if code := self._shares.refusal(item.candidate):
            await self._settle(query, await self._collector.leave_out(item, code))
            return
        self._shares.start(item.candidate)
        self._under_way[query] += 1
        await self._queue.put((query, item))

    async def _fetch_page(self, crawl: Crawl) -> Step:
        try:
            cursor = crawl.cursor or self._module.first_cursor(crawl.query)
            reply = await self._client.page(crawl.query, cursor, crawl.etag)
            if reply.payload is None and crawl.etag is not None:
                self._cursors.unchanged(crawl)
                self.tally.pages += 1
                return Step.MORE
            page = self._read_page(reply.payload, crawl, cursor)
        except CursorError as error:
            log.info("crawl_restarted", source=self.name, query=crawl.query, reason=str(error))
            return Step.MORE if self._cursors.restart(crawl) else Step.DONE
        except QueryError as error:
            if error.for_good:
                self._cursors.give_up(crawl.query)
            self.tally.pages_failed += 1
            self._note_query(crawl.query, error)
            return Step.DONE
        except PAGE_ERRORS as error:
            return self._page_failed(crawl, error)
        except (ParkedError, BlockedError) as error:
            if isinstance(error.__cause__, TransientError):
                self._page_failed(crawl, error.__cause__)
            self._no_pages = error  # what is queued already may still be fetched
            return Step.MORE
        self._record(crawl, page, reply.etag)
        return Step.MORE

    def _read_page(self, payload: Any, crawl: Crawl, cursor: str | None) -> Page:
        try:
            return self._module.read_page(payload, self._settings, cursor)
        except SkipItemError:
            raise
        except Exception as error:  # a page may hold anything
            log.exception("page_unreadable", source=self.name, query=crawl.query)
            raise PayloadError(f"{self.name}: {type(error).__name__} while reading a page") from error

    def _record(self, crawl: Crawl, page: Page, etag: str | None) -> None:
        seen = self._cursors.record(crawl, page, etag)
        self.tally.pages += 1
        self.tally.known += seen.known
        self.tally.again += seen.again
        for state, why in seen.decided:
            self.tally.add(state, why)
        if page.nameless:
            self.tally.add("filtered", "no_id", page.nameless)
        if crawl.kind == "backfill" and self._module.newest_first and self._wishes.ends_at(page):
            self._over.add(crawl.query)
        self._report(self)

    def _page_failed(self, crawl: Crawl, error: Exception) -> Step:
        """The page is tried again by later runs, and given up after some; where there is no way to the source at all,
        nothing is counted against the page."""
        self.tally.pages_failed += 1
        self._note_query(crawl.query, error)
        if isinstance(error, TransientError) and error.code in NO_WAY:
            return Step.DONE
        cursor = crawl.cursor or self._module.first_cursor(crawl.query)
        if not self._cursors.page_failed(crawl, self._module.cursor_after(cursor)):
            return Step.DONE
        message = (
            f"{crawl.query or 'feed'}: a page that could not be read in {MAX_PAGE_TRIES} runs was skipped: {error}"
        )
        log.warning("page_skipped", source=self.name, query=crawl.query, cursor=crawl.cursor, reason=str(error))
        self.tally.alerts.append(("page_skipped", message))
        return Step.MORE

    def _note_query(self, query: str, error: Exception) -> None:
        log.warning("query_failed", source=self.name, query=query, reason=str(error))
        self._notes.append(f"{query or 'feed'}: {error}")

    async def _work(self) -> None:
        while (offered := await self._queue.get()) is not None:
            query, item = offered
            decision: Decision | None = None
            try:
                if self._halted is None:
                    decision = await self._collector.collect(item)
            except (StopRunError, BlockedError) as error:
                self._halted = error
            except STORAGE_ERRORS as error:
                self._halted = StopRunError(f"cannot store: {error}")
            finally:
                self._under_way[query] -= 1
                self._shares.end(item.candidate, stored=decision is not None and decision.state == "stored")
                self._settled.set()
            if decision is not None:
                await self._settle(query, decision)

    async def _settle(self, query: str, decision: Decision) -> None:
        self.tally.add(decision.state, decision.why)
        if decision.state == "stored":
            self._stored[query] += 1
            await self._balance.note_stored(self._module.label)
        self._report(self)
        self._settled.set()
