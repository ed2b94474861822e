"""Asking first: one page of each query, and what a run would make of it. Nothing is fetched or remembered.

The calls are real and count against the quota.
"""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from scrapers.candidate import Candidate, Page
from scrapers.client import Client
from scrapers.errors import RefusedError
from scrapers.harvest import Harvest
from scrapers.http.proxy import find_proxy
from scrapers.sources import ALL_SOURCES, SOURCES
from scrapers.status import find_obstacle, read_parked, settings_of
from scrapers.store.cursors import CrawlCursors
from scrapers.store.item_store import ItemStore
from scrapers.store.lock import collecting
from scrapers.wishes import Wishes
from utils.errors import ExposrError


@dataclass(slots=True)
class SourcePreview:
    """One source. `calls_left` by window (hour, day, month); `mean_bytes` None before its first picture."""

    name: str
    obstacle: str = ""
    troubles: list[str] = field(default_factory=list)
    pages: int = 0
    has_more: bool = False
    new: int = 0
    waiting: int = 0  # found by earlier runs and not fetched yet
    known: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # by code
    hosts: Counter[str] = field(default_factory=Counter)
    limit: int = 0
    calls_left: dict[str, int] = field(default_factory=dict)
    calls_for_each: int = 0
    mean_bytes: int | None = None

    @property
    def would_fetch(self) -> int:
        """Pictures of the pages that were looked at, and those that wait, within the run's limits."""
        return min(self.limit, self.new + self.waiting)


@dataclass(frozen=True, slots=True)
class Preview:
    sources: tuple[SourcePreview, ...]
    free_bytes: int


async def preview(harvest: Harvest) -> Preview:
    """Raises StopRunError when a collection is running. `harvest` says which sources, and with which limits."""
    config = harvest.config
    folder = config.storage.local_path
    disk = next(path for path in (folder, *folder.parents) if path.exists())  # nothing is made here
    with collecting(config.storage.state_path):
        async with AsyncExitStack() as stack:
            item_store = ItemStore(config.storage.state_path, harvest.run_id)
            stack.callback(item_store.close)
            rested = {row["source"]: read_parked(row) for row in item_store.read("SELECT * FROM sources")}
            found = []
            for name in harvest.names if harvest.names is not None else ALL_SOURCES:
                obstacle = find_obstacle(config, name, rested.get(name), harvest.clock.now())
                if obstacle is not None:
                    found.append(SourcePreview(name, obstacle=obstacle.reason))
                    continue
                if name not in SOURCES:
                    found.append(SourcePreview(name, obstacle="try exposr-trainer import … --dry-run for a dataset"))
                    continue
                client = harvest.make_client(name, stack, item_store, find_proxy())
                found.append(await _look_at(name, harvest, client, item_store))
    return Preview(tuple(found), shutil.disk_usage(disk).free)


async def _look_at(name: str, harvest: Harvest, client: Client, item_store: ItemStore) -> SourcePreview:
    settings = settings_of(harvest.config, name)
    queries = settings.queries or ("",)
    planned = len(queries) * settings.limit_per_query
    seen = SourcePreview(name, limit=planned if harvest.limit is None else min(planned, harvest.limit))
    seen.waiting, seen.mean_bytes = item_store.waiting(name), item_store.mean_bytes(name)
    cursors = CrawlCursors(item_store, harvest.clock, name, settings.head_interval())
    wishes = Wishes(harvest.limit, harvest.since, harvest.min_side)
    for query in queries:
        cursor = cursors.position(query) or client.module.first_cursor(query)
        try:
            reply = await client.page(query, cursor)
            page = client.module.read_page(reply.payload, settings, cursor)
        except ExposrError as error:
            seen.troubles.append(f"{query or 'feed'}: {error}")
            continue
        seen.pages += 1
        seen.has_more = seen.has_more or page.next_cursor is not None
        _count(seen, page, client, item_store, wishes)
    seen.calls_left = {str(window): left for window, left in client.budget.left().items()}
    return seen


def _count(seen: SourcePreview, page: Page, client: Client, item_store: ItemStore, wishes: Wishes) -> None:
    for item in page.items:
        state, why = item_store.look_up(seen.name, item)
        if state in ("stored", "duplicate", "queued", "placing"):
            seen.known += state != "queued"
        elif state != "new" or not isinstance(item, Candidate):
            seen.left_out[why] += 1
        elif wishes.reject(item):
            seen.left_out["not_asked_for"] += 1
        else:
            _count_new(seen, item, client)
    seen.left_out["no_id"] += page.nameless


def _count_new(seen: SourcePreview, item: Candidate, client: Client) -> None:
    url = item.variants[0].url
    try:
        client.allowed.check_image(url)
    except RefusedError as error:
        seen.left_out[error.code] += 1
        return
    seen.new += 1
    seen.calls_for_each = max(seen.calls_for_each, int(item.track_url is not None))
    seen.hosts[urlsplit(url).hostname or ""] += 1
