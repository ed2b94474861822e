"""One candidate from its URL to a checked file with metadata, or to the reason why not."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scrapers.candidate import Variant, public_url
from scrapers.client import Client
from scrapers.errors import FailedError, RefusedError, TooLargeError, TransientError
from scrapers.http.fetcher import Download
from scrapers.limits.capacity import Capacity
from scrapers.outcomes.reasons import Bases
from scrapers.store.image_store import ImageStore
from scrapers.store.item_store import ItemStore
from scrapers.store.items import Decision, Placement, QueuedItem
from utils.clock import Clock, to_iso
from utils.errors import OperatorError, StopRunError
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckFailure, ImageFacts
from utils.logs import get_logger
from utils.metadata import Metadata, image_path, metadata_path, metadata_text

log = get_logger(__name__)

BEYOND_LIMITS = frozenset({"too_large", "too_many_pixels"})  # a smaller variant may do


@dataclass(slots=True)
class Collector:
    """Turns queued items of one source into decisions; `collect` never raises for the item's own faults."""

    client: Client
    item_store: ItemStore
    image_store: ImageStore
    checks: CheckPool
    data_folder: Path
    clock: Clock
    capacity: Capacity
    bases: Bases

    async def collect(self, item: QueuedItem) -> Decision:
        """Raises ParkedError and BlockedError, which concern the source; the item then stays queued."""
        part = self.image_store.part_path(item.sample_id)
        try:
            self.client.allowed.check_image(item.candidate.variants[0].url)  # before the source is told of a use
            await self._report_use(item)
            placement = await self._fetch(item, part)
        except RefusedError as error:
            basis = self.bases.for_code(error.code)
            return await self._give_up(item, part, Decision(item.row, "refused", error.code, basis=basis), error)
        except FailedError as error:
            return await self._give_up(item, part, Decision(item.row, "failed", error.code), error)
        except TransientError as error:
            decision = Decision(item.row, "failed", error.code, again=True, counts=not error.of_host)
            return await self._give_up(item, part, decision, error)
        except (StopRunError, OperatorError, OSError, sqlite3.Error, asyncio.CancelledError):
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        except Exception as error:  # whatever one item does, it costs that item alone
            log.exception("item_unreadable", source=self.client.module.name, id=item.candidate.source_id)
            return await self._give_up(item, part, Decision(item.row, "filtered", "unreadable"), error)
        decision = await self.image_store.put(placement, part)
        if decision.state != "stored":
            self.capacity.give_back(placement.size_bytes)
        return decision

    async def leave_out(self, item: QueuedItem, code: str) -> Decision:
        """By a rule about shares; nothing was asked of anybody."""
        decision = Decision(item.row, "filtered", code, basis=self.bases.for_code(code))
        return await self.image_store.put(decision, None)

    async def _give_up(self, item: QueuedItem, part: Path, decision: Decision, error: Exception) -> Decision:
        part.unlink(missing_ok=True)
        log.debug("item_left_out", source=self.client.module.name, id=item.candidate.source_id, reason=str(error))
        return await self.image_store.put(decision, None)

    async def _report_use(self, item: QueuedItem) -> None:
        if item.candidate.track_url is None or item.tracked:
            return
        await self.client.report_use(item.candidate.track_url)
        self.item_store.note_tracked(item.row)

    async def _fetch(self, item: QueuedItem, part: Path) -> Placement:
        """The best variant within our limits."""
        variants = item.candidate.variants
        for variant in variants:
            try:
                download = await self.client.image(variant, part)
                facts = await self._check(download)
            except TooLargeError:
                if variant is variants[-1]:
                    raise
                continue
            self.capacity.take(facts.size_bytes)
            return self._describe(item, variant, download, facts)
        raise AssertionError("a candidate has at least one variant")

    async def _check(self, download: Download) -> ImageFacts:
        result = await asyncio.wrap_future(self.checks.submit(download.path))
        if isinstance(result, CheckFailure):
            if result.retryable:
                raise TransientError("check", result.reason)
            raise _refusal(result)
        if result.sha256 != download.sha256:
            raise TransientError("disk", "the file on disk is not what arrived")
        return result

    def _describe(self, item: QueuedItem, variant: Variant, download: Download, facts: ImageFacts) -> Placement:
        now = self.clock.now()
        module = self.client.module
        image = image_path(self.data_folder, item.sample_id, now, facts.extension)
        meta = metadata_path(self.data_folder, item.sample_id, now)
        relative = image.relative_to(self.data_folder).as_posix()
        metadata = Metadata(
            id=item.sample_id,
            source=module.name,
            label=module.label,
            label_source="source",
            timestamp=to_iso(now),
            path=relative,
            sha256=facts.sha256,
            attribution=item.candidate.attribution,
            api_data={**_present(item.candidate.api_data), "download": _provenance(variant, download, to_iso(now))},
        )
        return Placement(
            row=item.row,
            sha256=facts.sha256,
            size_bytes=facts.size_bytes,
            label=module.label,
            path=relative,
            meta_path=meta.relative_to(self.data_folder).as_posix(),
            metadata=metadata_text(metadata),
            day=f"{now:%Y-%m-%d}",
        )


def _present(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}


def _provenance(variant: Variant, download: Download, time: str) -> dict[str, Any]:
    """Where the bytes came from; the URL without its query, which can hold keys and trackers."""
    return _present(
        {
            "url": public_url(download.url),
            "variant": variant.name,
            "time": time,
            "etag": download.etag,
            "last_modified": download.last_modified,
            "content_type": download.content_type,
            "size_bytes": download.size_bytes,
        }
    )


def _refusal(failure: CheckFailure) -> RefusedError:
    if failure.code in BEYOND_LIMITS:
        return TooLargeError(failure.code, failure.reason)
    return RefusedError("check_timeout" if failure.code == "timeout" else failure.code, failure.reason)
