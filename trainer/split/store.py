"""The split's memory: which sample and which fact (creator, post) went to which part. Rows are added, never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainer.data.types import Part
from utils.errors import StopRunError
from utils.sqlite_files import closed_on_error, open_or_replace

Place = Literal["train", "validation", "calibration", "test", "left_out"]
LEFT_OUT: Literal["left_out"] = "left_out"

SCHEMA = """
CREATE TABLE IF NOT EXISTS key (text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS samples (sha256 TEXT PRIMARY KEY, phash TEXT, place TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (fact TEXT PRIMARY KEY, part TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(slots=True)
class Assignments:
    """What is known; `phashes` holds deleted samples too, so that they come back to their part."""

    key: str
    places: dict[str, Place] = field(default_factory=dict)
    phashes: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Part] = field(default_factory=dict)


@contextmanager
def open_ledger(file: Path, key: str, fill: Callable[[sqlite3.Connection], object]) -> Iterator[sqlite3.Connection]:
    """The ledger under an exclusive lock; a damaged one is set aside.

    `key` is stored when the ledger is new and ignored afterwards; `fill` is called with a new one.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = open_or_replace(file, lambda: _begin(file))
    except sqlite3.DatabaseError as error:
        raise StopRunError(f"{file}: cannot be opened ({error}); nothing was changed") from error
    try:
        if connection.execute("SELECT text FROM key").fetchone() is None:
            connection.execute("INSERT INTO key VALUES (?)", (key,))
            fill(connection)
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()  # an open transaction is rolled back


def _begin(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=60, isolation_level=None)
    with closed_on_error(connection):
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN EXCLUSIVE")
        for statement in SCHEMA.split(";"):
            connection.execute(statement)
        # reads every page, so that damage shows before anything is decided
        connection.execute("SELECT max(sha256 || coalesce(phash, '') || place) FROM samples").fetchone()
        connection.execute("SELECT max(fact || part) FROM facts").fetchone()
    return connection


def read_assignments(connection: sqlite3.Connection) -> Assignments:
    known = Assignments(key=connection.execute("SELECT text FROM key").fetchone()[0])
    for sha256, phash, place in connection.execute("SELECT sha256, phash, place FROM samples"):
        known.places[sha256] = place
        if phash and place != LEFT_OUT:
            known.phashes[sha256] = phash
    known.facts.update(connection.execute("SELECT fact, part FROM facts"))
    return known


def add_assignments(
    connection: sqlite3.Connection,
    samples: Iterable[tuple[str, str | None, Place]],
    facts: Iterable[tuple[str, Part]],
) -> None:
    connection.executemany("INSERT OR IGNORE INTO samples VALUES (?, ?, ?)", samples)
    connection.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?)", facts)
