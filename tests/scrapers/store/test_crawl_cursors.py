from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_clock import FakeClock
from scrapers.candidate import Candidate, Dropped, Page, Variant
from scrapers.store.cursors import MAX_IDLE_PAGES, MAX_RESTARTS, REFILL_SECONDS, Crawl, CrawlCursors
from scrapers.store.item_store import ItemStore
from scrapers.store.items import Decision, State
from scrapers.store.second_look import look_again

HEAD_SECONDS = 300


@pytest.fixture
def item_store(tmp_path: Path) -> Iterator[ItemStore]:
    item_store = ItemStore(tmp_path, "run-1")
    yield item_store
    item_store.close()


@pytest.fixture
def crawls(item_store: ItemStore, fake_clock: FakeClock) -> CrawlCursors:
    return CrawlCursors(item_store, fake_clock, "pexels", HEAD_SECONDS)


def another_run(item_store: ItemStore, clock: FakeClock) -> CrawlCursors:
    return CrawlCursors(item_store, clock, "pexels", HEAD_SECONDS)


def item(number: int, url: str | None = None) -> Candidate:
    variant = Variant("original", url or f"https://images.pexels.com/{number}.jpg")
    return Candidate(str(number), (variant,), {}, {}, creator=f"pexels:{number % 3}")


def page(*numbers: int, then: str | None = "next") -> Page:
    return Page(tuple(item(number) for number in numbers), then)


def go_on(crawls: CrawlCursors, query: str = "tram") -> Crawl:
    crawl = crawls.next(query)
    assert crawl is not None
    return crawl


def test_the_first_run_goes_back_from_the_newest_page_to_the_end(crawls: CrawlCursors) -> None:
    assert (go_on(crawls).kind, go_on(crawls).cursor) == ("backfill", None)
    crawls.record(go_on(crawls), page(1, 2, then="c2"))
    assert go_on(crawls).cursor == "c2"
    crawls.record(go_on(crawls), page(3, then=None))
    assert crawls.next("tram") is None


def test_a_later_run_first_looks_at_what_is_new_and_then_goes_on_with_the_old(
    item_store: ItemStore, crawls: CrawlCursors, fake_clock: FakeClock
) -> None:
    crawls.record(go_on(crawls), page(1, 2, then="c2"))
    fake_clock.pass_time(HEAD_SECONDS)
    later = another_run(item_store, fake_clock)
    assert (go_on(later).kind, go_on(later).cursor) == ("head", None)
    later.record(go_on(later), page(9, 8, then="h2"))
    assert (go_on(later).kind, go_on(later).cursor) == ("head", "h2")
    later.record(go_on(later), page(1, 2, then="h3"))
    assert (go_on(later).kind, go_on(later).cursor) == ("backfill", "c2"), "only known ids: the head crawl has ended"


def test_the_newest_page_is_not_asked_for_again_too_soon(
    item_store: ItemStore, crawls: CrawlCursors, fake_clock: FakeClock
) -> None:
    crawls.record(go_on(crawls), page(1, then=None))
    fake_clock.pass_time(HEAD_SECONDS - 1)
    assert another_run(item_store, fake_clock).next("tram") is None
    fake_clock.pass_time(1)
    again = another_run(item_store, fake_clock)
    again.record(go_on(again), page(1, then="h2"))
    fake_clock.pass_time(HEAD_SECONDS)
    assert again.next("tram") is None, "once in a run"


def test_an_interrupted_head_crawl_is_finished_first_so_that_no_gap_opens(
    item_store: ItemStore, crawls: CrawlCursors, fake_clock: FakeClock
) -> None:
    crawls.record(go_on(crawls), page(1, then=None))
    fake_clock.pass_time(HEAD_SECONDS)
    later = another_run(item_store, fake_clock)
    later.record(go_on(later), page(9, 8, then="h2"))
    fake_clock.pass_time(HEAD_SECONDS)
    after_kill = another_run(item_store, fake_clock)
    assert (go_on(after_kill).kind, go_on(after_kill).cursor) == ("head", "h2")


def test_a_repeated_cursor_ends_the_crawl(crawls: CrawlCursors) -> None:
    for number, cursor in enumerate(("a", "b", "c"), start=1):
        crawls.record(go_on(crawls), page(number, then=cursor))
    crawls.record(go_on(crawls), page(7, then="a"))
    assert crawls.next("tram") is None


def test_many_pages_without_a_new_id_end_the_crawl_and_empty_pages_do_not(crawls: CrawlCursors) -> None:
    crawls.record(go_on(crawls), page(1, then="0"))
    for number in range(MAX_IDLE_PAGES - 1):
        crawls.record(go_on(crawls), page(then=f"empty-{number}"))
    crawls.record(go_on(crawls), page(2, then="new"))
    assert go_on(crawls).idle_pages == 0
    for number in range(MAX_IDLE_PAGES):
        crawls.record(go_on(crawls), page(1, then=f"known-{number}"))
    assert crawls.next("tram") is None


def test_a_restarted_crawl_has_patience_with_what_it_has_seen_before(crawls: CrawlCursors) -> None:
    pages = MAX_IDLE_PAGES + 10
    for number in range(pages):
        crawls.record(go_on(crawls), page(number, then=f"c{number}"))
    assert crawls.restart(go_on(crawls))
    assert go_on(crawls).cursor is None
    for number in range(pages):
        crawls.record(go_on(crawls), page(number, then=f"d{number}"))
    crawls.record(go_on(crawls), page(999, then="beyond"))
    assert go_on(crawls).cursor == "beyond"


def test_a_cursor_that_is_never_accepted_ends_the_crawl(crawls: CrawlCursors) -> None:
    restarts = 0
    while (crawl := crawls.next("tram")) is not None:
        if crawl.cursor is None:
            crawls.record(crawl, page(1, then="bad"))
        elif crawls.restart(crawl):
            restarts += 1
    assert restarts == MAX_RESTARTS


def test_a_walk_that_has_ended_is_crawled_again_after_a_month(
    item_store: ItemStore, crawls: CrawlCursors, fake_clock: FakeClock
) -> None:
    crawls.record(go_on(crawls), page(1, then=None))
    fake_clock.pass_time(REFILL_SECONDS)
    assert go_on(another_run(item_store, fake_clock)).kind == "backfill"


def test_a_query_that_is_refused_for_good_is_never_asked_again(
    item_store: ItemStore, crawls: CrawlCursors, fake_clock: FakeClock
) -> None:
    go_on(crawls)
    crawls.give_up("tram")
    fake_clock.pass_time(REFILL_SECONDS * 2)
    assert another_run(item_store, fake_clock).next("tram") is None
    assert another_run(item_store, fake_clock).next("cat") is not None


def test_queries_take_turns_over_runs(crawls: CrawlCursors, fake_clock: FakeClock) -> None:
    for query in ("a", "b"):
        fake_clock.pass_time(1)
        crawls.record(go_on(crawls, query), page(1, then="x"))
    assert crawls.in_turn(["a", "b", "c"]) == ["c", "a", "b"]


def test_items_and_cursor_are_written_together_or_not_at_all(item_store: ItemStore, crawls: CrawlCursors) -> None:
    crawl = go_on(crawls)
    broken = Page((item(1), "no item"), "c2")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        crawls.record(crawl, broken)
    assert item_store.queued("pexels", "tram", 0, 10) == []
    assert go_on(crawls).cursor is None


# what the item store decides without a request


def decided(item_store: ItemStore, *items: Candidate | Dropped) -> list[tuple[State, str]]:
    with item_store.transaction() as db:
        return item_store.add_items(db, "pexels", "tram", items).decided


def test_known_ids_are_skipped_and_known_urls_are_duplicates(item_store: ItemStore) -> None:
    assert decided(item_store, item(1), item(1), Dropped("9", "license")) == [("filtered", "license")]
    same = item(2, "https://images.pexels.com/1.jpg?ixid=other")
    assert decided(item_store, same, item(1)) == [("duplicate", "url")]
    assert [queued.candidate.source_id for queued in item_store.queued("pexels", "tram", 0, 10)] == ["1"]


@pytest.mark.parametrize("column", ["source_id", "creator"])
def test_what_was_forgotten_is_refused_when_it_is_offered_again(item_store: ItemStore, column: str) -> None:
    value = {"source_id": "4", "creator": "pexels:1"}[column]
    with item_store.transaction() as db:
        db.execute(f"INSERT INTO tombstones (source, {column}, reason, at) VALUES ('pexels', ?, '', '')", (value,))
    assert decided(item_store, item(4), item(5)) == [("refused", "tombstone")]


def test_what_failed_in_passing_is_tried_again_in_a_later_run_only(tmp_path: Path, item_store: ItemStore) -> None:
    decided(item_store, item(1), item(2))
    first, second = item_store.queued("pexels", "tram", 0, 10)
    with item_store.transaction() as db:
        item_store.decide(db, Decision(first.row, "failed", "timeout", again=True))
        item_store.decide(db, Decision(second.row, "failed", "http_404"))
    look_again(item_store, "pexels", 1, ())
    assert item_store.queued("pexels", "tram", 0, 10) == []
    later = ItemStore(tmp_path, "run-2")
    try:
        look_again(later, "pexels", 1, ())
        assert [queued.row for queued in later.queued("pexels", "tram", 0, 10)] == [first.row]
    finally:
        later.close()
