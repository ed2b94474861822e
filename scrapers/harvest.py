"""One run over the sources: each in its own task, with what they share (item store, image store, checks, balance,
room)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from scrapers.client import Client
from scrapers.collector import Collector
from scrapers.http.address_guard import AllowList, CheckedBackend, GuardedTransport
from scrapers.http.fetcher import Fetcher
from scrapers.http.rate_limit import Sleep
from scrapers.limits.balance import Balance
from scrapers.limits.budget import Budget
from scrapers.limits.capacity import Capacity
from scrapers.limits.checks import make_check_pool
from scrapers.source_run import SourceResult, SourceRun, Tally
from scrapers.sources import SOURCES
from scrapers.status import find_obstacle, key_of, read_parked, settings_of
from scrapers.store.image_store import ImageStore
from scrapers.store.item_store import ItemStore
from scrapers.store.lock import collecting
from scrapers.terms import TERMS
from utils.clock import Clock, SystemClock, to_iso
from utils.config_loader import Config
from utils.data_folder import require_data_folder
from utils.images.check_pool import CheckPool
from utils.logs import get_logger

log = get_logger(__name__)

REPORT_SECONDS = 0.5  # between two progress lines of a source

ReportProgress = Callable[[str, int, int, Mapping[str, int]], None]


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    name: str
    result: SourceResult
    tally: Tally

    def as_details(self) -> dict[str, Any]:
        counts = self.tally.counts
        return {
            "stored": self.tally.total("stored"),
            "duplicate": self.tally.total("duplicate"),
            "filtered": dict(counts["filtered"]),
            "refused": dict(counts["refused"]),
            "failed": dict(counts["failed"]),
            "state": self.result.state,
            "until": to_iso(self.result.until) if self.result.until else None,
            "message": self.result.message,
        }


@dataclass(slots=True)
class Harvest:
    """`run` collects from `names` (None: every source) until limits, quotas or the sources' ends are reached."""

    config: Config
    run_id: str
    names: Sequence[str] | None = None
    limit: int | None = None
    report: ReportProgress = lambda name, done, total, counts: None
    clock: Clock = field(default_factory=SystemClock)
    sleep: Sleep = asyncio.sleep
    rng: random.Random = field(default_factory=random.Random)
    checks: CheckPool | None = None  # None: a pool of its own, by the settings
    _reported: dict[str, tuple[float, Mapping[str, int]]] = field(init=False, default_factory=dict)

    async def run(self) -> list[SourceOutcome]:
        """Raises StopRunError when another collection runs on the same state. Cancelling it loses nothing."""
        storage = self.config.storage
        require_data_folder(storage.local_path, storage.state_path)
        with collecting(storage.state_path):
            async with AsyncExitStack() as stack:
                item_store = ItemStore(storage.state_path, self.run_id)
                stack.callback(item_store.close)
                image_store = ImageStore(storage.local_path, item_store)
                stack.push_async_callback(image_store.close)
                repaired = image_store.repair()
                if any(repaired.values()):
                    log.info("interrupted_store_repaired", **repaired)
                checks = self.checks or stack.enter_context(make_check_pool(self.config))
                return await self._run_sources(stack, item_store, image_store, checks)

    async def _run_sources(
        self, stack: AsyncExitStack, item_store: ItemStore, image_store: ImageStore, checks: CheckPool
    ) -> list[SourceOutcome]:
        balance = Balance(item_store.stored_by_label(), self.config.harvest.max_label_ratio)
        capacity = Capacity(self.config.storage, self.clock)
        rested = {row["source"]: read_parked(row) for row in item_store.read("SELECT * FROM sources")}
        tasks: list[asyncio.Task[SourceOutcome]] = []
        outcomes: list[SourceOutcome] = []
        for name in self.names if self.names is not None else SOURCES:
            obstacle = find_obstacle(self.config, name, rested.get(name), self.clock.now())
            if obstacle is not None:
                result = SourceResult(obstacle.state, obstacle.reason, obstacle.until)
                outcomes.append(SourceOutcome(name, result, Tally()))
                continue
            log.info("source_terms", source=name, terms=TERMS[name])
            run = self._prepare(name, stack, item_store, image_store, checks, balance, capacity)
            tasks.append(asyncio.create_task(self._run_source(run, item_store), name=f"source-{name}"))
        try:
            outcomes += await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        outcomes.sort(key=lambda outcome: list(SOURCES).index(outcome.name))
        for outcome in outcomes:
            _log_outcome(outcome)
        return outcomes

    def _prepare(
        self,
        name: str,
        stack: AsyncExitStack,
        item_store: ItemStore,
        image_store: ImageStore,
        checks: CheckPool,
        balance: Balance,
        capacity: Capacity,
    ) -> SourceRun:
        settings, module = settings_of(self.config, name), SOURCES[name]
        backend = CheckedBackend(AllowList.of(settings).loopback())
        transport = GuardedTransport(backend)
        stack.push_async_callback(transport.aclose)
        client = Client(
            module=module,
            settings=settings,
            key=key_of(self.config, name),
            fetcher=Fetcher(transport, user_agent(settings.contact), self.config.harvest, self.clock),
            budget=Budget(item_store, self.clock, name, settings, module.default_hourly),
            clock=self.clock,
            sleep=self.sleep,
            max_attempts=self.config.harvest.max_attempts,
            rng=self.rng,
        )
        collector = Collector(client, item_store, image_store, checks, self.config.storage.local_path, self.clock)
        return SourceRun(
            collector,
            item_store,
            balance,
            capacity,
            self.clock,
            limit=self.limit,
            max_seconds=self.config.harvest.max_run_minutes * 60,
            report=self._report,
        )

    async def _run_source(self, run: SourceRun, item_store: ItemStore) -> SourceOutcome:
        """One source's faults are its own."""
        try:
            result = await run.run()
        except Exception:
            log.exception("source_failed", source=run.name)
            result = SourceResult("blocked", "an error in the scraper itself; the log has it")
        _record(item_store, run.name, result, self.clock.now().timestamp())
        self._report(run, final=True)
        return SourceOutcome(run.name, result, run.tally)

    def _report(self, run: SourceRun, final: bool = False) -> None:
        """A progress line when something changed, and not too often."""
        now, counts = time.monotonic(), run.tally.flat()
        told_at, told = self._reported.get(run.name, (0.0, {}))
        if final or (counts != told and now - told_at >= REPORT_SECONDS):
            self._reported[run.name] = (now, counts)
            self.report(run.name, run.tally.total("stored"), run.planned, counts)


def user_agent(contact: str) -> str:
    """Who we are, everywhere the same; the product token is the one that opt-out headers may name."""
    try:
        number = version("exposr-trainer")
    except PackageNotFoundError:
        number = "0"
    return f"ExposrTrainer/{number} (+{contact or 'local sandbox'})"


def _record(item_store: ItemStore, name: str, result: SourceResult, now: float) -> None:
    until = result.until.timestamp() if result.state == "parked" and result.until else None
    reason = result.message.partition("; rests until")[0] if until else ""
    with item_store.transaction() as db:
        db.execute(
            "INSERT OR REPLACE INTO sources (source, parked_until, reason, last_run, last_state, message)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (name, until, reason, now, result.state, result.message),
        )


def _log_outcome(outcome: SourceOutcome) -> None:
    trouble = outcome.result.state in ("blocked", "no_key")
    write = log.warning if trouble else log.info
    counts = {key.replace(":", "_"): count for key, count in outcome.tally.flat().items() if count}
    told = {"reason": outcome.result.message} if outcome.result.message else {}
    write("source_finished", source=outcome.name, state=outcome.result.state, **told, **counts)
