"""`daemon.sqlite`: run history and marks. Owned by the daemon; one connection, used under a lock from any thread."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from daemon.state.deadlines import Mark
from utils.logs import get_logger
from utils.sqlite_files import closed_on_error, is_broken, open_or_replace, set_aside

log = get_logger(__name__)

RunKind = Literal["scrape", "train"]
RunState = Literal["queued", "running", "succeeded", "rejected", "failed", "interrupted", "stopped"]
OPEN_STATES: tuple[RunState, ...] = ("queued", "running")
STORE_FILE = "daemon.sqlite"  # in the state folder
LONGEST_RETRY_SECONDS = 60.0
KEEP_RUNS = 1000  # of each kind; older ones are forgotten

SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, started TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_by_start ON runs (kind, started);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA user_version = 1;
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One scrape or training. Times are ISO 8601 UTC; `pid_started` tells a process from a later one of its pid."""

    id: str
    kind: RunKind
    state: RunState
    trigger: str
    reason: str
    started: str
    ended: str | None = None
    pid: int | None = None
    pid_started: float | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # for the job, besides the configuration

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES

    def as_public(self) -> dict[str, Any]:
        """What the API shows."""
        shown = asdict(self)
        for key in ("pid", "pid_started", "options"):
            del shown[key]
        return shown

    def with_changes(self, **changes: Any) -> Run:
        return replace(self, **changes)


class Store:
    """Runs and named facts (JSON values), durable at each call.

    While the file cannot be written (a full disk) what is new stays in memory, counts, and is written later; `problem`
    says why. A damaged file is set aside and a new one begun.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._lock = threading.RLock()
        self._runs: dict[str, Run] = {}  # not written yet
        self._facts: dict[str, Any] = {}
        self._failures = 0
        self._retry_after = 0.0
        self.problem = ""
        self._db = open_or_replace(file, self._open)

    def close(self) -> None:
        self.flush()
        with self._lock:
            self._db.close()

    def save(self, run: Run) -> None:
        with self._lock:
            self._runs[run.id] = run
            self._write()

    def run(self, run_id: str) -> Run | None:
        with self._lock:
            rows = self._query("SELECT body FROM runs WHERE id = ?", (run_id,))
            return self._runs.get(run_id) or (_run(rows[0][0]) if rows else None)

    def runs(self, kind: str | None = None, limit: int = 50) -> list[Run]:
        """Newest first."""
        with self._lock:
            rows = self._query(
                "SELECT body FROM runs WHERE ?1 IS NULL OR kind = ?1 ORDER BY started DESC, id DESC LIMIT ?2",
                (kind, limit),
            )
            found = {run.id: run for run in map(_run, (body for (body,) in rows))}
            found |= {run.id: run for run in self._runs.values() if kind in (None, run.kind)}
        return sorted(found.values(), key=lambda run: (run.started, run.id), reverse=True)[:limit]

    def open_runs(self) -> list[Run]:
        with self._lock:
            rows = self._query("SELECT body FROM runs WHERE state IN (?, ?) ORDER BY started", OPEN_STATES)
            found = {run.id: run for run in map(_run, (body for (body,) in rows))} | self._runs
        return sorted((run for run in found.values() if run.is_open), key=lambda run: run.started)

    def set_fact(self, name: str, value: Any) -> None:
        with self._lock:
            self._facts[name] = value
            self._write()

    def fact(self, name: str) -> Any:
        with self._lock:
            if name in self._facts:
                return self._facts[name]
            rows = self._query("SELECT value FROM facts WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def set_mark(self, name: str, mark: Mark) -> None:
        self.set_fact(f"mark.{name}", mark.as_dict())

    def mark(self, name: str) -> Mark | None:
        value = self.fact(f"mark.{name}")
        return Mark(**value) if value else None

    def flush(self) -> None:
        """Write what could not be written before, less and less often while that fails."""
        with self._lock:
            if (self._runs or self._facts) and time.monotonic() >= self._retry_after:
                self._write()

    def _write(self) -> None:
        try:
            for run in list(self._runs.values()):
                self._write_run(run)
                del self._runs[run.id]
            for name, value in list(self._facts.items()):
                self._db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, json.dumps(value)))
                del self._facts[name]
        except sqlite3.DatabaseError as error:
            if is_broken(error):
                self._begin_anew(error)
                self._write()
                return
            self._failures += 1
            self._retry_after = time.monotonic() + min(LONGEST_RETRY_SECONDS, 2.0**self._failures)
            if not self.problem:
                log.error("state_not_written", file=str(self._file), reason=str(error))
            self.problem = f"{self._file} cannot be written ({error}); new state is kept in memory until then"
        else:
            if self.problem:
                log.info("state_written_again", file=str(self._file))
            self.problem, self._failures, self._retry_after = "", 0, 0.0

    def _write_run(self, run: Run) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO runs (id, kind, state, started, body) VALUES (?, ?, ?, ?, ?)",
            (run.id, run.kind, run.state, run.started, json.dumps(asdict(run))),
        )
        if not run.is_open:
            self._db.execute(
                "DELETE FROM runs WHERE kind = ?1 AND id NOT IN"
                " (SELECT id FROM runs WHERE kind = ?1 ORDER BY started DESC, id DESC LIMIT ?2)",
                (run.kind, KEEP_RUNS),
            )

    def _query(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            if not is_broken(error):
                raise
            self._begin_anew(error)
            return []

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None)
        with closed_on_error(db):
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA busy_timeout=5000")
            db.executescript(SCHEMA)
            db.execute("SELECT count(*), max(body) FROM runs").fetchone()  # reads every page: damage shows now
        return db

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        log.error("state_set_aside", file=str(self._file), reason=str(error), kept_as=str(set_aside(self._file)))
        self._db = self._open()


def _run(body: str) -> Run:
    return Run(**json.loads(body))
