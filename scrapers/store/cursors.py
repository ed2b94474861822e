"""Where each query's walks are: a backfill walk towards the old, and a head walk that looks for what is new.

Both keep their cursor over restarts. A head walk that was interrupted is finished before another begins, so that no gap
opens between its start and what was known before. Loops end a walk: a repeated cursor, many pages without a new id.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scrapers.candidate import Page
from scrapers.store.item_store import Ledger, State
from utils.clock import Clock

Kind = Literal["head", "backfill"]
MAX_IDLE_PAGES = 20  # pages in a row without a new id
MAX_RESTARTS = 3  # times that a walk may begin again because its cursor was refused
REFILL_SECONDS = 30 * 24 * 3600.0  # a backfill that has ended is walked again after this
FOR_GOOD = "refused query"


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk's position; `cursor` None: at its start."""

    source: str
    query: str
    kind: Kind
    cursor: str | None
    idle_pages: int = 0
    pages: int = 0
    patience: int = 0
    restarts: int = 0
    etag: str | None = None  # of the newest page when it was last seen; for a head walk's first request


class Walks:
    """The walks of one source."""

    def __init__(self, ledger: Ledger, clock: Clock, source: str, head_interval_seconds: float) -> None:
        self._ledger = ledger
        self._clock = clock
        self._source = source
        self._head_interval = head_interval_seconds
        self._looked: set[str] = set()  # queries whose newest results this run has begun to look at

    def in_turn(self, queries: Sequence[str]) -> list[str]:
        """The queries, the one that waited longest first: a small quota must not starve the last ones."""
        rows = self._ledger.read(
            "SELECT query, max(updated) AS updated FROM walks WHERE source = ? GROUP BY query", self._source
        )
        updated = {row["query"]: float(row["updated"]) for row in rows}
        return sorted(dict.fromkeys(queries), key=lambda query: updated.get(query, 0.0))

    def next(self, query: str) -> Walk | None:
        """The walk to go on with: an interrupted or due head walk, else the backfill; None when both have ended."""
        rows = {
            row["kind"]: row
            for row in self._ledger.read("SELECT * FROM walks WHERE source = ? AND query = ?", self._source, query)
        }
        backfill, head = rows.get("backfill"), rows.get("head")
        now = self._clock.now().timestamp()
        if backfill is not None and backfill["ended"] == FOR_GOOD:
            return None
        if backfill is None or (not backfill["active"] and now - backfill["updated"] >= REFILL_SECONDS):
            self._begin(query, "backfill")
            self._looked.add(query)
            self._mark_head(query)  # the backfill's first page is the newest one
            return Walk(self._source, query, "backfill", None)
        if head is not None and head["active"]:
            return _walk(head)
        due = head is None or now - head["updated"] >= self._head_interval
        if due and query not in self._looked:
            self._looked.add(query)
            etag = head["etag"] if head is not None else None
            self._begin(query, "head", etag)
            return Walk(self._source, query, "head", None, etag=etag)
        return _walk(backfill) if backfill["active"] else None

    def record(self, walk: Walk, page: Page, etag: str | None = None) -> list[tuple[State, str]]:
        """Remember a page's items and the walk's new position, together. Returns what was decided at once."""
        with self._ledger.transaction() as db:
            new, decided = self._ledger.add_items(db, walk.source, walk.query, page.items)
            idle_pages = 0 if new else walk.idle_pages + 1
            self._move(db, walk, page.next_cursor, idle_pages, self._end(db, walk, page, new, idle_pages))
            if walk.cursor is None:
                db.execute(
                    "UPDATE walks SET etag = ? WHERE source = ? AND query = ? AND kind = 'head'",
                    (etag, walk.source, walk.query),
                )
        return decided

    def _end(self, db: sqlite3.Connection, walk: Walk, page: Page, new: int, idle_pages: int) -> str:
        """Why the walk ends with this page, or nothing."""
        if page.next_cursor is None:
            return "end"
        if walk.kind == "head" and page.items and not new:
            return "known"
        if idle_pages >= MAX_IDLE_PAGES + walk.patience:
            return "idle"
        key = (walk.source, walk.query, walk.kind, page.next_cursor)
        if db.execute("INSERT OR IGNORE INTO cursors VALUES (?, ?, ?, ?)", key).rowcount == 0:
            return "cycle"
        return ""

    def _move(self, db: sqlite3.Connection, walk: Walk, cursor: str | None, idle_pages: int, ended: str) -> None:
        db.execute(
            "UPDATE walks SET cursor = ?, active = ?, ended = ?, idle_pages = ?, pages = pages + 1, updated = ?"
            " WHERE source = ? AND query = ? AND kind = ?",
            (
                None if ended else cursor,
                int(not ended),
                ended,
                idle_pages,
                self._clock.now().timestamp(),
                walk.source,
                walk.query,
                walk.kind,
            ),
        )
        if ended:
            db.execute(
                "DELETE FROM cursors WHERE source = ? AND query = ? AND kind = ?", (walk.source, walk.query, walk.kind)
            )

    def restart(self, walk: Walk) -> bool:
        """Begin the walk again after its cursor was refused; False, and the walk has ended, when that is no help."""
        with self._ledger.transaction() as db:
            hopeless = walk.cursor is None or walk.restarts >= MAX_RESTARTS
            self._move(db, walk, None, 0, "refused" if hopeless else "")
            db.execute(
                "DELETE FROM cursors WHERE source = ? AND query = ? AND kind = ?", (walk.source, walk.query, walk.kind)
            )
            db.execute(
                "UPDATE walks SET restarts = restarts + 1, patience = pages"
                " WHERE source = ? AND query = ? AND kind = ?",
                (walk.source, walk.query, walk.kind),
            )
        return not hopeless

    def unchanged(self, walk: Walk) -> None:
        """The newest page is the one that is known: a head walk that ends with its first request."""
        with self._ledger.transaction() as db:
            self._move(db, walk, None, 0, "unchanged")

    def give_up(self, query: str) -> None:
        """The source will not answer this query, now or later."""
        with self._ledger.transaction() as db:
            db.execute(
                "UPDATE walks SET active = 0, ended = ?, cursor = NULL, updated = ? WHERE source = ? AND query = ?",
                (FOR_GOOD, self._clock.now().timestamp(), self._source, query),
            )

    def _begin(self, query: str, kind: Kind, etag: str | None = None) -> None:
        with self._ledger.transaction() as db:
            db.execute("DELETE FROM cursors WHERE source = ? AND query = ? AND kind = ?", (self._source, query, kind))
            db.execute(
                "INSERT OR REPLACE INTO walks (source, query, kind, cursor, active, etag, updated)"
                " VALUES (?, ?, ?, NULL, 1, ?, ?)",
                (self._source, query, kind, etag, self._clock.now().timestamp()),
            )

    def _mark_head(self, query: str) -> None:
        with self._ledger.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO walks (source, query, kind, cursor, active, ended, updated)"
                " VALUES (?, ?, 'head', NULL, 0, 'backfill', ?)",
                (self._source, query, self._clock.now().timestamp()),
            )


def _walk(row: sqlite3.Row) -> Walk:
    return Walk(
        row["source"],
        row["query"],
        row["kind"],
        row["cursor"],
        row["idle_pages"],
        row["pages"],
        row["patience"],
        row["restarts"],
    )
