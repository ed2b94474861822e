"""What was left out and is looked at again: after a failure, and when what a verdict depended on has changed."""

from __future__ import annotations

from collections.abc import Sequence

from scrapers.store.item_store import ItemStore
from utils.logs import get_logger

log = get_logger(__name__)

MAX_TRIES = 5  # runs in which a failing item is attempted again
KEEP_SURPLUS = 5000  # of what a generator or a person had too much of: candidates kept for a second look, a source


def look_again(item_store: ItemStore, source: str, rules: int, bases: Sequence[str]) -> None:
    """At the start of a run. `rules`: the revision of the source's own; `bases`: what verdicts depend on now."""
    _requeue_failed(item_store, source)
    requeued = _requeue_outdated(item_store, source, bases)
    forgotten = _apply_rules(item_store, source, rules)
    _forget_surplus(item_store, source)
    if requeued or forgotten:
        log.info("verdicts_outdated", source=source, asked_again=requeued, crawled_again=forgotten)


def _requeue_failed(item_store: ItemStore, source: str) -> None:
    """Give what failed in passing in an earlier run another try."""
    with item_store.transaction() as db:
        db.execute(
            "UPDATE items SET state = 'queued', why = '', run_id = '' WHERE source = ? AND state = 'failed'"
            " AND again = 1 AND tries < ? AND run_id != ?",
            (source, MAX_TRIES, item_store.run_id),
        )


def _requeue_outdated(item_store: ItemStore, source: str, bases: Sequence[str]) -> int:
    """What was left out on another basis than these: settings or this program have changed."""
    marks = ", ".join("?" * len(bases))
    with item_store.transaction() as db:
        return db.execute(
            "UPDATE items SET state = 'queued', why = '', run_id = '', basis = '' WHERE source = ? AND basis != ''"  # noqa: S608
            f" AND basis NOT IN ({marks}) AND candidate IS NOT NULL AND state IN ('refused', 'filtered')",
            (source, *bases),
        ).rowcount


def _apply_rules(item_store: ItemStore, source: str, rules: int) -> int:
    """Where a source's rules are new: forget what earlier ones left out, and crawl it again from the newest page."""
    rows = item_store.read("SELECT rules FROM sources WHERE source = ?", source)
    if not rows or rows[0]["rules"] == rules:
        return 0
    with item_store.transaction() as db:
        forgotten = db.execute(
            "DELETE FROM items WHERE source = ? AND state = 'filtered' AND candidate IS NULL", (source,)
        ).rowcount
        if forgotten:
            db.execute("DELETE FROM crawls WHERE source = ?", (source,))
            db.execute("DELETE FROM cursors WHERE source = ?", (source,))
        db.execute("UPDATE sources SET rules = ? WHERE source = ?", (rules, source))
    return forgotten


def _forget_surplus(item_store: ItemStore, source: str) -> None:
    """What there is too much of comes in without end: the newest are kept, the others forgotten for good."""
    surplus = "source = ?1 AND basis != '' AND why IN ('generator_share', 'creator_cap')"
    with item_store.transaction() as db:
        db.execute(
            f"UPDATE items SET candidate = NULL, basis = '' WHERE {surplus} AND row <="  # noqa: S608
            f" (SELECT row FROM items WHERE {surplus} ORDER BY row DESC LIMIT 1 OFFSET ?2)",
            (source, KEEP_SURPLUS),
        )
