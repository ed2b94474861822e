"""The sample index: typed reads and writes of its tables, no decisions. Used by one thread (`handlers/dataset.py`)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from handlers.file_signature import FileSignature, Found
from handlers.index import queries
from handlers.index.near import NearDuplicates
from handlers.index.packing import ADDED, FOLDER, NAME, pack_hex, pack_id, pack_path, unpack_id
from handlers.index.rows import HELD, FileRow, FileState, StoredMetadata, StoredSample, Twin
from handlers.index.schema import open_index
from handlers.labels.rules import Resolution, Statement
from handlers.loss import Inventory
from handlers.paths import join, printable, split
from utils.clock import from_iso
from utils.images.facts import ImageFacts
from utils.metadata import Label

A_PAGE = 5000  # files: some 2 MB, and 50 ms of comparing
MAX_FOLDERS = 10_000  # whose keys are remembered
FOLDER_KEY = "(SELECT key FROM folders WHERE path = ?)"
FILE = "(SELECT key FROM files WHERE folder = ? AND name = ?)"
PLACE = f"?, {FILE}"  # folder and file of a sample
FILE_COLUMNS = (
    "(SELECT path FROM folders WHERE key = folder), name, device, size, mtime_ns, ctime_ns, inode, state,"
    " (SELECT id FROM samples WHERE key = sample), gone"
)
SAMPLE_COLUMNS = f"key, id, sha256, {FOLDER}, {NAME}, phash, thumb, label, label_source, clash, {ADDED}"
SAID_COLUMNS = "stem, sha256, image, label, label_source, source, creator, post, generator, series, problem"
OF_CONTENT = "substr(sha256, 1, 8) = substr(?, 1, 8) AND sha256 = ?"  # the index holds the beginning
OF_PLACE = "place = ? AND image = ?"
METADATA = (
    f"SELECT d.path, f.name, {SAID_COLUMNS} FROM metadata CROSS JOIN files f CROSS JOIN folders d"  # noqa: S608
    " WHERE f.key = file AND d.key = f.folder"
)

# name, size, mtime_ns, ctime_ns, inode, device, state, gone: a plain tuple, since a scan compares 100,000
Known = tuple[bytes, int, int, int, int, int, str, float | None]


class Index:
    """Writes happen inside `transaction()`; a crash keeps all of it or nothing."""

    def __init__(self, file: Path) -> None:
        self._db = open_index(file)
        self.near = NearDuplicates(self._db)
        self._folder_keys: dict[bytes, int] = {}
        (self._last_key,) = self._db.execute("SELECT coalesce(max(key), 0) FROM samples").fetchone()

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._folder_keys.clear()
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @property
    def connection(self) -> sqlite3.Connection:
        """For the questions of `handlers/index/queries.py`."""
        return self._db

    # files

    def known(self, folder: bytes) -> Iterator[tuple[dict[bytes, Known], bool]]:
        """The tracked files of a folder, `A_PAGE` at a time in the order of their names; whether these are the last."""
        query = (
            "SELECT name, size, mtime_ns, ctime_ns, inode, device, state, gone FROM files"  # noqa: S608  constant text
            f" WHERE folder = {FOLDER_KEY} AND name > ? ORDER BY name LIMIT ?"
        )
        after = b""
        while True:
            page = {row[0]: row for row in self._db.execute(query, (folder, after, A_PAGE)).fetchall()}
            is_last, after = len(page) < A_PAGE, next(reversed(page), after)
            yield page, is_last
            if is_last:
                return

    def folders(self, under: bytes) -> list[bytes]:
        """Every folder at or below `under` that has tracked files."""
        if not under:
            return [row[0] for row in self._db.execute("SELECT path FROM folders")]
        inside = (under, under + b"/", under + b"0")  # "0" is the byte after "/"
        query = "SELECT path FROM folders WHERE path = ? OR (path > ? AND path < ?)"
        return [row[0] for row in self._db.execute(query, inside)]

    def forget_empty_folders(self) -> None:
        self._folder_keys.clear()
        self._db.execute("DELETE FROM folders WHERE NOT EXISTS (SELECT 1 FROM files WHERE folder = folders.key)")

    def file(self, path: bytes) -> FileRow | None:
        rows = self._files(f"folder = {FOLDER_KEY} AND name = ?", split(path))
        return rows[0] if rows else None

    def same_inode(self, signature: FileSignature) -> Twin | None:
        """A picture with the same content by its signature: the other name of a rename or of a hard link."""
        for row in self._files("inode = ? AND sample IS NOT NULL AND state = 'good'", (signature.inode,)):
            if row.sample is not None and row.signature.same_content(signature):
                return Twin(row.path, row.signature, row.sample)
        return None

    def files_of(self, sample_id: str) -> list[FileRow]:
        """Files of a sample in the order in which they were first seen; missing ones, too."""
        return self._files("sample = (SELECT key FROM samples WHERE id = ?) ORDER BY key", (pack_id(sample_id),))

    def gone_outside(self, start: float, end: float) -> list[FileRow]:
        """Missing files, but for those that went between these times (a clock may have been set back) or are held."""
        return self._files("gone IS NOT NULL AND gone < ? AND NOT (gone BETWEEN ? AND ?)", (HELD, start, end))

    def has_any_file(self) -> bool:
        return self._db.execute("SELECT 1 FROM files LIMIT 1").fetchone() is not None

    def has_gone(self) -> bool:
        """Whether a missing file waits to be forgotten."""
        return bool(self._files("gone IS NOT NULL AND gone < ? LIMIT 1", (HELD,)))

    def put_file(self, found: Found, state: FileState, *, sample: int | None = None, reason: str | None = None) -> None:
        """`sample` is the key of the sample that a good file belongs to."""
        self._db.execute(
            "INSERT INTO files (folder, name, device, size, mtime_ns, ctime_ns, inode, state, reason, sample)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (folder, name) DO UPDATE SET device = excluded.device, size = excluded.size,"
            " mtime_ns = excluded.mtime_ns, ctime_ns = excluded.ctime_ns, inode = excluded.inode,"
            " state = excluded.state, reason = excluded.reason, sample = excluded.sample, gone = NULL",
            (
                *(self._folder_key(found.folder), found.name, found.device, *found.signature),
                *(state, reason and printable(reason), sample),
            ),
        )

    def set_signature(self, found: Found) -> None:
        """Of a good file whose content is proven to be what it was."""
        self._db.execute(
            "UPDATE files SET size = ?, mtime_ns = ?, ctime_ns = ?, inode = ?"  # noqa: S608  constant text
            f" WHERE folder = {FOLDER_KEY} AND name = ? AND state = 'good'",
            (*found.signature, found.folder, found.name),
        )

    def set_note(self, path: bytes, note: str) -> bool:
        """Remark on a good file; False when it is none (yet)."""
        query = f"UPDATE files SET reason = ? WHERE folder = {FOLDER_KEY} AND name = ? AND state = 'good'"  # noqa: S608
        return self._db.execute(query, (printable(note), *split(path))).rowcount > 0

    def copy_note(self, source: bytes, target: bytes) -> None:
        """The remark on a good file holds for the same content at another place."""
        self._db.execute(
            "UPDATE files SET reason ="  # noqa: S608  constant text
            f" (SELECT reason FROM files WHERE folder = {FOLDER_KEY} AND name = ? AND state = 'good')"
            f" WHERE folder = {FOLDER_KEY} AND name = ? AND state = 'good'",
            (*split(source), *split(target)),
        )

    def set_gone(self, path: bytes, gone: float | None, device: int | None = None) -> None:
        self._db.execute(
            f"UPDATE files SET gone = ?, device = coalesce(?, device) WHERE folder = {FOLDER_KEY} AND name = ?",  # noqa: S608
            (gone, device, *split(path)),
        )

    def set_device(self, folder: bytes, device: int) -> None:
        query = f"UPDATE files SET device = ? WHERE folder = {FOLDER_KEY} AND gone IS NULL"  # noqa: S608
        self._db.execute(query, (device, folder))

    def forget_file(self, path: bytes) -> None:
        """And, by a trigger, what a metadata file said."""
        self._db.execute(f"DELETE FROM files WHERE folder = {FOLDER_KEY} AND name = ?", split(path))  # noqa: S608

    def _folder_key(self, path: bytes) -> int:
        key = self._folder_keys.get(path)
        if key is None:
            row = self._db.execute("SELECT key FROM folders WHERE path = ?", (path,)).fetchone()
            new = None if row else self._db.execute("INSERT INTO folders (path) VALUES (?)", (path,)).lastrowid
            key = int(row[0] if row else new or 0)
            if len(self._folder_keys) >= MAX_FOLDERS:
                self._folder_keys.clear()
            self._folder_keys[path] = key
        return key

    def _files(self, where: str, values: tuple[Any, ...]) -> list[FileRow]:
        rows = self._db.execute(f"SELECT {FILE_COLUMNS} FROM files WHERE {where}", values)  # noqa: S608  constant text
        return [
            FileRow(
                *(row[0], row[1], row[2], FileSignature(*row[3:7]), row[7]),
                *(None if row[8] is None else unpack_id(row[8]), row[9]),
            )
            for row in rows
        ]

    # samples

    def sample(self, sample_id: str) -> StoredSample | None:
        return self._sample("id = ?", pack_id(sample_id))

    def sample_of_content(self, sha256: str) -> StoredSample | None:
        return self._sample("sha256 = ?", pack_hex(sha256))

    def new_key(self) -> int:
        """For a sample that is about to be stored."""
        self._last_key += 1
        return int(self._last_key)

    def put_sample(
        self, sample: StoredSample, facts: ImageFacts, path: bytes, resolution: Resolution, distance: int
    ) -> None:
        """A new sample, or new content of one that keeps its id and key."""
        self._db.execute(
            "INSERT INTO samples (key, id, added, sha256, folder, file, size_bytes, format, width, height,"  # noqa: S608
            f" phash, thumb, has_exif, label, label_source, clash) VALUES (?, ?, ?, ?, {PLACE}, {', '.join('?' * 10)})"
            " ON CONFLICT (key) DO UPDATE SET sha256 = excluded.sha256, folder = excluded.folder, file = excluded.file,"
            " size_bytes = excluded.size_bytes, format = excluded.format, width = excluded.width,"
            " height = excluded.height, phash = excluded.phash, thumb = excluded.thumb, has_exif = excluded.has_exif,"
            " label = excluded.label, label_source = excluded.label_source, clash = excluded.clash, away = 0",
            (
                *(sample.key, pack_id(sample.id), int(from_iso(sample.added).timestamp()), pack_hex(sample.sha256)),
                *(*self._place(path), facts.size_bytes, facts.format, facts.width, facts.height),
                *(pack_hex(sample.phash) if sample.phash is not None else None, sample.thumb, facts.has_exif),
                *(resolution.label, resolution.label_source, resolution.clash),
            ),
        )
        self.near.add(sample, distance)

    def resolve_sample(self, sample: StoredSample, path: bytes, resolution: Resolution) -> None:
        self._db.execute(
            f"UPDATE samples SET (folder, file) = ({PLACE}), label = ?, label_source = ?, clash = ?, away = 0"  # noqa: S608
            " WHERE key = ?",
            (*self._place(path), resolution.label, resolution.label_source, resolution.clash, sample.key),
        )

    def place_sample(self, sample: StoredSample, path: bytes) -> None:
        """The file that stands for it; its label stays."""
        query = f"UPDATE samples SET (folder, file) = ({PLACE}), away = 0 WHERE key = ?"  # noqa: S608
        self._db.execute(query, (*self._place(path), sample.key))

    def set_missing(self, sample: StoredSample) -> None:
        """No file of it is there; the label stays for a loss that turns out to be none."""
        self._db.execute("UPDATE samples SET folder = NULL, file = NULL, away = 0 WHERE key = ?", (sample.key,))

    def set_away(self, sample: StoredSample) -> None:
        """Its file system is not there: place and label stay as they were."""
        self._db.execute("UPDATE samples SET away = 1 WHERE key = ? AND folder IS NOT NULL", (sample.key,))

    def inventory(self) -> Inventory:
        """Pictures and metadata files that are there; samples without a file, and without metadata."""
        tally = queries.Tally(self._db)
        metadata = tally.files("metadata")
        return Inventory(tally.files("file"), tally.absent, metadata, max(0, tally.samples() + tally.absent - metadata))

    def restore_missing(self) -> None:
        """A sample that went lately is lost, not deleted: as if it were still where it was last."""
        self._db.execute(
            "UPDATE samples SET (folder, file) = (SELECT f.folder, f.key FROM files f WHERE f.sample = samples.key"
            " ORDER BY f.gone DESC, f.key LIMIT 1)"
            " WHERE folder IS NULL AND key IN (SELECT sample FROM files WHERE gone < ?)",
            (HELD,),
        )
        # its other files, from where it was moved before, stay missing
        is_it = "(SELECT file FROM samples WHERE key = files.sample) = files.key"
        self._db.execute(f"UPDATE files SET gone = NULL WHERE gone < ? AND {is_it}", (HELD,))  # noqa: S608  constant text

    def release_held(self) -> list[str]:
        """What is held counts as deleted from now on; the samples whose files these are."""
        query = "SELECT id FROM samples WHERE key IN (SELECT sample FROM files WHERE gone >= ?)"
        samples = [unpack_id(row[0]) for row in self._db.execute(query, (HELD,))]
        self._db.execute("UPDATE files SET gone = 0 WHERE gone >= ?", (HELD,))
        return samples

    def forget_sample(self, sample: StoredSample, distance: int) -> None:
        self.near.forget(sample, distance)
        self.near.set_conflicts(sample.key, [])
        self._db.execute("DELETE FROM samples WHERE key = ?", (sample.key,))

    def labelled_by_people(self) -> list[str]:
        return [unpack_id(row[0]) for row in self._db.execute("SELECT id FROM samples WHERE label_source = 'person'")]

    def metadata_files(self) -> int:
        return queries.Tally(self._db).files("metadata")

    def labelled_by_folders(self) -> list[tuple[str, bytes, Label | None]]:
        """(id, path of a file, label) of the samples that are there and owe their label, or none, to where they lie."""
        query = (
            "SELECT s.id, d.path, f.name, s.label FROM samples s JOIN files f ON f.sample = s.key AND f.gone IS NULL"
            " JOIN folders d ON d.key = f.folder"
            " WHERE s.folder IS NOT NULL AND (s.label_source = 'folder' OR s.label_source IS NULL)"
        )
        return [(unpack_id(row[0]), join(row[1], row[2]), row[3]) for row in self._db.execute(query)]

    def without_metadata(self) -> list[str]:
        """Samples that are there and whose own metadata file is not known."""
        # both in the order of their ids, by their indexes; whether one is there is asked of the few that are found
        query = (
            "SELECT id FROM samples s WHERE NOT EXISTS (SELECT 1 FROM metadata m WHERE m.stem = s.id)"
            " AND (SELECT folder FROM samples t WHERE t.id = s.id) IS NOT NULL"
        )
        return [unpack_id(row[0]) for row in self._db.execute(query)]

    def _place(self, path: bytes) -> tuple[int, int, bytes]:
        """Values of PLACE."""
        folder, name = split(path)
        key = self._folder_key(folder)
        return key, key, name

    def _sample(self, where: str, value: str | bytes) -> StoredSample | None:
        row = self._db.execute(f"SELECT {SAMPLE_COLUMNS} FROM samples s WHERE {where}", (value,)).fetchone()  # noqa: S608
        if row is None:
            return None
        key, sample_id, sha256, folder, name, phash, thumb, label, label_source, clash, added = row
        path = None if folder is None else join(folder, name)
        digest = None if phash is None else phash.hex()
        sample = unpack_id(sample_id), sha256.hex(), path, digest, thumb
        return StoredSample(key, *sample, label, label_source, bool(clash), added)

    # metadata

    def metadata(self, path: bytes) -> StoredMetadata | None:
        folder, name = split(path)
        file = f"(SELECT key FROM files WHERE folder = {FOLDER_KEY} AND name = ?)"  # noqa: S608  constant text
        found = self._metadata(f"file = {file}", (folder, name))
        return found[0] if found else None

    def metadata_named(self, stem: str) -> list[StoredMetadata]:
        return self._metadata("stem = ? ORDER BY d.path DESC, f.name", (pack_id(stem),))

    def metadata_of(self, sample_id: str, sha256: str, paths: Sequence[bytes]) -> list[StoredMetadata]:
        """All that speaks of a sample: by its id, by its content, or by one of its paths where it names no content."""
        content = pack_hex(sha256)
        several = ", ".join("?" * len(paths))  # none: an empty list would have it read every row
        at_place = f" OR (place IN ({several}) AND image IN ({several}) AND sha256 IS NULL)" if paths else ""
        return self._metadata(
            f"(stem = ? OR {OF_CONTENT}{at_place}) ORDER BY d.path, f.name",
            (pack_id(sample_id), content, content, *map(pack_path, paths), *paths),
        )

    def metadata_for(self, path: bytes, sha256: str, name: str | None) -> list[StoredMetadata]:
        """All that may speak of a picture that is new: by its name, its content or its place."""
        stem, content = None if name is None else pack_id(name), pack_hex(sha256)
        where = f"(stem = ? OR {OF_CONTENT} OR {OF_PLACE}) ORDER BY d.path, f.name"
        return self._metadata(where, (stem, content, content, pack_path(path), path))

    def metadata_about(self, path: bytes) -> list[StoredMetadata]:
        return self._metadata(OF_PLACE, (pack_path(path), path))

    def put_metadata(self, row: StoredMetadata) -> None:
        """Of a file that is tracked."""
        said = row.statement
        _, *place = self._place(row.path)
        self._db.execute(
            f"INSERT OR REPLACE INTO metadata (file, place, {SAID_COLUMNS}) VALUES ({FILE}, {', '.join('?' * 12)})",  # noqa: S608
            (
                *(
                    *place,
                    pack_path(said.image),
                    pack_id(row.stem),
                    pack_hex(row.sha256) or None,
                    said.image,
                    said.label,
                    said.label_source,
                ),
                *(said.source, row.creator, row.post, row.generator, row.series, row.problem),
            ),
        )

    def _metadata(self, where: str, values: tuple[Any, ...]) -> list[StoredMetadata]:
        found = []
        for row in self._db.execute(f"{METADATA} AND {where}", values):
            folder, name, stem, sha256, image, label, label_source, source, *rest = row
            said = Statement(label, label_source, source, image)
            digest = "" if sha256 is None else sha256.hex()
            found.append(StoredMetadata(folder, name, unpack_id(stem), digest, said, *rest))
        return found

    # settings

    def setting(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_setting(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def forget_rejections(self) -> None:
        """So that the next scan judges these files again."""
        self._db.execute("DELETE FROM files WHERE state IN ('rejected', 'unreadable')")
