"""Embeddings on disk, by content: retraining after new images costs only the new images.

One SQLite file; a row is what one network makes of one sample's views. `space` names everything else that the numbers
depend on (backbone, weights, serving view, augmentation, seed), so nothing is ever stale; the file may be deleted at
any time.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.sqlite_files import open_or_replace

Embedding = NDArray[np.float32]  # [views, d]

LOOKUP_CHUNK = 500  # below SQLite's limit of bound values
SCHEMA = """
CREATE TABLE IF NOT EXISTS spaces (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, used REAL NOT NULL);
CREATE TABLE IF NOT EXISTS embeddings (
    space INTEGER NOT NULL, sha256 TEXT NOT NULL, views INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE (space, sha256));
"""


def space_name(*facts: object) -> str:
    return hashlib.sha256("\n".join(str(fact) for fact in facts).encode()).hexdigest()


class EmbeddingCache:
    """Writers of one file wait for each other; a row that is there is never changed. A damaged file is begun anew."""

    def __init__(self, file: Path, max_bytes: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file, self.max_bytes = file, max_bytes
        self._run(lambda connection: None)

    def find(self, space: str, sha256s: Sequence[str]) -> dict[str, Embedding]:
        """What is known of `sha256s`."""
        found: dict[str, Embedding] = {}

        def look(connection: sqlite3.Connection) -> None:
            number = self._number(connection, space)
            for start in range(0, len(sha256s), LOOKUP_CHUNK):
                chunk = sha256s[start : start + LOOKUP_CHUNK]
                marks = ",".join("?" * len(chunk))
                rows = connection.execute(
                    f"SELECT sha256, views, data FROM embeddings WHERE space = ? AND sha256 IN ({marks})",  # noqa: S608
                    (number, *chunk),
                )
                for sha256, views, data in rows:
                    found[sha256] = np.frombuffer(data, dtype="<f4").reshape(views, -1)

        self._run(look)
        return found

    def add(self, space: str, embeddings: dict[str, Embedding]) -> None:

        def put(connection: sqlite3.Connection) -> None:
            number = self._number(connection, space)
            connection.executemany(
                "INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?, ?)",
                [
                    (number, sha256, len(embedding), embedding.astype("<f4").tobytes())
                    for sha256, embedding in embeddings.items()
                ],
            )

        self._run(put)

    def shrink(self) -> int:
        """Drop the spaces that were used longest ago until the rest fits `max_bytes`; returns how many went."""
        dropped = 0
        with self._connected() as connection:
            sizes = connection.execute(
                "SELECT s.id, coalesce(sum(length(e.data)), 0) FROM spaces s LEFT JOIN embeddings e ON e.space = s.id"
                " GROUP BY s.id ORDER BY s.used"
            ).fetchall()
            total = sum(size for _, size in sizes)
            for number, size in sizes[:-1]:  # the newest stays whatever its size
                if total <= self.max_bytes:
                    break
                connection.execute("DELETE FROM embeddings WHERE space = ?", (number,))
                connection.execute("DELETE FROM spaces WHERE id = ?", (number,))
                total -= size
                dropped += 1
        if dropped:
            with self._connected() as connection:
                connection.isolation_level = None
                connection.execute("VACUUM")
        return dropped

    def _run(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """`work` in one transaction; once more on a new file, where this one is damaged."""

        def run() -> None:
            with self._connected() as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
                work(connection)

        open_or_replace(self.file, run)

    def _number(self, connection: sqlite3.Connection, space: str) -> int:
        connection.execute(
            "INSERT INTO spaces (name, used) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET used = excluded.used",
            (space, time.time()),
        )
        return int(connection.execute("SELECT id FROM spaces WHERE name = ?", (space,)).fetchone()[0])

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.file, timeout=60)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
