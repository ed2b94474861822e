"""`field.sqlite`: what comes back from Exposr-Core: reports about single pictures, and histograms of what it saw; and
when which version came into service, beside which both are looked at.

Owned by the daemon; one connection, used under a lock from any thread.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from utils.logs import get_logger
from utils.sqlite_files import closed_on_error, is_broken, open_or_replace, set_aside

log = get_logger(__name__)

Found = TypeVar("Found")
FIELD_FILE = "field.sqlite"  # in the state folder
KEEP_REPORTS = 100_000  # older ones are forgotten; what a person said of their pictures stays in the metadata
KEEP_DAYS = 90  # of histograms
KEEP_MOVES = 1000  # of what is in service
BUSY_SECONDS = 5.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, received TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL,
    verdict TEXT NOT NULL, probability REAL, label TEXT, note TEXT NOT NULL, reporter TEXT NOT NULL,
    nearly INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS reports_by_sha256 ON reports (sha256);
CREATE INDEX IF NOT EXISTS reports_by_received ON reports (received, id);
CREATE TABLE IF NOT EXISTS histograms (
    day TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, reporter TEXT NOT NULL,
    pictures INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (day, model, version, reporter)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS in_service (
    serial INTEGER PRIMARY KEY, model TEXT NOT NULL, version TEXT NOT NULL, since TEXT NOT NULL
);
PRAGMA user_version = 2;
"""
FROM_VERSION_1 = "ALTER TABLE reports ADD COLUMN nearly INTEGER NOT NULL DEFAULT 0"


@dataclass(frozen=True, slots=True)
class StoredReport:
    """What was said of the picture `sha256`; `label` is what its reporter claims. Texts come from outside."""

    id: str
    sha256: str
    received: str
    model: str
    version: str
    verdict: str
    probability: float | None
    label: str | None
    note: str
    reporter: str
    nearly: bool = False  # the reported file was another copy of the picture, nearly the same

    def as_public(self) -> dict[str, Any]:
        return asdict(self)


COLUMNS = ", ".join(column.name for column in fields(StoredReport))
PLACES = ", ".join("?" for _ in fields(StoredReport))


class FieldStore:
    """Reports and histograms, durable at each call. A damaged file is set aside, and a new one begun."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._lock = threading.Lock()
        self._db = open_or_replace(file, self._open)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # reports

    def add_report(self, report: StoredReport) -> None:

        def add(db: sqlite3.Connection) -> None:
            db.execute(f"INSERT INTO reports ({COLUMNS}) VALUES ({PLACES})", tuple(asdict(report).values()))  # noqa: S608
            db.execute(
                "DELETE FROM reports WHERE id IN"
                " (SELECT id FROM reports ORDER BY received DESC, id DESC LIMIT -1 OFFSET ?)",
                (KEEP_REPORTS,),
            )

        self._run(add)

    def reports_of(self, sha256: str) -> list[StoredReport]:
        """Newest first."""
        return self._reports("WHERE sha256 = ? ORDER BY received DESC, id DESC", (sha256,))

    def reports(self, limit: int) -> list[StoredReport]:
        """Newest first."""
        return self._reports("ORDER BY received DESC, id DESC LIMIT ?", (limit,))

    def _reports(self, where: str, values: tuple[object, ...]) -> list[StoredReport]:
        rows = self._query(f"SELECT {COLUMNS} FROM reports {where}", values)  # noqa: S608
        return [replace(StoredReport(*row), nearly=bool(row[-1])) for row in rows]

    def verdicts(self) -> dict[str, list[str]]:
        """sha256 of each reported picture -> the verdicts it was reported with."""
        found: dict[str, list[str]] = {}
        for sha256, verdict in self._query("SELECT DISTINCT sha256, verdict FROM reports ORDER BY sha256, verdict", ()):
            found.setdefault(sha256, []).append(verdict)
        return found

    # histograms

    def put_histograms(self, reporter: str, histograms: Iterable[Mapping[str, Any]], forget_before: str) -> None:
        """Totals of one reporter; of each day and version those with the most pictures stay."""
        rows = [
            (row["day"], row["model"], row["version"], reporter, sum(row["scores"]), json.dumps(row))
            for row in histograms
        ]

        def put(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT INTO histograms (day, model, version, reporter, pictures, body) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (day, model, version, reporter) DO UPDATE"
                " SET pictures = excluded.pictures, body = excluded.body WHERE excluded.pictures > pictures",
                rows,
            )
            db.execute("DELETE FROM histograms WHERE day < ?", (forget_before,))

        self._run(put)

    def reporters(self, day: str, but: str) -> int:
        """How many others than `but` have handed over something of this day."""
        ((number,),) = self._query(
            "SELECT count(DISTINCT reporter) FROM histograms WHERE day = ? AND reporter != ?", (day, but)
        )
        return int(number)

    def histograms(self, since: str) -> Sequence[Mapping[str, Any]]:
        """Every reporter's totals from this day on, oldest first."""
        rows = self._query("SELECT body FROM histograms WHERE day >= ? ORDER BY day, model, version", (since,))
        return [json.loads(body) for (body,) in rows]

    # versions

    def put_in_service(self, serial: int, model: str, version: str, since: str) -> None:
        """Once for each serial."""

        def note(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR IGNORE INTO in_service VALUES (?, ?, ?, ?)", (serial, model, version, since))
            db.execute("DELETE FROM in_service WHERE serial <= ?", (serial - KEEP_MOVES,))

        self._run(note)

    def in_service(self) -> dict[int, tuple[str, str, str]]:
        """Serial -> model, version, since when (ISO)."""
        rows = self._query("SELECT serial, model, version, since FROM in_service ORDER BY serial", ())
        return {serial: (model, version, since) for serial, model, version, since in rows}

    def _query(self, statement: str, values: tuple[object, ...]) -> list[Any]:
        return self._run(lambda db: db.execute(statement, values).fetchall())

    def _run(self, work: Callable[[sqlite3.Connection], Found]) -> Found:
        """`work` on the file; on a new one, where this one turns out to be damaged."""
        with self._lock:
            try:
                return work(self._db)
            except sqlite3.DatabaseError as error:
                if not is_broken(error):
                    raise
                self._db.close()
                log.error(
                    "state_set_aside", file=str(self._file), reason=str(error), kept_as=str(set_aside(self._file))
                )
                self._db = self._open()
                return work(self._db)

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS)
        with closed_on_error(db):
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            if db.execute("PRAGMA user_version").fetchone() == (1,):
                db.execute(FROM_VERSION_1)
            db.executescript(SCHEMA)
            # reads every page: damage shows now
            db.execute("SELECT count(*), max(reporter || note) FROM reports").fetchone()
            db.execute("SELECT count(*), max(body) FROM histograms").fetchone()
        return db
