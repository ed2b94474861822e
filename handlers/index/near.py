"""The rows behind near-duplicates: which samples share a band of their hashes, and which contradict each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from handlers.index.phash import bands
from handlers.index.rows import StoredSample
from utils.metadata import Label


class NearDuplicates:
    """Samples by their keys. Called inside the caller's transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, sample: StoredSample, distance: int) -> None:
        if sample.phash is not None:
            self._add(sample.key, sample.phash, distance)

    def forget(self, sample: StoredSample, distance: int) -> None:
        if sample.phash is not None:
            self._db.executemany(
                "DELETE FROM bands WHERE band = ? AND value = ? AND sample = ?",
                [(number, value, sample.key) for number, value in bands(sample.phash, distance)],
            )

    def candidates(self, phash: str, label: Label, distance: int) -> Iterator[tuple[int, str, bytes]]:
        """(key, phash, thumb) of samples under another label that share a band with the hash; may repeat."""
        for number, value in bands(phash, distance):
            rows = self._db.execute(
                "SELECT s.key, s.phash, s.thumb FROM bands b CROSS JOIN samples s ON s.key = b.sample"
                " WHERE b.band = ? AND b.value = ? AND s.label IS NOT NULL AND s.label != ? AND s.folder IS NOT NULL",
                (number, value, label),
            )
            yield from ((key, other.hex(), thumb) for key, other, thumb in rows)

    def set_conflicts(self, sample: int, others: Iterable[int]) -> None:
        before = {row[0] for row in self._db.execute("SELECT other FROM conflicts WHERE sample = ?", (sample,))}
        after = set(others)
        for other in before - after:
            pairs = (sample, other, other, sample)
            self._db.execute(
                "DELETE FROM conflicts WHERE (sample = ? AND other = ?) OR (sample = ? AND other = ?)", pairs
            )
        for other in after - before:
            self._db.execute("INSERT INTO conflicts VALUES (?, ?), (?, ?)", (sample, other, other, sample))

    def rebuild(self, distance: int) -> None:
        """Another distance needs another number of bands."""
        self._db.execute("DELETE FROM bands")
        for key, phash in self._db.execute("SELECT key, phash FROM samples WHERE phash IS NOT NULL").fetchall():
            self._add(key, phash.hex(), distance)

    def _add(self, key: int, phash: str, distance: int) -> None:
        self._db.executemany(
            "INSERT OR IGNORE INTO bands VALUES (?, ?, ?)",
            [(number, value, key) for number, value in bands(phash, distance)],
        )
