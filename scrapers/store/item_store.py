"""What the harvester remembers: every item ever seen, and what became of it. One transaction for one decision.

A page's items and its crawl's new cursor are written together; a kill at any point leaves either both or neither.
Items go queued -> placing -> stored, or queued -> duplicate | filtered | refused | failed.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from scrapers.candidate import Candidate, Dropped, canonical_url
from scrapers.store.items import STATES, Decision, Placement, QueuedItem, Seen, State, Unfinished
from scrapers.store.schema import open_database
from utils.logs import get_logger

log = get_logger(__name__)

SAMPLE_NAMESPACE = uuid.UUID("6f0a5f0e-3c1b-5b55-9d0e-3a1c6b0f7d51")


class ItemStore:
    """scrape.sqlite behind one lock; safe for the loop's thread and the image store's. Small rows, no lists of
    everything."""

    def __init__(self, state_path: Path, run_id: str) -> None:
        self.run_id = run_id
        self._connection = open_database(state_path)
        self._lock = threading.RLock()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def read(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def add_items(self, db: sqlite3.Connection, source: str, query: str, items: Iterable[Candidate | Dropped]) -> Seen:
        """Within a transaction: remember a page's items. One that cannot be remembered costs nothing but itself."""
        seen = Seen()
        for item in items:
            before = db.execute(
                "SELECT state, why, run_id FROM items WHERE source = ? AND source_id = ?", (source, item.source_id)
            ).fetchone()
            if before is not None:
                self._count_again(seen, before)
                continue
            seen.new += 1
            try:
                verdict = self._judge(db, source, item)
                self._insert(db, source, query, item, verdict)
            except (ValueError, TypeError, OverflowError, RecursionError, sqlite3.InterfaceError) as error:
                log.warning("item_unreadable", source=source, id=item.source_id, error=str(error)[:200])
                item = Dropped(item.source_id, "unreadable")
                verdict = ("filtered", item.why)
                self._insert(db, source, query, item, verdict)
            if verdict is not None:
                seen.decided.append(verdict)
        return seen

    def look_up(self, source: str, item: Candidate | Dropped) -> tuple[str, str]:
        """What is known of an item without remembering it: (`new`, ""), or its state and why."""
        rows = self.read("SELECT state, why FROM items WHERE source = ? AND source_id = ?", source, item.source_id)
        if rows:
            return rows[0]["state"], rows[0]["why"]
        with self._lock:
            return self._judge(self._connection, source, item) or ("new", "")

    def _count_again(self, seen: Seen, before: sqlite3.Row) -> None:
        """An item of an earlier run: stored, or still left out for the same reason."""
        if before["state"] in ("stored", "duplicate"):
            seen.known += 1
        elif before["state"] in ("filtered", "refused", "failed") and before["run_id"] != self.run_id:
            seen.decided.append((before["state"], before["why"]))
            seen.again += 1

    def _judge(self, db: sqlite3.Connection, source: str, item: Candidate | Dropped) -> tuple[State, str] | None:
        """What is known without any request: a source's own reason, a tombstone, the same URL under another id."""
        if isinstance(item, Dropped):
            return "filtered", item.why
        buried = db.execute(
            "SELECT 1 FROM tombstones WHERE source = ? AND (source_id = ? OR (creator IS NOT NULL AND creator = ?))",
            (source, item.source_id, item.creator),
        ).fetchone()
        if buried:
            return "refused", "tombstone"
        if db.execute("SELECT 1 FROM items WHERE url_key = ?", (_url_key(item),)).fetchone():
            return "duplicate", "url"
        return None

    def _insert(
        self,
        db: sqlite3.Connection,
        source: str,
        query: str,
        item: Candidate | Dropped,
        verdict: tuple[State, str] | None,
    ) -> None:
        state, why = verdict or ("queued", "")
        waiting = item if isinstance(item, Candidate) and verdict is None else None
        db.execute(
            "INSERT INTO items (source, source_id, query, state, why, run_id, sample_id, url_key, creator, generator,"
            " candidate) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                source,
                item.source_id,
                query,
                state,
                why,
                self.run_id if verdict else "",
                str(uuid.uuid5(SAMPLE_NAMESPACE, f"{source}:{item.source_id}")),
                _url_key(waiting) if waiting else None,
                item.creator if isinstance(item, Candidate) else None,
                item.generator if isinstance(item, Candidate) else None,
                waiting.to_json() if waiting else None,
            ),
        )

    def adopt_queued(self, source: str, queries: Sequence[str]) -> None:
        """Hand what waits under a query that is no longer configured to the first one that is."""
        marks = ", ".join("?" * len(queries))
        with self.transaction() as db:
            db.execute(
                f"UPDATE items SET query = ? WHERE source = ? AND state = 'queued' AND query NOT IN ({marks})",  # noqa: S608
                (queries[0], source, *queries),
            )

    def queued(self, source: str, query: str, after_row: int, limit: int) -> list[QueuedItem]:
        rows = self.read(
            "SELECT row, sample_id, tracked, candidate FROM items"
            " WHERE source = ? AND query = ? AND state = 'queued' AND row > ? ORDER BY row LIMIT ?",
            source,
            query,
            after_row,
            limit,
        )
        return [item for row in rows if (item := self._read_queued(row)) is not None]

    def _read_queued(self, row: sqlite3.Row) -> QueuedItem | None:
        """A row that cannot be read any more is decided, so that it never stands in the way again."""
        try:
            candidate = Candidate.from_json(row["candidate"])
        except (ValueError, TypeError, KeyError) as error:
            log.warning("item_unreadable", row=row["row"], error=str(error)[:200])
            with self.transaction() as db:
                self.decide(db, Decision(row["row"], "filtered", "unreadable"))
            return None
        return QueuedItem(row["row"], row["sample_id"], bool(row["tracked"]), candidate)

    def note_tracked(self, row: int) -> None:
        with self.transaction() as db:
            db.execute("UPDATE items SET tracked = 1 WHERE row = ?", (row,))

    def decide(self, db: sqlite3.Connection, decision: Decision) -> None:
        """Within a transaction. What is decided for good keeps no candidate."""
        db.execute(
            "UPDATE items SET state = ?, why = ?, again = ?, tries = tries + ?, run_id = ?, basis = ?,"
            " candidate = CASE WHEN ? THEN candidate END, metadata = NULL WHERE row = ?",
            (
                decision.state,
                decision.why,
                int(decision.again),
                int(decision.counts),
                self.run_id,
                decision.basis,
                int(decision.again or bool(decision.basis)),
                decision.row,
            ),
        )

    def begin_placing(self, db: sqlite3.Connection, item: Placement) -> Decision | None:
        """Within a transaction: the journal entry of a store, or the decision that there is nothing to store.

        The same bytes under another label are stored: the sample index must see both to keep both out of training.
        """
        same = db.execute(
            "SELECT 1 FROM items WHERE sha256 = ? AND state IN ('stored', 'placing') AND label = ? AND row != ?",
            (item.sha256, item.label, item.row),
        ).fetchone()
        if same:
            return Decision(item.row, "duplicate", "bytes")
        if db.execute("SELECT 1 FROM tombstones WHERE sha256 = ?", (item.sha256,)).fetchone():
            return Decision(item.row, "refused", "tombstone")
        db.execute(
            "UPDATE items SET state = 'placing', run_id = ?, sha256 = ?, size_bytes = ?, label = ?, path = ?,"
            " meta_path = ?, metadata = ?, day = ?, creator = coalesce(?, creator), generator = coalesce(?, generator)"
            " WHERE row = ?",
            (
                self.run_id,
                item.sha256,
                item.size_bytes,
                item.label,
                item.path,
                item.meta_path,
                item.metadata,
                item.day,
                item.creator,
                item.generator,
                item.row,
            ),
        )
        return None

    def unfinished(self) -> list[Unfinished]:
        rows = self.read("SELECT row, sample_id, path, meta_path, metadata FROM items WHERE state = 'placing'")
        return [Unfinished(**row) for row in rows]

    def put_back(self, row: int) -> None:
        """A store that never happened: the item waits again."""
        with self.transaction() as db:
            db.execute(
                "UPDATE items SET state = 'queued', run_id = '', sha256 = NULL, metadata = NULL, path = NULL,"
                " meta_path = NULL, day = NULL WHERE row = ?",
                (row,),
            )

    def outcomes(self, source: str) -> dict[State, dict[str, int]]:
        """Counts of this run, also of what an interrupted start of it did."""
        rows = self.read(
            "SELECT state, why, count(*) AS n FROM items WHERE run_id = ? AND source = ? GROUP BY state, why",
            self.run_id,
            source,
        )
        found: dict[State, dict[str, int]] = {state: {} for state in STATES}
        for row in rows:
            if row["state"] in found:
                found[row["state"]][row["why"]] = row["n"]
        return found

    def stored_in_run(self, source: str, query: str) -> int:
        return self._count(
            "SELECT count(*) FROM items WHERE run_id = ? AND source = ? AND query = ? AND state = 'stored'",
            self.run_id,
            source,
            query,
        )

    def stored_by_creator(self, source: str, creator: str) -> int:
        return self._count(
            "SELECT count(*) FROM items WHERE source = ? AND creator = ? AND state = 'stored'", source, creator
        )

    def stored_on_day(self, source: str, day: str) -> int:
        return self._count("SELECT count(*) FROM items WHERE source = ? AND day = ? AND state = 'stored'", source, day)

    def stored_bytes(self, source: str) -> int:
        return self._count(
            "SELECT coalesce(sum(size_bytes), 0) FROM items WHERE source = ? AND state = 'stored'", source
        )

    def stored_by_label(self) -> dict[str, int]:
        rows = self.read("SELECT label, count(*) AS n FROM items WHERE state = 'stored' GROUP BY label")
        return {row["label"]: row["n"] for row in rows}

    def stored_by_generator(self) -> dict[str, int]:
        """Of generated pictures; "" where the generator is not known."""
        rows = self.read(
            "SELECT coalesce(generator, '') AS name, count(*) AS n FROM items"
            " WHERE state = 'stored' AND label = 'ai_generated' GROUP BY name"
        )
        return {row["name"]: row["n"] for row in rows}

    def mean_bytes(self, source: str) -> int | None:
        """Of a stored picture; None before the first one."""
        found = self.read("SELECT avg(size_bytes) FROM items WHERE source = ? AND state = 'stored'", source)[0][0]
        return None if found is None else int(found)

    def waiting(self, source: str) -> int:
        return self._count("SELECT count(*) FROM items WHERE source = ? AND state = 'queued'", source)

    def _count(self, sql: str, *values: object) -> int:
        return int(self.read(sql, *values)[0][0])


def _url_key(item: Candidate) -> str:
    """A short key of the preferred variant's canonical URL."""
    return hashlib.sha256(canonical_url(item.variants[0].url).encode("utf-8", "replace")).hexdigest()[:32]
