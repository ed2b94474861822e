"""One candidate from its URL to a checked file with metadata, or to the reason why not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from scrapers.candidate import Variant, public_url
from scrapers.client import Client
from scrapers.errors import FailedError, RefusedError, TooLargeError, TransientError
from scrapers.http.fetcher import Download
from scrapers.store.image_store import ImageStore
from scrapers.store.item_store import Decision, ItemStore, Placement, QueuedItem
from utils.clock import Clock, to_iso
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckFailure, ImageFacts
from utils.logs import get_logger
from utils.metadata import Metadata, image_path, metadata_path

log = get_logger(__name__)


@dataclass(slots=True)
class Collector:
    """Turns queued items of one source into decisions; `collect` never raises for the item's own faults."""

    client: Client
    item_store: ItemStore
    image_store: ImageStore
    checks: CheckPool
    data_folder: Path
    clock: Clock

    async def collect(self, item: QueuedItem) -> Decision:
        """Raises ParkedError and BlockedError, which concern the source; the item then stays queued."""
        part = self.image_store.part_path(item.sample_id)
        try:
            await self._report_use(item)
            placement = await self._fetch(item, part)
        except RefusedError as error:
            return await self._give_up(item, part, Decision(item.row, "refused", error.why), error)
        except FailedError as error:
            return await self._give_up(item, part, Decision(item.row, "failed", error.why), error)
        except TransientError as error:
            return await self._give_up(item, part, Decision(item.row, "failed", error.why, again=True), error)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        return await self.image_store.put(placement, part)

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
            return self._describe(item, variant, download, facts)
        raise AssertionError("a candidate has at least one variant")

    async def _check(self, download: Download) -> ImageFacts:
        result = await asyncio.wrap_future(self.checks.submit(download.path))
        if isinstance(result, CheckFailure):
            if result.retryable:
                raise TransientError("check", result.reason)
            raise _refusal(result.reason)
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
            metadata=_as_text(metadata),
            day=f"{now:%Y-%m-%d}",
        )


def _as_text(metadata: Metadata) -> str:
    """As `utils.metadata.write_metadata` writes it."""
    plain = {field.name: getattr(metadata, field.name) for field in fields(metadata)}
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


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


def _refusal(reason: str) -> RefusedError:
    """A check's reason in words as a slug that can be counted."""
    if "pixels" in reason:
        return RefusedError("too_small", reason) if "at least" in reason else TooLargeError("too_many_pixels", reason)
    if "animation" in reason:
        return RefusedError("animation", reason)
    return RefusedError("decode", reason)
