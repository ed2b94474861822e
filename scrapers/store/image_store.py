"""Putting checked files into the data folder: journal, image, metadata, record, so that a crash never shows.

    .tmp/<id>.part  ->  journal entry (placing)  ->  images/…/<id>.jpg  ->  meta/…/<id>.json  ->  stored

Several files share the journal's transactions and the flushes; a finished download waits for the group at hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from scrapers.store.item_store import ItemStore
from scrapers.store.items import Decision, Placement, Unfinished
from utils.files import PART_SUFFIX, fsync_folder, make_folder_below
from utils.logs import get_logger

log = get_logger(__name__)

TEMPORARY_FOLDER = ".tmp"
GROUP_SIZE = 64
FLUSHING_THREADS = 8  # the disk merges flushes that come together

Shelved = Placement | Decision


class ImageStore:
    """The one writer of images, metadata and decisions. `put` returns when everything is on disk and recorded."""

    def __init__(self, data_folder: Path, item_store: ItemStore) -> None:
        self._data = data_folder
        self._item_store = item_store
        self._threads = ThreadPoolExecutor(FLUSHING_THREADS, thread_name_prefix="image store")
        self._waiting: list[tuple[Shelved, Path | None, asyncio.Future[Decision]]] = []
        self._working: asyncio.Task[None] | None = None

    def part_path(self, sample_id: str) -> Path:
        folder = self._data / TEMPORARY_FOLDER
        make_folder_below(self._data, folder)
        return folder / f"{sample_id}{PART_SUFFIX}"

    def repair(self) -> dict[str, int]:
        """Complete or undo what a crash left half-done; call before anything is put. Returns what was done."""
        done = {"completed": 0, "put_back": 0, "parts_removed": 0}
        for item in self._item_store.unfinished():
            if self._complete(item):
                done["completed"] += 1
            else:
                self._item_store.put_back(item.row)
                done["put_back"] += 1
        for part in (self._data / TEMPORARY_FOLDER).glob(f"*{PART_SUFFIX}"):
            part.unlink(missing_ok=True)
            done["parts_removed"] += 1
        return done

    def _complete(self, item: Unfinished) -> bool:
        image, part = self._data / item.path, self.part_path(item.sample_id)
        if not image.exists():
            if not part.exists():
                return False
            make_folder_below(self._data, image.parent)
            part.replace(image)
            fsync_folder(image.parent)
        self._write_metadata(item.meta_path, item.metadata)
        with self._item_store.transaction() as db:
            self._item_store.decide(db, Decision(item.row, "stored"))
        return True

    async def put(self, item: Shelved, part: Path | None) -> Decision:
        """Store or decide one item. `part` is consumed or removed."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, part, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """Finish the groups that were handed in."""
        while self._working is not None and not self._working.done():
            await asyncio.wait([self._working])
        self._threads.shutdown()

    async def _work(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:GROUP_SIZE], self._waiting[GROUP_SIZE:]
            try:
                decisions = await asyncio.to_thread(self._store, [(item, part) for item, part, _ in group])
            except Exception as error:
                for _, _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            for decision, (_, _, future) in zip(decisions, group, strict=True):
                if not future.done():  # its source may have been stopped
                    future.set_result(decision)

    def _store(self, group: Sequence[tuple[Shelved, Path | None]]) -> list[Decision]:
        """In a thread: the whole group, or an exception after which `repair` finds what to do."""
        list(self._threads.map(_flush, [part for item, part in group if part and isinstance(item, Placement)]))
        decisions: list[Decision] = []
        placed: list[tuple[Placement, Path]] = []
        unused: list[Path] = []
        with self._item_store.transaction() as db:
            for item, part in group:
                decision = item if isinstance(item, Decision) else self._item_store.begin_placing(db, item)
                if decision is not None:
                    self._item_store.decide(db, decision)
                    unused += [part] if part else []
                elif isinstance(item, Placement) and part is not None:
                    decision = Decision(item.row, "stored")
                    placed.append((item, part))
                assert decision is not None
                decisions.append(decision)
        self._place(placed)
        if placed:
            with self._item_store.transaction() as db:
                for item, _ in placed:
                    self._item_store.decide(db, Decision(item.row, "stored"))
        for part in unused:
            with contextlib.suppress(OSError):
                part.unlink()
        return decisions

    def _place(self, placed: Sequence[tuple[Placement, Path]]) -> None:
        folders = set()
        for item, part in placed:
            image = self._data / item.path
            make_folder_below(self._data, image.parent)
            part.replace(image)
            folders.add(image.parent)
        for folder in folders:
            fsync_folder(folder)
        list(self._threads.map(lambda pair: self._write_metadata(pair[0].meta_path, pair[0].metadata), placed))

    def _write_metadata(self, meta_path: str, metadata: str) -> None:
        """By way of the temporary folder: what a kill leaves half-written lies where `repair` looks for it."""
        target = self._data / meta_path
        part = self.part_path(target.name)
        part.write_bytes(metadata.encode("utf-8", "replace"))
        _flush(part)
        make_folder_below(self._data, target.parent)
        part.replace(target)
        fsync_folder(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
