"""`daemon.sqlite`: run history and marks. Owned by the daemon; one connection, used under a lock from any thread."""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from daemon.state.deadlines import Mark

RunKind = Literal["scrape", "train"]
RunState = Literal["queued", "running", "succeeded", "rejected", "failed", "interrupted", "stopped"]
OPEN_STATES: tuple[RunState, ...] = ("queued", "running")
STORE_FILE = "daemon.sqlite"  # in the state folder
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
    """Runs and named facts (JSON values), durable at each call."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA busy_timeout=5000")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def save(self, run: Run) -> None:
        with self._lock:
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

    def run(self, run_id: str) -> Run | None:
        rows = self._query("SELECT body FROM runs WHERE id = ?", (run_id,))
        return _run(rows[0][0]) if rows else None

    def runs(self, kind: str | None = None, limit: int = 50) -> list[Run]:
        """Newest first."""
        rows = self._query(
            "SELECT body FROM runs WHERE ?1 IS NULL OR kind = ?1 ORDER BY started DESC, id DESC LIMIT ?2", (kind, limit)
        )
        return [_run(body) for (body,) in rows]

    def open_runs(self) -> list[Run]:
        rows = self._query("SELECT body FROM runs WHERE state IN (?, ?) ORDER BY started", OPEN_STATES)
        return [_run(body) for (body,) in rows]

    def set_fact(self, name: str, value: Any) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", (name, json.dumps(value)))

    def fact(self, name: str) -> Any:
        rows = self._query("SELECT value FROM facts WHERE name = ?", (name,))
        return json.loads(rows[0][0]) if rows else None

    def set_mark(self, name: str, mark: Mark) -> None:
        self.set_fact(f"mark.{name}", mark.as_dict())

    def mark(self, name: str) -> Mark | None:
        value = self.fact(f"mark.{name}")
        return Mark(**value) if value else None

    def _query(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()


def _run(body: str) -> Run:
    return Run(**json.loads(body))
