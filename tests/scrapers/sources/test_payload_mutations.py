"""Every field of every source's payload, made odd: nothing raises, nothing is stuck, sound items pass.

`EXPOSR_MUTATIONS=2000 pytest tests/scrapers/sources/test_payload_mutations.py` for the full number.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mutations import mutations
from test_scrape_sources import ITEMS, PAGES, SETTINGS

from fake_clock import FakeClock
from scrapers.candidate import Candidate, Dropped, public_url
from scrapers.errors import RefusedError
from scrapers.http.address_guard import AllowList
from scrapers.sources import SOURCES
from scrapers.sources.source import PayloadError
from scrapers.store.cursors import MAX_PAGE_TRIES, CrawlCursors
from scrapers.store.item_store import ItemStore

COUNT = int(os.environ.get("EXPOSR_MUTATIONS", "100"))
IDS = {"wikimedia": "pageid", "wikimedia_ai": "pageid"}
QUERIES = {"wikimedia": "Quality images", "wikimedia_ai": "AI-generated images"}


def sound_page(name: str, first_id: int = 1) -> Any:
    """Three sound items in the source's envelope."""
    page = PAGES[name](copy.deepcopy(ITEMS[name]))
    lists = [value for value in (*page.values(), *page.get("query", {}).values()) if isinstance(value, list)]
    items = next(found for found in lists if found)
    items[:] = [{**copy.deepcopy(ITEMS[name]), IDS.get(name, "id"): first_id + index} for index in range(3)]
    return page


@pytest.fixture
def item_store(tmp_path: Path) -> Iterator[ItemStore]:
    store = ItemStore(tmp_path, "run-1")
    yield store
    store.close()


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.timeout(300)
def test_no_mutation_raises_or_leaves_a_crawl_where_it_is(
    name: str, item_store: ItemStore, fake_clock: FakeClock
) -> None:
    module, settings = SOURCES[name], SETTINGS[name]
    allowed = AllowList.of(settings)
    cursors = CrawlCursors(item_store, fake_clock, name, 0, module.newest_first)
    query = QUERIES.get(name, "street")
    for number, payload in enumerate(mutations(sound_page(name), COUNT, seed=7)):
        if (crawl := cursors.next(query)) is None:  # the mutated page was the last one
            with item_store.transaction() as db:
                db.execute("DELETE FROM crawls")
            cursors = CrawlCursors(item_store, fake_clock, name, 0, module.newest_first)
            crawl = cursors.next(query)
            assert crawl is not None
        cursor = crawl.cursor or module.first_cursor(query)
        try:
            # as it arrives: what JSON cannot hold, a server cannot send
            arrived = json.loads(
                json.dumps(payload), parse_int=lambda digits: int(digits) if len(digits) < 300 else None
            )
            page = module.read_page(arrived, settings, cursor)
        except PayloadError:
            for _ in range(MAX_PAGE_TRIES):
                gone = cursors.page_failed(crawl, module.cursor_after(cursor))
                crawl = cursors.next(query) or crawl
            assert gone or crawl.skipped, f"mutation {number} holds its crawl for ever"
            continue
        cursors.record(crawl, page)
        after = cursors.next(query)
        assert after is None or after.cursor != crawl.cursor or after.kind != crawl.kind or page.next_cursor == cursor
        assert module.page_url(settings, query, page.next_cursor).startswith(settings.base_url)
        for item in page.items:
            check_item(item, allowed)
    check_stored(item_store)


def read_int(digits: str) -> int | None:
    return int(digits) if len(digits) < 300 else None


def check_item(item: Candidate | Dropped, allowed: AllowList) -> None:
    assert item.source_id and item.source_id.isprintable()
    if isinstance(item, Candidate):
        assert Candidate.from_json(item.to_json()) == item
        assert len(json.dumps(item.api_data)) <= 20_000
        for variant in item.variants:
            public_url(variant.url)
            try:
                allowed.check_image(variant.url)
            except RefusedError:
                continue


def check_stored(item_store: ItemStore) -> None:
    """Everything that was remembered can be read again."""
    for row in item_store.read("SELECT DISTINCT source, query FROM items"):
        waiting = item_store.waiting(row["source"])
        assert len(item_store.queued(row["source"], row["query"], 0, 100_000)) == waiting


@pytest.mark.parametrize("name", SOURCES)
def test_sound_items_pass_whatever_their_neighbours_are(name: str) -> None:
    module, settings = SOURCES[name], SETTINGS[name]
    for number, odd in enumerate(mutations(ITEMS[name], min(COUNT, 300), seed=11)):
        payload = sound_page(name)
        lists = [value for value in (*payload.values(), *payload.get("query", {}).values()) if isinstance(value, list)]
        next(found for found in lists if found).insert(1, odd)
        page = module.read_page(payload, settings, module.first_cursor("x"))
        sound = [item for item in page.items if isinstance(item, Candidate) and item.source_id in ("1", "2", "3")]
        assert len(sound) >= 3, f"mutation {number} cost a neighbour"
