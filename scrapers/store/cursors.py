"""Where each query's crawls are: a backfill crawl towards the old, and a head crawl that looks for what is new.

Both keep their cursor over restarts. A head crawl that was interrupted is finished before another begins, so that no
gap opens between its start and what was known before. Loops end a crawl: a repeated cursor, many pages without a new
id. A page that cannot be read in several runs is skipped.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scrapers.candidate import Page
from scrapers.store.item_store import ItemStore
from scrapers.store.items import Seen
from utils.clock import Clock

Kind = Literal["head", "backfill"]
MAX_IDLE_PAGES = 20  # pages in a row without a new id
MAX_RESTARTS = 3  # times that a crawl may begin again because its cursor was refused
MAX_PAGE_TRIES = 3  # runs in which a page is asked for before it is skipped
MAX_SKIPS = 3  # unreadable pages in a row that are skipped; more of them are not the pages' fault
REFILL_SECONDS = 30 * 24 * 3600.0  # a backfill that has ended is crawled again after this
TREE_REFILL_SECONDS = 3 * 24 * 3600.0  # the same where new items have no place of their own
FOR_GOOD = "refused query"


@dataclass(frozen=True, slots=True)
class Crawl:
    """One crawl's position; `cursor` None: at its start."""

    source: str
    query: str
    kind: Kind
    cursor: str | None
    idle_pages: int = 0
    pages: int = 0
    patience: int = 0
    restarts: int = 0
    failures: int = 0
    skipped: int = 0
    etag: str | None = None  # of the newest page when it was last seen; for a head crawl's first request


class CrawlCursors:
    """The crawls of one source."""

    def __init__(
        self,
        item_store: ItemStore,
        clock: Clock,
        source: str,
        head_interval_seconds: float,
        newest_first: bool = True,
    ) -> None:
        self._item_store = item_store
        self._clock = clock
        self._source = source
        self._head_interval = head_interval_seconds
        self._newest_first = newest_first
        self._looked: set[str] = set()  # queries whose newest results this run has begun to look at

    def in_turn(self, queries: Sequence[str]) -> list[str]:
        """The queries, the one that waited longest first: a small quota must not starve the last ones."""
        rows = self._item_store.read(
            "SELECT query, max(updated) AS updated FROM crawls WHERE source = ? GROUP BY query", self._source
        )
        updated = {row["query"]: float(row["updated"]) for row in rows}
        return sorted(dict.fromkeys(queries), key=lambda query: updated.get(query, 0.0))

    def next(self, query: str) -> Crawl | None:
        """The crawl to go on with: an interrupted or due head crawl, else the backfill; None when both have ended."""
        rows = {
            row["kind"]: row
            for row in self._item_store.read("SELECT * FROM crawls WHERE source = ? AND query = ?", self._source, query)
        }
        backfill, head = rows.get("backfill"), rows.get("head")
        now = self._clock.now().timestamp()
        if backfill is not None and backfill["ended"] == FOR_GOOD:
            return None
        refill = REFILL_SECONDS if self._newest_first else TREE_REFILL_SECONDS
        if backfill is None or (not backfill["active"] and now - backfill["updated"] >= refill):
            self._begin(query, "backfill")
            self._looked.add(query)
            self._mark_head(query)  # the backfill's first page is the newest one
            return Crawl(self._source, query, "backfill", None)
        if head is not None and head["active"]:
            return _crawl(head)
        if not self._newest_first:
            return _crawl(backfill) if backfill["active"] else None
        due = head is None or now - head["updated"] >= self._head_interval
        if due and query not in self._looked:
            self._looked.add(query)
            etag = head["etag"] if head is not None else None
            self._begin(query, "head", etag)
            return Crawl(self._source, query, "head", None, etag=etag)
        return _crawl(backfill) if backfill["active"] else None

    def position(self, query: str) -> str | None:
        """The cursor that the next run goes on from; None: the newest page. Changes nothing."""
        rows = self._item_store.read(
            "SELECT cursor FROM crawls WHERE source = ? AND query = ? AND active = 1 ORDER BY kind DESC LIMIT 1",
            self._source,
            query,
        )
        return rows[0]["cursor"] if rows else None

    def record(self, crawl: Crawl, page: Page, etag: str | None = None) -> Seen:
        """Remember a page's items and the crawl's new position, together. Returns what the items were."""
        with self._item_store.transaction() as db:
            seen = self._item_store.add_items(db, crawl.source, crawl.query, page.items)
            idle_pages = 0 if seen.new else crawl.idle_pages + 1
            self._move(db, crawl, page.next_cursor, idle_pages, self._end(db, crawl, page, seen.new, idle_pages))
            if crawl.cursor is None:
                db.execute(
                    "UPDATE crawls SET etag = ? WHERE source = ? AND query = ? AND kind = 'head'",
                    (etag, crawl.source, crawl.query),
                )
        return seen

    def page_failed(self, crawl: Crawl, following: str | None) -> bool:
        """Note that a page cannot be read. True when it has been given up after some tries: the crawl goes on with
        `following`, or where the page alone names the next one, once more from the start."""
        failures = crawl.failures + 1
        is_hopeless = failures >= MAX_PAGE_TRIES and crawl.skipped < MAX_SKIPS
        if is_hopeless and following is None:
            self.restart(crawl)
            return True
        with self._item_store.transaction() as db:
            if is_hopeless:
                self._move(db, crawl, following, crawl.idle_pages, "", skipped=crawl.skipped + 1)
            else:  # `updated` sends the query behind the others in the next run
                db.execute(
                    "UPDATE crawls SET failures = ?, updated = ? WHERE source = ? AND query = ? AND kind = ?",
                    (failures, self._clock.now().timestamp(), crawl.source, crawl.query, crawl.kind),
                )
        return is_hopeless

    def _end(self, db: sqlite3.Connection, crawl: Crawl, page: Page, new: int, idle_pages: int) -> str:
        """Why the crawl ends with this page, or nothing."""
        if page.next_cursor is None:
            return "end"
        if crawl.kind == "head" and page.items and not new:
            return "known"
        if self._newest_first and idle_pages >= MAX_IDLE_PAGES + crawl.patience:
            return "idle"
        key = (crawl.source, crawl.query, crawl.kind, _fingerprint(page.next_cursor))
        if db.execute("INSERT OR IGNORE INTO cursors VALUES (?, ?, ?, ?)", key).rowcount == 0:
            return "cycle"
        return ""

    def _move(
        self,
        db: sqlite3.Connection,
        crawl: Crawl,
        cursor: str | None,
        idle_pages: int,
        ended: str,
        *,
        skipped: int = 0,
    ) -> None:
        db.execute(
            "UPDATE crawls SET cursor = ?, active = ?, ended = ?, idle_pages = ?, failures = 0, skipped = ?,"
            " pages = pages + 1, updated = ? WHERE source = ? AND query = ? AND kind = ?",
            (
                None if ended else cursor,
                int(not ended),
                ended,
                idle_pages,
                skipped,
                self._clock.now().timestamp(),
                crawl.source,
                crawl.query,
                crawl.kind,
            ),
        )
        if ended:
            db.execute(
                "DELETE FROM cursors WHERE source = ? AND query = ? AND kind = ?",
                (crawl.source, crawl.query, crawl.kind),
            )

    def restart(self, crawl: Crawl) -> bool:
        """Begin the crawl again after its cursor was refused; False, and the crawl has ended, when that is no help."""
        with self._item_store.transaction() as db:
            hopeless = crawl.cursor is None or crawl.restarts >= MAX_RESTARTS
            self._move(db, crawl, None, 0, "refused" if hopeless else "")
            db.execute(
                "DELETE FROM cursors WHERE source = ? AND query = ? AND kind = ?",
                (crawl.source, crawl.query, crawl.kind),
            )
            db.execute(
                "UPDATE crawls SET restarts = restarts + 1, patience = pages"
                " WHERE source = ? AND query = ? AND kind = ?",
                (crawl.source, crawl.query, crawl.kind),
            )
        return not hopeless

    def unchanged(self, crawl: Crawl) -> None:
        """The newest page is the one that is known: a head crawl that ends with its first request."""
        with self._item_store.transaction() as db:
            self._move(db, crawl, None, 0, "unchanged")

    def give_up(self, query: str) -> None:
        """The source will not answer this query, now or later."""
        with self._item_store.transaction() as db:
            db.execute(
                "UPDATE crawls SET active = 0, ended = ?, cursor = NULL, updated = ? WHERE source = ? AND query = ?",
                (FOR_GOOD, self._clock.now().timestamp(), self._source, query),
            )

    def _begin(self, query: str, kind: Kind, etag: str | None = None) -> None:
        with self._item_store.transaction() as db:
            db.execute("DELETE FROM cursors WHERE source = ? AND query = ? AND kind = ?", (self._source, query, kind))
            db.execute(
                "INSERT OR REPLACE INTO crawls (source, query, kind, cursor, active, etag, updated)"
                " VALUES (?, ?, ?, NULL, 1, ?, ?)",
                (self._source, query, kind, etag, self._clock.now().timestamp()),
            )

    def _mark_head(self, query: str) -> None:
        with self._item_store.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO crawls (source, query, kind, cursor, active, ended, updated)"
                " VALUES (?, ?, 'head', NULL, 0, 'backfill', ?)",
                (self._source, query, self._clock.now().timestamp()),
            )


def _crawl(row: sqlite3.Row) -> Crawl:
    return Crawl(
        row["source"],
        row["query"],
        row["kind"],
        row["cursor"],
        row["idle_pages"],
        row["pages"],
        row["patience"],
        row["restarts"],
        row["failures"],
        row["skipped"],
    )


def _fingerprint(cursor: str) -> str:
    """Cursors can be long; to know one again this is enough."""
    return hashlib.sha256(cursor.encode("utf-8", "replace")).hexdigest()[:32]
