"""The sample index: typed reads and writes of its tables, no decisions. Used by one thread (`handlers/dataset.py`)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from handlers.file_signature import FileSignature, Found
from handlers.index import queries
from handlers.index.phash import bands
from handlers.index.rows import HELD, FileRow, FileState, StoredMetadata, StoredSample, Twin
from handlers.index.schema import open_index
from handlers.labels.rules import Resolution, Statement
from handlers.loss import Inventory
from handlers.paths import join, printable, split
from utils.images.facts import ImageFacts
from utils.metadata import Label

FILE_COLUMNS = "folder, name, device, size, mtime_ns, ctime_ns, inode, state, sample, gone"
SAMPLE_COLUMNS = "key, id, sha256, folder, name, phash, thumb, label, label_source, clash, added"
METADATA_COLUMNS = (
    "folder, name, stem, sha256, image, label, label_source, source, creator, post, generator, series, problem"
)

# name, size, mtime_ns, ctime_ns, inode, device, state, gone: a plain tuple, since a scan compares 100,000
Known = tuple[bytes, int, int, int, int, int, str, float | None]


class Index:
    """Writes happen inside `transaction()`; a crash keeps all of it or nothing."""

    def __init__(self, file: Path) -> None:
        self._db = open_index(file)

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @property
    def connection(self) -> sqlite3.Connection:
        """For the questions of `handlers/index/queries.py`."""
        return self._db

    # files

    def known(self, folder: bytes) -> dict[bytes, Known]:
        """The tracked files of a folder by name."""
        rows = self._db.execute(
            "SELECT name, size, mtime_ns, ctime_ns, inode, device, state, gone FROM files WHERE folder = ?", (folder,)
        )
        return {row[0]: row for row in rows}

    def folders(self, under: bytes) -> list[bytes]:
        """Every folder at or below `under` that has tracked files."""
        if not under:
            return [row[0] for row in self._db.execute("SELECT DISTINCT folder FROM files")]
        inside = (under, under + b"/", under + b"0")  # "0" is the byte after "/"
        query = "SELECT DISTINCT folder FROM files WHERE folder = ? OR (folder > ? AND folder < ?)"
        return [row[0] for row in self._db.execute(query, inside)]

    def file(self, path: bytes) -> FileRow | None:
        rows = self._files("folder = ? AND name = ?", split(path))
        return rows[0] if rows else None

    def same_inode(self, signature: FileSignature) -> Twin | None:
        """A picture with the same content by its signature: the other name of a rename or of a hard link."""
        for row in self._files("inode = ? AND state = 'good'", (signature.inode,)):
            if row.sample is not None and row.signature.same_content(signature):
                return Twin(row.path, row.signature, row.sample)
        return None

    def files_of(self, sample_id: str) -> list[FileRow]:
        """Files of a sample in the order in which they were first seen; missing ones, too."""
        return self._files("sample = ? ORDER BY seen, folder, name", (sample_id,))

    def gone_outside(self, start: float, end: float) -> list[FileRow]:
        """Missing files, but for those that went between these times (a clock may have been set back) or are held."""
        return self._files("gone IS NOT NULL AND gone < ? AND NOT (gone BETWEEN ? AND ?)", (HELD, start, end))

    def has_any_file(self) -> bool:
        return self._db.execute("SELECT 1 FROM files LIMIT 1").fetchone() is not None

    def has_gone(self) -> bool:
        """Whether a missing file waits to be forgotten."""
        return bool(self._files("gone IS NOT NULL AND gone < ? LIMIT 1", (HELD,)))

    def put_file(
        self, found: Found, state: FileState, now: float, *, sample: str | None = None, reason: str | None = None
    ) -> None:
        self._db.execute(
            "INSERT INTO files (folder, name, device, size, mtime_ns, ctime_ns, inode, state, reason, sample, seen)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (folder, name) DO UPDATE SET device = excluded.device, size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, inode = excluded.inode,"
            " state = excluded.state, reason = excluded.reason, sample = excluded.sample, gone = NULL",
            (
                found.folder,
                found.name,
                found.device,
                *found.signature,
                state,
                reason and printable(reason),
                sample,
                now,
            ),
        )

    def set_signature(self, found: Found) -> None:
        """Of a good file whose content is proven to be what it was."""
        self._db.execute(
            "UPDATE files SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?"
            " WHERE folder = ? AND name = ? AND state = 'good'",
            (*found.signature, found.folder, found.name),
        )

    def set_note(self, path: bytes, note: str) -> bool:
        """Remark on a good file; False when it is none (yet)."""
        query = "UPDATE files SET reason = ? WHERE folder = ? AND name = ? AND state = 'good'"
        return self._db.execute(query, (printable(note), *split(path))).rowcount > 0

    def copy_note(self, source: bytes, target: bytes) -> None:
        """The remark on a good file holds for the same content at another place."""
        self._db.execute(
            "UPDATE files SET reason = (SELECT reason FROM files WHERE folder = ? AND name = ? AND state = 'good')"
            " WHERE folder = ? AND name = ? AND state = 'good'",
            (*split(source), *split(target)),
        )

    def set_gone(self, path: bytes, gone: float | None, device: int | None = None) -> None:
        self._db.execute(
            "UPDATE files SET gone = ?, device = coalesce(?, device) WHERE folder = ? AND name = ?",
            (gone, device, *split(path)),
        )

    def set_device(self, folder: bytes, device: int) -> None:
        self._db.execute("UPDATE files SET device = ? WHERE folder = ? AND gone IS NULL", (device, folder))

    def forget_file(self, path: bytes) -> None:
        self._db.execute("DELETE FROM files WHERE folder = ? AND name = ?", split(path))

    def _files(self, where: str, values: tuple[Any, ...]) -> list[FileRow]:
        rows = self._db.execute(f"SELECT {FILE_COLUMNS} FROM files WHERE {where}", values)  # noqa: S608  constant text
        return [FileRow(row[0], row[1], row[2], FileSignature(*row[3:7]), row[7], row[8], row[9]) for row in rows]

    # samples

    def sample(self, sample_id: str) -> StoredSample | None:
        return self._sample("id = ?", sample_id)

    def sample_of_content(self, sha256: str) -> StoredSample | None:
        return self._sample("sha256 = ?", sha256)

    def put_sample(
        self, sample: StoredSample, facts: ImageFacts, path: bytes, resolution: Resolution, distance: int
    ) -> StoredSample:
        """A new sample (`key` 0), or new content of one that keeps its id; the sample with its key."""
        values = (
            *(sample.sha256, *split(path), facts.size_bytes, facts.format, facts.width, facts.height, sample.phash),
            *(sample.thumb, facts.has_exif, resolution.label, resolution.label_source, resolution.clash),
        )
        key = sample.key
        if key:
            self._db.execute(
                "UPDATE samples SET sha256 = ?, folder = ?, name = ?, size_bytes = ?, format = ?, width = ?,"
                " height = ?, phash = ?, thumb = ?, has_exif = ?, label = ?, label_source = ?, clash = ?, away = 0"
                " WHERE key = ?",
                (*values, key),
            )
        else:
            cursor = self._db.execute(
                "INSERT INTO samples (sha256, folder, name, size_bytes, format, width, height, phash, thumb, has_exif,"
                " label, label_source, clash, id, added) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, sample.id, sample.added),
            )
            key = cursor.lastrowid or 0
        if sample.phash is not None:
            self._db.executemany(
                "INSERT OR IGNORE INTO bands VALUES (?, ?, ?)",
                [(number, value, key) for number, value in bands(sample.phash, distance)],
            )
        return replace(sample, key=key)

    def resolve_sample(self, sample_id: str, path: bytes, resolution: Resolution) -> None:
        self._db.execute(
            "UPDATE samples SET folder = ?, name = ?, label = ?, label_source = ?, clash = ?, away = 0 WHERE id = ?",
            (*split(path), resolution.label, resolution.label_source, resolution.clash, sample_id),
        )

    def place_sample(self, sample_id: str, path: bytes) -> None:
        """The file that stands for it; its label stays."""
        self._db.execute("UPDATE samples SET folder = ?, name = ?, away = 0 WHERE id = ?", (*split(path), sample_id))

    def set_missing(self, sample_id: str) -> None:
        """No file of it is there; the label stays for a loss that turns out to be none."""
        self._db.execute("UPDATE samples SET folder = NULL, name = NULL, away = 0 WHERE id = ?", (sample_id,))

    def set_away(self, sample_id: str) -> None:
        """Its file system is not there: place and label stay as they were."""
        self._db.execute("UPDATE samples SET away = 1 WHERE id = ? AND folder IS NOT NULL", (sample_id,))

    def inventory(self) -> Inventory:
        """Pictures and metadata files that are there, and that are missing and not forgotten yet."""
        tally = queries.Tally(self._db)
        metadata = tally.files("metadata")
        return Inventory(tally.files("file"), tally.files("gone"), metadata, max(0, tally.all_samples() - metadata))

    def restore_missing(self) -> None:
        """What went lately is lost, not deleted: as if it were still there."""
        self._db.execute(
            "UPDATE samples SET (folder, name) = (SELECT f.folder, f.name FROM files f WHERE f.sample = samples.id"
            " ORDER BY f.seen LIMIT 1) WHERE folder IS NULL AND id IN (SELECT sample FROM files WHERE gone < ?)",
            (HELD,),
        )
        self._db.execute("UPDATE files SET gone = NULL WHERE gone < ?", (HELD,))

    def release_held(self) -> list[str]:
        """What is held counts as deleted from now on; the samples whose files these are."""
        samples = [row[0] for row in self._db.execute("SELECT DISTINCT sample FROM files WHERE gone >= ?", (HELD,))]
        self._db.execute("UPDATE files SET gone = 0 WHERE gone >= ?", (HELD,))
        return [sample for sample in samples if sample is not None]

    def forget_sample(self, sample: StoredSample, distance: int) -> None:
        self.forget_bands(sample, distance)
        self.set_conflicts(sample.id, [])
        self._db.execute("DELETE FROM samples WHERE id = ?", (sample.id,))

    def forget_bands(self, sample: StoredSample, distance: int) -> None:
        if sample.phash is not None:
            self._db.executemany(
                "DELETE FROM bands WHERE band = ? AND value = ? AND sample = ?",
                [(number, value, sample.key) for number, value in bands(sample.phash, distance)],
            )

    def candidates(self, phash: str, label: Label, distance: int) -> Iterator[tuple[str, str, bytes]]:
        """(id, phash, thumb) of samples under another label that share a band with the hash; may repeat."""
        for number, value in bands(phash, distance):
            yield from self._db.execute(
                "SELECT s.id, s.phash, s.thumb FROM bands b CROSS JOIN samples s ON s.key = b.sample"
                " WHERE b.band = ? AND b.value = ? AND s.label IS NOT NULL AND s.label != ? AND s.folder IS NOT NULL",
                (number, value, label),
            )

    def set_conflicts(self, sample_id: str, others: Iterable[str]) -> None:
        before = {row[0] for row in self._db.execute("SELECT other FROM conflicts WHERE sample = ?", (sample_id,))}
        after = set(others)
        for other in before - after:
            pairs = (sample_id, other, other, sample_id)
            self._db.execute(
                "DELETE FROM conflicts WHERE (sample = ? AND other = ?) OR (sample = ? AND other = ?)", pairs
            )
        for other in after - before:
            self._db.execute("INSERT INTO conflicts VALUES (?, ?), (?, ?)", (sample_id, other, other, sample_id))

    def labelled_by_people(self) -> list[str]:
        return [row[0] for row in self._db.execute("SELECT id FROM samples WHERE label_source = 'person'")]

    def metadata_files(self) -> int:
        return queries.Tally(self._db).files("metadata")

    def labelled_by_folders(self) -> list[tuple[str, bytes, Label | None]]:
        """(id, path of a file, label) of the samples that are there and owe their label, or none, to where they lie."""
        query = (
            "SELECT s.id, f.folder, f.name, s.label FROM samples s JOIN files f ON f.sample = s.id AND f.gone IS NULL"
            " WHERE s.folder IS NOT NULL AND (s.label_source = 'folder' OR s.label_source IS NULL)"
        )
        return [(row[0], join(row[1], row[2]), row[3]) for row in self._db.execute(query)]

    def without_metadata(self) -> list[str]:
        """Samples that are there and whose own metadata file is not known."""
        query = (
            "SELECT id FROM samples s WHERE folder IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM metadata m WHERE m.stem = s.id)"
        )
        return [row[0] for row in self._db.execute(query)]

    def _sample(self, where: str, value: str) -> StoredSample | None:
        row = self._db.execute(f"SELECT {SAMPLE_COLUMNS} FROM samples WHERE {where}", (value,)).fetchone()  # noqa: S608
        if row is None:
            return None
        path = None if row[3] is None else join(row[3], row[4])
        key, sample_id, sha256, _, _, phash, thumb, label, label_source, clash, added = row
        return StoredSample(key, sample_id, sha256, path, phash, thumb, label, label_source, bool(clash), added)

    # metadata

    def metadata(self, path: bytes) -> StoredMetadata | None:
        found = self._metadata("folder = ? AND name = ?", split(path))
        return found[0] if found else None

    def metadata_named(self, stem: str) -> list[StoredMetadata]:
        return self._metadata("stem = ? ORDER BY folder DESC, name", (stem,))

    def metadata_of(self, sample_id: str, sha256: str, paths: Sequence[bytes]) -> list[StoredMetadata]:
        """All that speaks of a sample: by its id, by its content, or by one of its paths where it names no content."""
        at_place = f" OR (image IN ({', '.join('?' * len(paths))}) AND sha256 = '')" if paths else ""
        return self._metadata(
            f"stem = ? OR sha256 = ?{at_place} ORDER BY folder, name",  # an empty list would have it read every row
            (sample_id, sha256, *paths),
        )

    def metadata_for(self, path: bytes, sha256: str, name: str | None) -> list[StoredMetadata]:
        """All that may speak of a picture that is new: by its name, its content or its place."""
        return self._metadata("stem = ? OR sha256 = ? OR image = ? ORDER BY folder, name", (name, sha256, path))

    def metadata_about(self, path: bytes) -> list[StoredMetadata]:
        return self._metadata("image = ?", (path,))

    def put_metadata(self, row: StoredMetadata) -> None:
        said = row.statement
        self._db.execute(
            f"INSERT OR REPLACE INTO metadata ({METADATA_COLUMNS}) VALUES ({', '.join('?' * 13)})",  # noqa: S608
            (
                *(row.folder, row.name, row.stem, row.sha256, said.image, said.label, said.label_source, said.source),
                *(row.creator, row.post, row.generator, row.series, row.problem),
            ),
        )

    def forget_metadata(self, path: bytes) -> None:
        self._db.execute("DELETE FROM metadata WHERE folder = ? AND name = ?", split(path))

    def _metadata(self, where: str, values: tuple[Any, ...]) -> list[StoredMetadata]:
        rows = self._db.execute(f"SELECT {METADATA_COLUMNS} FROM metadata WHERE {where}", values)  # noqa: S608
        return [
            StoredMetadata(row[0], row[1], row[2], row[3], Statement(row[5], row[6], row[7], row[4]), *row[8:])
            for row in rows
        ]

    # settings

    def setting(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_setting(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def forget_rejections(self) -> None:
        """So that the next scan judges these files again."""
        self._db.execute("DELETE FROM files WHERE state IN ('rejected', 'unreadable')")

    def rebuild_bands(self, distance: int) -> None:
        """Another distance needs another number of bands."""
        self._db.execute("DELETE FROM bands")
        for key, phash in self._db.execute("SELECT key, phash FROM samples WHERE phash IS NOT NULL").fetchall():
            self._db.executemany(
                "INSERT INTO bands VALUES (?, ?, ?)",
                [(number, value, key) for number, value in bands(phash, distance)],
            )
