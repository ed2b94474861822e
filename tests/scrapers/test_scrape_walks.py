from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_clock import FakeClock
from scrapers.candidate import Candidate, Dropped, Page, Variant
from scrapers.store.cursors import MAX_IDLE_PAGES, MAX_RESTARTS, REFILL_SECONDS, Walk, Walks
from scrapers.store.item_store import Decision, Ledger, State

HEAD_SECONDS = 300


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path, "run-1")
    yield ledger
    ledger.close()


@pytest.fixture
def walks(ledger: Ledger, fake_clock: FakeClock) -> Walks:
    return Walks(ledger, fake_clock, "pexels", HEAD_SECONDS)


def another_run(ledger: Ledger, clock: FakeClock) -> Walks:
    return Walks(ledger, clock, "pexels", HEAD_SECONDS)


def item(number: int, url: str | None = None) -> Candidate:
    variant = Variant("original", url or f"https://images.pexels.com/{number}.jpg")
    return Candidate(str(number), (variant,), {}, {}, creator=f"pexels:{number % 3}")


def page(*numbers: int, then: str | None = "next") -> Page:
    return Page(tuple(item(number) for number in numbers), then)


def go_on(walks: Walks, query: str = "tram") -> Walk:
    walk = walks.next(query)
    assert walk is not None
    return walk


def test_the_first_run_goes_back_from_the_newest_page_to_the_end(walks: Walks) -> None:
    assert (go_on(walks).kind, go_on(walks).cursor) == ("backfill", None)
    walks.record(go_on(walks), page(1, 2, then="c2"))
    assert go_on(walks).cursor == "c2"
    walks.record(go_on(walks), page(3, then=None))
    assert walks.next("tram") is None


def test_a_later_run_first_looks_at_what_is_new_and_then_goes_on_with_the_old(
    ledger: Ledger, walks: Walks, fake_clock: FakeClock
) -> None:
    walks.record(go_on(walks), page(1, 2, then="c2"))
    fake_clock.pass_time(HEAD_SECONDS)
    later = another_run(ledger, fake_clock)
    assert (go_on(later).kind, go_on(later).cursor) == ("head", None)
    later.record(go_on(later), page(9, 8, then="h2"))
    assert (go_on(later).kind, go_on(later).cursor) == ("head", "h2")
    later.record(go_on(later), page(1, 2, then="h3"))
    assert (go_on(later).kind, go_on(later).cursor) == ("backfill", "c2"), "only known ids: the head walk has ended"


def test_the_newest_page_is_not_asked_for_again_too_soon(ledger: Ledger, walks: Walks, fake_clock: FakeClock) -> None:
    walks.record(go_on(walks), page(1, then=None))
    fake_clock.pass_time(HEAD_SECONDS - 1)
    assert another_run(ledger, fake_clock).next("tram") is None
    fake_clock.pass_time(1)
    again = another_run(ledger, fake_clock)
    again.record(go_on(again), page(1, then="h2"))
    fake_clock.pass_time(HEAD_SECONDS)
    assert again.next("tram") is None, "once in a run"


def test_an_interrupted_head_walk_is_finished_first_so_that_no_gap_opens(
    ledger: Ledger, walks: Walks, fake_clock: FakeClock
) -> None:
    walks.record(go_on(walks), page(1, then=None))
    fake_clock.pass_time(HEAD_SECONDS)
    later = another_run(ledger, fake_clock)
    later.record(go_on(later), page(9, 8, then="h2"))
    fake_clock.pass_time(HEAD_SECONDS)
    after_kill = another_run(ledger, fake_clock)
    assert (go_on(after_kill).kind, go_on(after_kill).cursor) == ("head", "h2")


def test_a_repeated_cursor_ends_the_walk(walks: Walks) -> None:
    for number, cursor in enumerate(("a", "b", "c"), start=1):
        walks.record(go_on(walks), page(number, then=cursor))
    walks.record(go_on(walks), page(7, then="a"))
    assert walks.next("tram") is None


def test_many_pages_without_a_new_id_end_the_walk_and_empty_pages_do_not(walks: Walks) -> None:
    walks.record(go_on(walks), page(1, then="0"))
    for number in range(MAX_IDLE_PAGES - 1):
        walks.record(go_on(walks), page(then=f"empty-{number}"))
    walks.record(go_on(walks), page(2, then="new"))
    assert go_on(walks).idle_pages == 0
    for number in range(MAX_IDLE_PAGES):
        walks.record(go_on(walks), page(1, then=f"known-{number}"))
    assert walks.next("tram") is None


def test_a_restarted_walk_has_patience_with_what_it_has_seen_before(walks: Walks) -> None:
    pages = MAX_IDLE_PAGES + 10
    for number in range(pages):
        walks.record(go_on(walks), page(number, then=f"c{number}"))
    assert walks.restart(go_on(walks))
    assert go_on(walks).cursor is None
    for number in range(pages):
        walks.record(go_on(walks), page(number, then=f"d{number}"))
    walks.record(go_on(walks), page(999, then="beyond"))
    assert go_on(walks).cursor == "beyond"


def test_a_cursor_that_is_never_accepted_ends_the_walk(walks: Walks) -> None:
    restarts = 0
    while (walk := walks.next("tram")) is not None:
        if walk.cursor is None:
            walks.record(walk, page(1, then="bad"))
        elif walks.restart(walk):
            restarts += 1
    assert restarts == MAX_RESTARTS


def test_a_walk_that_has_ended_is_walked_again_after_a_month(
    ledger: Ledger, walks: Walks, fake_clock: FakeClock
) -> None:
    walks.record(go_on(walks), page(1, then=None))
    fake_clock.pass_time(REFILL_SECONDS)
    assert go_on(another_run(ledger, fake_clock)).kind == "backfill"


def test_a_query_that_is_refused_for_good_is_never_asked_again(
    ledger: Ledger, walks: Walks, fake_clock: FakeClock
) -> None:
    go_on(walks)
    walks.give_up("tram")
    fake_clock.pass_time(REFILL_SECONDS * 2)
    assert another_run(ledger, fake_clock).next("tram") is None
    assert another_run(ledger, fake_clock).next("cat") is not None


def test_queries_take_turns_over_runs(walks: Walks, fake_clock: FakeClock) -> None:
    for query in ("a", "b"):
        fake_clock.pass_time(1)
        walks.record(go_on(walks, query), page(1, then="x"))
    assert walks.in_turn(["a", "b", "c"]) == ["c", "a", "b"]


def test_items_and_cursor_are_written_together_or_not_at_all(ledger: Ledger, walks: Walks) -> None:
    walk = go_on(walks)
    broken = Page((item(1), "no item"), "c2")  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        walks.record(walk, broken)
    assert ledger.queued("pexels", "tram", 0, 10) == []
    assert go_on(walks).cursor is None


# what the ledger decides without a request


def decided(ledger: Ledger, *items: Candidate | Dropped) -> list[tuple[State, str]]:
    with ledger.transaction() as db:
        return ledger.add_items(db, "pexels", "tram", items)[1]


def test_known_ids_are_skipped_and_known_urls_are_duplicates(ledger: Ledger) -> None:
    assert decided(ledger, item(1), item(1), Dropped("9", "license")) == [("filtered", "license")]
    same = item(2, "https://images.pexels.com/1.jpg?ixid=other")
    assert decided(ledger, same, item(1)) == [("duplicate", "url")]
    assert [queued.candidate.source_id for queued in ledger.queued("pexels", "tram", 0, 10)] == ["1"]


@pytest.mark.parametrize("column", ["source_id", "creator"])
def test_what_was_forgotten_is_refused_when_it_is_offered_again(ledger: Ledger, column: str) -> None:
    value = {"source_id": "4", "creator": "pexels:1"}[column]
    with ledger.transaction() as db:
        db.execute(f"INSERT INTO tombstones (source, {column}, reason, at) VALUES ('pexels', ?, '', '')", (value,))
    assert decided(ledger, item(4), item(5)) == [("refused", "tombstone")]


def test_what_failed_in_passing_is_tried_again_in_a_later_run_only(tmp_path: Path, ledger: Ledger) -> None:
    decided(ledger, item(1), item(2))
    first, second = ledger.queued("pexels", "tram", 0, 10)
    with ledger.transaction() as db:
        ledger.decide(db, Decision(first.row, "failed", "timeout", again=True))
        ledger.decide(db, Decision(second.row, "failed", "http_404"))
    ledger.requeue_failed("pexels")
    assert ledger.queued("pexels", "tram", 0, 10) == []
    later = Ledger(tmp_path, "run-2")
    try:
        later.requeue_failed("pexels")
        assert [queued.row for queued in later.queued("pexels", "tram", 0, 10)] == [first.row]
    finally:
        later.close()
