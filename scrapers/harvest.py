"""One run over the sources: each in its own task, with what they share (item store, image store, checks, balance,
room)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from scrapers.client import Client
from scrapers.collector import Collector
from scrapers.exchange.dataset_run import DatasetRun
from scrapers.http.address_guard import AllowList, CheckedBackend
from scrapers.http.fetcher import Fetcher
from scrapers.http.proxy import LOST, Proxy, find_proxy
from scrapers.http.rate_limit import RateLimiter, Sleep
from scrapers.http.transport import GuardedTransport
from scrapers.limits.balance import Balance
from scrapers.limits.budget import Budget
from scrapers.limits.capacity import Capacity
from scrapers.limits.checks import make_check_pool
from scrapers.limits.shares import GeneratorMix
from scrapers.outcomes.outcome import SourceOutcome, SourceResult, Tally
from scrapers.outcomes.reasons import Bases
from scrapers.outcomes.records import record_outcome
from scrapers.source_run import SourceRun
from scrapers.sources import ALL_SOURCES, SOURCES
from scrapers.status import find_obstacle, key_of, read_parked, settings_of
from scrapers.store.image_store import ImageStore
from scrapers.store.item_store import ItemStore
from scrapers.store.lock import collecting
from scrapers.terms import TERMS
from scrapers.wishes import Wishes
from utils.clock import Clock, SystemClock
from utils.config.sources import DatasetSource
from utils.config_loader import Config
from utils.data_folder import require_data_folder
from utils.images.check_pool import CheckPool
from utils.logs import get_logger

log = get_logger(__name__)

REPORT_SECONDS = 0.5  # between two progress lines of a source

HEARTBEAT_SECONDS = 4.0  # a source that does nothing but wait says so this often

AnyRun = SourceRun | DatasetRun
ReportProgress = Callable[[str, int, int, Mapping[str, int], str], None]


@dataclass(slots=True)
class Harvest:
    """`run` collects from `names` (None: every source) until limits, quotas or the sources' ends are reached."""

    config: Config
    run_id: str
    names: Sequence[str] | None = None
    limit: int | None = None
    since: datetime | None = None  # only what was published at or after this; needs a time zone
    min_side: int = 0  # only pictures with a shorter side of so many pixels
    report: ReportProgress = lambda name, done, total, counts, activity: None
    clock: Clock = field(default_factory=SystemClock)
    sleep: Sleep = asyncio.sleep
    rng: random.Random = field(default_factory=random.Random)
    checks: CheckPool | None = None  # None: a pool of its own, by the settings
    _turns: dict[str, tuple[RateLimiter, RateLimiter]] = field(init=False, default_factory=dict)
    _reported: dict[str, tuple[float, Mapping[str, int], str]] = field(init=False, default_factory=dict)

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
                checks = self.checks or stack.enter_context(make_check_pool(self.config, self.min_side))
                return await self._run_sources(stack, item_store, image_store, checks)

    async def _run_sources(
        self, stack: AsyncExitStack, item_store: ItemStore, image_store: ImageStore, checks: CheckPool
    ) -> list[SourceOutcome]:
        balance = Balance(item_store.stored_by_label(), self.config.harvest.max_label_ratio)
        capacity = Capacity(self.config.storage, self.clock)
        mix = GeneratorMix(item_store.stored_by_generator(), self.config.harvest.max_generator_share)
        proxy = find_proxy()
        if proxy is not None:
            log.warning("proxy_in_use", proxy=proxy.url, lost=LOST)
        rested = {row["source"]: read_parked(row) for row in item_store.read("SELECT * FROM sources")}
        tasks: list[asyncio.Task[SourceOutcome]] = []
        running: list[AnyRun] = []
        outcomes: list[SourceOutcome] = []
        for name in self.names if self.names is not None else ALL_SOURCES:
            obstacle = find_obstacle(self.config, name, rested.get(name), self.clock.now())
            if obstacle is not None:
                result = SourceResult(obstacle.state, obstacle.reason, obstacle.until)
                outcomes.append(SourceOutcome(name, result, Tally()))
                continue
            log.info("source_terms", source=name, terms=TERMS[name])
            shared = Shared(item_store, image_store, checks, balance, capacity, mix, proxy)
            run = self._prepare(name, stack, shared) if name in SOURCES else self._prepare_dataset(name, shared)
            running.append(run)
            tasks.append(asyncio.create_task(self._run_source(run, item_store), name=f"source-{name}"))
        heart = asyncio.create_task(self._beat(running))
        try:
            outcomes += await asyncio.gather(*tasks)
        finally:
            for task in (*tasks, heart):
                task.cancel()
            await asyncio.gather(*tasks, heart, return_exceptions=True)
        outcomes.sort(key=lambda outcome: ALL_SOURCES.index(outcome.name))
        for outcome in outcomes:
            _log_outcome(outcome)
        return outcomes

    def _prepare(self, name: str, stack: AsyncExitStack, shared: Shared) -> SourceRun:
        settings, module = settings_of(self.config, name), SOURCES[name]
        client = self.make_client(name, stack, shared.item_store, shared.proxy)
        collector = Collector(
            client,
            shared.item_store,
            shared.image_store,
            shared.checks,
            self.config.storage.local_path,
            self.clock,
            shared.capacity,
            Bases.now(self.config, settings, min_side=self.min_side),
        )
        run = SourceRun(
            collector,
            shared.item_store,
            shared.balance,
            shared.capacity,
            self.clock,
            wishes=Wishes(self.limit, self.since, self.min_side),
            mix=shared.mix,
            max_seconds=self.config.harvest.max_run_minutes * 60,
            report=self._report,
        )
        if self.since is not None and not module.tells_time:
            run.note(f"{name} does not say when its pictures were published, so that --since leaves nothing")
        return run

    def _prepare_dataset(self, name: str, shared: Shared) -> DatasetRun:
        settings: DatasetSource = getattr(self.config.sources, name)
        run = DatasetRun(
            name,
            self.config,
            settings,
            shared.item_store,
            shared.image_store,
            shared.checks,
            shared.capacity,
            self.clock,
            limit=self.limit,
            report=self._report,
        )
        if self.since is not None:
            run.note(f"{name} does not say when its pictures were published: --since is not asked")
        return run

    def make_client(self, name: str, stack: AsyncExitStack, item_store: ItemStore, proxy: Proxy | None) -> Client:
        """One source's way out, closed with `stack`."""
        settings, module = settings_of(self.config, name), SOURCES[name]
        backend = CheckedBackend(AllowList.of(settings).loopback())
        transport = GuardedTransport(backend, proxy=proxy)
        stack.push_async_callback(transport.aclose)
        return Client(
            module=module,
            settings=settings,
            key=key_of(self.config, name),
            fetcher=Fetcher(transport, user_agent(settings.contact), self.config.harvest, self.clock),
            budget=Budget(item_store, self.clock, name, settings, module.default_hourly),
            clock=self.clock,
            sleep=self.sleep,
            max_attempts=self.config.harvest.max_attempts,
            rng=self.rng,
            turns=self._turns,
        )

    async def _run_source(self, run: AnyRun, item_store: ItemStore) -> SourceOutcome:
        """One source's faults are its own."""
        try:
            result = await run.run()
        except Exception:
            log.exception("source_failed", source=run.name)
            result = SourceResult("blocked", "an error in the scraper itself; the log has it")
        rules = SOURCES[run.name].rules if run.name in SOURCES else 0
        outcome = SourceOutcome(run.name, result, run.tally, item_store.waiting(run.name))
        record_outcome(item_store, outcome, rules, self.clock.now().timestamp())
        self._report(run, final=True)
        return outcome

    def _report(self, run: AnyRun, final: bool = False) -> None:
        """A progress line when something changed, and not too often."""
        now, counts, activity = time.monotonic(), run.tally.flat(), run.activity
        told_at, told, doing = self._reported.get(run.name, (0.0, {}, ""))
        is_new = (counts, activity) != (told, doing) and now - told_at >= REPORT_SECONDS
        if final or is_new or now - told_at >= HEARTBEAT_SECONDS:
            self._reported[run.name] = (now, counts, activity)
            self.report(run.name, run.tally.total("stored"), run.planned, counts, "" if final else activity)

    async def _beat(self, running: Sequence[AnyRun]) -> None:
        """Report also while nothing comes of anything."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS / 2)
            for run in running:
                if not run.is_over:
                    self._report(run)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the sources of one run have in common."""

    item_store: ItemStore
    image_store: ImageStore
    checks: CheckPool
    balance: Balance
    capacity: Capacity
    mix: GeneratorMix
    proxy: Proxy | None


def user_agent(contact: str) -> str:
    """Who we are, everywhere the same; the product token is the one that opt-out headers may name."""
    try:
        number = version("exposr-trainer")
    except PackageNotFoundError:
        number = "0"
    return f"ExposrTrainer/{number} (+{contact or 'local sandbox'})"


def _log_outcome(outcome: SourceOutcome) -> None:
    trouble = outcome.result.state in ("blocked", "no_key") or outcome.tally.is_empty
    write = log.warning if trouble else log.info
    counts = {key.replace(":", "_"): count for key, count in outcome.tally.flat().items() if count}
    reasons = [outcome.result.message, outcome.describe_left_out() if outcome.tally.is_empty else ""]
    told = {"reason": "; ".join(filter(None, reasons))} if any(reasons) else {}
    write("source_finished", source=outcome.name, state=outcome.result.state, **told, **counts)
