"""What is known of a dataset's pictures: the item store's rows by key, and who has the bytes already."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scrapers.store.item_store import SAMPLE_NAMESPACE, ItemStore
from utils.metadata import Label

MAX_KEY_CHARACTERS = 400
SHARD = "shard"  # kind of the rows in `cursors` that name finished files of a hub dataset

Known = Callable[[str, "Label | None"], bool]  # sha256, label: is this content in the data folder under this label?


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture to be read: its place in the chunk and its row."""

    index: int
    row: int
    sample_id: str


class DatasetItems:
    """The rows of one dataset (`source`) in the item store.

    `bring_back`: what was stored and is gone from the disk is stored again, and every refusal is looked at again.
    Otherwise what was decided stays decided until `settings` (a digest of limits and terms) changes.
    """

    def __init__(
        self, item_store: ItemStore, data_folder: Path, source: str, settings: str, *, bring_back: bool
    ) -> None:
        self._item_store = item_store
        self._data = data_folder
        self._source = source
        self._settings = settings
        self._bring_back = bring_back

    def begin(self, keys: Sequence[str]) -> list[Wanted]:
        """Enter the chunk's new pictures; those that are to be read now."""
        with self._item_store.transaction() as db:
            found = [(index, self._row(db, storable(key))) for index, key in enumerate(keys)]
        return [Wanted(index, row["row"], row["sample_id"]) for index, row in found if row is not None]

    def peek(self, keys: Sequence[str]) -> list[Wanted]:
        """The same without writing anything; rows that do not exist yet are 0."""
        wanted = []
        for index, key in enumerate(map(storable, keys)):
            rows = self._item_store.read("SELECT * FROM items WHERE source = ? AND source_id = ?", self._source, key)
            if not rows or not self._is_settled(rows[0]):
                wanted.append(Wanted(index, 0, self._sample_id(key)))
        return wanted

    def _row(self, db: sqlite3.Connection, key: str) -> sqlite3.Row | None:
        """The open row of a key; None when it is settled."""
        ask = "SELECT * FROM items WHERE source = ? AND source_id = ?"
        row: sqlite3.Row | None = db.execute(ask, (self._source, key)).fetchone()
        if row is None:
            db.execute(
                "INSERT INTO items (source, source_id, query, state, sample_id) VALUES (?, ?, ?, 'queued', ?)",
                (self._source, key, self._settings, self._sample_id(key)),
            )
        elif self._is_settled(row):
            return None
        else:
            db.execute(
                "UPDATE items SET state = 'queued', query = ?, why = '', sha256 = NULL, path = NULL, meta_path = NULL"
                " WHERE row = ?",
                (self._settings, row["row"]),
            )
        opened: sqlite3.Row = db.execute(ask, (self._source, key)).fetchone()
        return opened

    def _is_settled(self, row: sqlite3.Row) -> bool:
        if row["why"] == "tombstone":
            return True
        if row["state"] == "stored":
            return not self._bring_back or (self._data / row["path"]).exists()
        if row["state"] == "queued" or row["again"]:
            return False
        return not self._bring_back and row["query"] == self._settings

    def has_bytes(self, sha256: str, label: str) -> bool:
        """Whether a collected picture with these bytes and label lies on the disk.

        A row whose picture was deleted gives up its claim to the bytes where things are brought back.
        """
        rows = self._item_store.read(
            "SELECT row, path FROM items WHERE sha256 = ? AND label = ? AND state = 'stored'", sha256, label
        )
        if not self._bring_back:
            return bool(rows)
        gone = [row["row"] for row in rows if not (self._data / row["path"]).exists()]
        if gone:
            with self._item_store.transaction() as db:
                db.executemany("UPDATE items SET sha256 = NULL WHERE row = ?", [(row,) for row in gone])
        return len(gone) < len(rows)

    def is_forgotten(self, source: str, creator: str | None) -> bool:
        """Whether everything of this person was forgotten on request."""
        buried = "SELECT 1 FROM tombstones WHERE source = ? AND creator = ?"
        return creator is not None and bool(self._item_store.read(buried, source, creator))

    def is_done(self, shard: str) -> bool:
        """Whether all of a file has been taken under these settings, and is still there where that matters."""
        done = self._item_store.read(
            "SELECT 1 FROM cursors WHERE source = ? AND query = ? AND kind = ? AND cursor = ?",
            *(self._source, self._settings, SHARD, shard),
        )
        if not done:
            return False
        rows = self._item_store.read(
            "SELECT * FROM items WHERE source = ? AND source_id >= ? AND source_id < ?",
            *(self._source, f"{shard}:", f"{shard};"),  # ";" follows ":"
        )
        return all(row["state"] != "stored" or self._is_settled(row) for row in rows)

    def mark_done(self, shard: str) -> None:
        with self._item_store.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO cursors VALUES (?, ?, ?, ?)", (self._source, self._settings, SHARD, shard)
            )

    def _sample_id(self, key: str) -> str:
        return str(uuid.uuid5(SAMPLE_NAMESPACE, f"{self._source}:{key}"))


def storable(key: str) -> str:
    """A key as SQLite takes it: no lone surrogates, and of bounded length."""
    text = key.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace").replace("\x00", "")
    if len(text) <= MAX_KEY_CHARACTERS:
        return text
    return f"{text[:100]}…{hashlib.sha256(text.encode()).hexdigest()}"
