"""Pictures of a dataset on their way into the data folder: understood, checked, stored like collected ones.

    reading process -> keys that are new -> bytes in .tmp/ -> checker -> image store

A kill at any point loses and repeats nothing: a picture is in the item store as stored, or it is read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from scrapers.exchange.items import DatasetItems, Known, Wanted
from scrapers.exchange.mapping import Terms, Told, UnmappedError
from scrapers.exchange.read_process import ReadProcess
from scrapers.exchange.tally import ImportTally
from scrapers.limits.capacity import Capacity
from scrapers.store.items import Decision, Placement
from utils.clock import Clock, to_iso
from utils.errors import SkipItemError, StopRunError
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckFailure, ImageFacts
from utils.logs import get_logger
from utils.metadata import Metadata, image_path, metadata_path, metadata_text

log = get_logger(__name__)

UNDER_WAY = 64  # pictures that are written and wait for their checks
Result = TypeVar("Result")


class InThread(Protocol):
    async def __call__(self, work: Callable[[], Result]) -> Result: ...


class Store(Protocol):
    """What `ImageStore` is to the importer."""

    def part_path(self, sample_id: str) -> Path: ...

    async def put(self, item: Placement | Decision, part: Path | None) -> Decision: ...


@dataclass(frozen=True, slots=True)
class _Received:
    """A picture as it came out of the dataset; without `part` there is nothing to store, `why` says it."""

    wanted: Wanted
    key: str
    path: str
    told: Told | None = None
    part: Path | None = None
    sha256: str = ""
    why: str = ""
    reason: str = ""


@dataclass(slots=True)
class Importer:
    """`run` takes one dataset; `tally` may be shared by several. `is_dry`: nothing is entered anywhere."""

    terms: Terms
    origin: dict[str, Any]  # dataset and revision, kept with each picture
    items: DatasetItems
    store: Store
    checks: CheckPool
    capacity: Capacity
    data_folder: Path
    clock: Clock
    known: Known = lambda sha256, label: False
    limit: int | None = None
    is_dry: bool = False
    key_prefix: str = ""
    may_go_on: Callable[[], bool] = lambda: True  # False: no further picture is begun
    report: Callable[[ImportTally], None] = lambda tally: None
    tally: ImportTally = field(default_factory=ImportTally)
    _under_way: int = field(init=False, default=0)
    _settled: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    async def run(self, reading: ReadProcess) -> None:
        """Raises StopRunError when there is no room, OperatorError when the dataset cannot be read at all."""
        with ThreadPoolExecutor(1, thread_name_prefix="dataset") as thread:
            loop = asyncio.get_running_loop()

            async def in_thread(work: Callable[[], Result]) -> Result:
                return await loop.run_in_executor(thread, work)

            await in_thread(reading.__enter__)
            try:
                async with asyncio.TaskGroup() as tasks:
                    await self._feed(reading, in_thread, tasks)
            except ExceptionGroup as group:
                raise group.exceptions[0] from None
            finally:
                await in_thread(lambda: reading.__exit__(None, None, None))
        for file, reason in reading.broken.items():
            self.tally.decided["refused", "unreadable"] += 1
            self.tally.leave_out(file, reason)
        self.report(self.tally)

    async def _feed(self, reading: ReadProcess, in_thread: InThread, tasks: asyncio.TaskGroup) -> None:
        """Read what is wanted, a few pictures ahead of the checkers."""
        chunks = iter(reading)
        while await self._has_room() and (keys := await in_thread(lambda: next(chunks, None))) is not None:
            if not self.is_dry:
                await self.capacity.check()
            keys = [self.key_prefix + key for key in keys]
            wanted = self.items.peek(keys) if self.is_dry else self.items.begin(keys)
            self.tally.known += len(keys) - len(wanted)
            pictures = self._receive(reading, keys, wanted)
            take_one = partial(next, pictures, None)
            while await self._has_room() and (received := await in_thread(take_one)) is not None:
                self._under_way += 1
                tasks.create_task(self._take(received))
            self.report(self.tally)

    async def _has_room(self) -> bool:
        """Wait until one more picture may be under way; False when the limit is reached for good."""
        while self._under_way >= UNDER_WAY or (self._under_way and self.is_full()):
            self._settled.clear()
            await self._settled.wait()
        return not self.is_full()

    def is_full(self) -> bool:
        """Whether the limit is reached, counting what is under way as stored."""
        if not self.may_go_on():
            return True
        return self.limit is not None and self.tally.total("stored") + self._under_way >= self.limit

    def _receive(self, reading: ReadProcess, keys: Sequence[str], wanted: Sequence[Wanted]) -> Iterator[_Received]:
        """In the reading thread: understand each picture and write its bytes beside the data."""
        by_index = {one.index: one for one in wanted}
        for item in reading.items([one.index for one in wanted]):
            one, key = by_index[item.index], keys[item.index]
            if item.problem:
                yield _Received(one, key, item.path, why="unreadable", reason=item.problem)
                continue
            try:
                told = self.terms.understand(item)
            except UnmappedError as error:
                self.tally.unmapped[error.value] += 1
                yield _Received(one, key, item.path, why="label", reason=str(error))
            except SkipItemError as error:
                yield _Received(one, key, item.path, why="mapping", reason=str(error))
            else:
                part = self.store.part_path(one.sample_id)
                part.write_bytes(item.data)
                yield _Received(one, key, item.path, told, part, hashlib.sha256(item.data).hexdigest())

    async def _take(self, received: _Received) -> None:
        try:
            item, told = await self._judge(received)
            decision = await self.store.put(item, received.part)
        except (OSError, sqlite3.Error) as error:
            raise StopRunError(f"cannot store: {error}") from error
        except BaseException:
            if received.part is not None:
                with contextlib.suppress(OSError):
                    received.part.unlink(missing_ok=True)
            raise
        finally:
            self._under_way -= 1
            self._settled.set()
        self._count(received, decision, told)

    async def _judge(self, received: _Received) -> tuple[Placement | Decision, Told | None]:
        row, told = received.wanted.row, received.told
        if told is None or received.part is None:
            if received.why == "label":
                return Decision(row, "filtered", "label"), None
            self.tally.leave_out(received.path, received.reason)
            return Decision(row, "refused", received.why), None
        label = told.label or ""
        if self.items.is_forgotten(told.source, told.api_data.get("creator")):
            return Decision(row, "refused", "tombstone"), told
        if self.items.has_bytes(received.sha256, label) or self.known(received.sha256, told.label):
            return Decision(row, "duplicate", "bytes"), told
        facts = await asyncio.wrap_future(self.checks.submit(received.part))
        if isinstance(facts, CheckFailure):
            self.tally.leave_out(received.path, facts.reason)
            if facts.retryable:
                return Decision(row, "failed", "check", again=True), told
            return Decision(row, "refused", "check_timeout" if facts.code == "timeout" else facts.code), told
        return self._describe(received, told, facts), told

    def _describe(self, received: _Received, told: Told, facts: ImageFacts) -> Placement:
        now = self.clock.now()
        sample_id = received.wanted.sample_id
        image = image_path(self.data_folder, sample_id, now, facts.extension)
        meta = metadata_path(self.data_folder, sample_id, now)
        metadata = Metadata(
            id=sample_id,
            source=told.source,
            label=told.label,
            label_source=told.label_source,
            timestamp=to_iso(now),
            path=image.relative_to(self.data_folder).as_posix(),
            sha256=facts.sha256,
            attribution=told.attribution,
            api_data={
                "id": received.key,
                **told.api_data,
                "import": {**self.origin, "path": received.path, "time": to_iso(now)},
            },
        )
        return Placement(
            row=received.wanted.row,
            sha256=facts.sha256,
            size_bytes=facts.size_bytes,
            label=told.label or "",
            path=metadata.path,
            meta_path=meta.relative_to(self.data_folder).as_posix(),
            metadata=metadata_text(metadata),
            day=f"{now:%Y-%m-%d}",
            creator=told.api_data.get("creator"),
            generator=told.generator,
        )

    def _count(self, received: _Received, decision: Decision, told: Told | None) -> None:
        self.tally.decided[decision.state, decision.why] += 1
        if decision.state == "stored" and told is not None:
            name = (told.generator or told.source) if told.label == "ai_generated" else told.source
            self.tally.stored[told.label or "unlabeled", name] += 1
            self.tally.licenses[str(told.attribution.get("license") or "not stated")] += 1
        self.report(self.tally)
