"""What people have said about pictures, by content: kept whatever comes and goes, and back with the picture.

`labels.sqlite` in the state folder: rows are added, never changed. A label stands until the next one, until it is
undone, or until somebody takes it out of the metadata file. Used by the service and by the command line at once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utils.metadata import Label, LabelSource
from utils.sqlite_files import closed_on_error, open_or_replace

HISTORY_FILE = "labels.sqlite"
BUSY_SECONDS = 5.0

Action = Literal["label", "undo", "withdraw"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS statements (
    number INTEGER PRIMARY KEY, sha256 BLOB NOT NULL, at TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('label', 'undo', 'withdraw')),
    label TEXT, note TEXT, way TEXT NOT NULL, before_label TEXT, before_source TEXT
);
CREATE INDEX IF NOT EXISTS statements_by_content ON statements (sha256);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that was said. `undo` takes back the label before it, `withdraw` all labels before it.

    `before_label` and `before_source`: what the picture was, and by whose word, before a `label`.
    `way`: where it was said: command, console, file …
    """

    at: str
    action: Action
    label: Label | None = None
    note: str | None = None
    way: str = ""
    before_label: Label | None = None
    before_source: LabelSource | None = None


def standing(entries: Iterable[Entry]) -> list[Entry]:
    """The labels that were not taken back, oldest first: the last one counts."""
    stack: list[Entry] = []
    for entry in entries:
        if entry.action == "label":
            stack.append(entry)
        elif entry.action == "undo":
            del stack[-1:]
        else:
            stack.clear()
    return stack


class LabelHistory:
    """Each call is durable when it returns. Raises sqlite3.Error when the file cannot be used."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        with closed_on_error(self._db):
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(SCHEMA)
            # reads every page of what people have said, which is little: damage shows now
            self._db.execute("SELECT max(hex(sha256) || at || coalesce(note, '')) FROM statements").fetchone()

    def close(self) -> None:
        self._db.close()

    def entries(self, sha256: str) -> list[Entry]:
        """Everything that was ever said of this content, oldest first."""
        rows = self._db.execute(
            "SELECT at, action, label, note, way, before_label, before_source FROM statements"
            " WHERE sha256 = ? ORDER BY number",
            (bytes.fromhex(sha256),),
        )
        return [Entry(*row) for row in rows]

    def last(self, sha256: str) -> Entry | None:
        """The label that stands, None when a person has said nothing, or nothing any more."""
        stack = standing(self.entries(sha256))
        return stack[-1] if stack else None

    def add(self, sha256: str, entry: Entry) -> None:
        self._db.execute(
            "INSERT INTO statements (sha256, at, action, label, note, way, before_label, before_source)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(bytes.fromhex(sha256), entry.at, entry.action, entry.label, entry.note, entry.way),
                *(entry.before_label, entry.before_source),
            ),
        )

    def is_empty(self) -> bool:
        return self._db.execute("SELECT 1 FROM statements LIMIT 1").fetchone() is None


def open_history(state: Path) -> LabelHistory:
    """The history in the state folder; a damaged one is set aside, and a new one filled from the metadata."""
    file = state / HISTORY_FILE
    return open_or_replace(file, lambda: LabelHistory(file))
