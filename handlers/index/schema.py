"""The index file: its tables, and opening it. A cache: when something is wrong, it is made anew."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from handlers.index.packing import pack_hex
from utils.errors import SkipItemError
from utils.logs import get_logger
from utils.sqlite_files import closed_on_error, is_broken, remove_side_files, set_aside

log = get_logger(__name__)

INDEX_FILE = "index.sqlite"
APPLICATION_ID = 0x45585053  # "EXPS": tells our file from somebody else's
SCHEMA_VERSION = 7
BUSY_SECONDS = 5.0
CACHE_KB = 32_000  # pages that stay in memory: with fewer, a large index is read and written over and over

# what a row is counted as; null: as nothing. `held` is rows.HELD.
CLASS_OF_FILE = """CASE WHEN {row}.gone >= 9e18 THEN 'held' WHEN {row}.gone IS NOT NULL THEN NULL
    WHEN {row}.sample IS NOT NULL THEN 'file'
    WHEN {row}.state = 'metadata' THEN 'metadata' ELSE 'rejected' END"""
CLASS_OF_SAMPLE = """CASE WHEN {row}.folder IS NULL THEN 'none' ELSE coalesce({row}.label, '')
    || ' ' || coalesce({row}.label_source, '') || ' ' || {row}.clash || ' ' || {row}.away END"""


def _counting(table: str, class_of: str) -> str:
    """Triggers that keep `tally` equal to the rows, so that counting does not grow with the data."""
    new, old = class_of.format(row="new"), class_of.format(row="old")
    more = f"INSERT INTO tally SELECT {new}, 1 WHERE {new} IS NOT NULL ON CONFLICT DO UPDATE SET number = number + 1;"
    fewer = f"UPDATE tally SET number = number - 1 WHERE what = {old};"  # noqa: S608
    return f"""
CREATE TRIGGER {table}_added AFTER INSERT ON {table} BEGIN {more} END;
CREATE TRIGGER {table}_changed AFTER UPDATE ON {table} WHEN {new} IS NOT {old} BEGIN {fewer} {more} END;
CREATE TRIGGER {table}_removed AFTER DELETE ON {table} BEGIN {fewer} END;
"""


REMOVAL = """
CREATE TRIGGER metadata_removed AFTER DELETE ON files BEGIN DELETE FROM metadata WHERE file = old.key; END;
"""
TABLES = (
    """
CREATE TABLE tally (what TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE folders (                -- that hold tracked files
    key INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE
);
CREATE TABLE files (                  -- every tracked file: pictures, what was rejected, metadata
    key INTEGER PRIMARY KEY,          -- the greater, the later first seen
    folder INTEGER NOT NULL, name BLOB NOT NULL,  -- folders.key
    device INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('good', 'rejected', 'unreadable', 'metadata')),
    reason TEXT, sample INTEGER,      -- samples.key
    gone REAL,                        -- unix time at which a scan missed it; HELD: its file system is not there
    UNIQUE (folder, name)
);
CREATE INDEX files_by_sample ON files (sample, gone) WHERE sample IS NOT NULL;
CREATE INDEX files_by_inode ON files (inode) WHERE sample IS NOT NULL;
CREATE INDEX files_by_state ON files (state) WHERE state IN ('rejected', 'unreadable');
CREATE INDEX files_noted ON files (state) WHERE state = 'good' AND reason IS NOT NULL;
CREATE INDEX files_gone ON files (gone) WHERE gone IS NOT NULL;
CREATE TABLE samples (                -- one for each different content
    key INTEGER PRIMARY KEY,
    id NOT NULL UNIQUE, sha256 BLOB NOT NULL UNIQUE,  -- packed (handlers/index/packing.py), as are phash and added
    file INTEGER, folder INTEGER,     -- keys of the file that stands for it and of its folder; null: none is there
    size_bytes INTEGER NOT NULL, format TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    phash BLOB, thumb BLOB, has_exif INTEGER NOT NULL,
    label TEXT, label_source TEXT, clash INTEGER NOT NULL DEFAULT 0,
    away INTEGER NOT NULL DEFAULT 0,  -- all of its files are on a file system that is not there
    added INTEGER NOT NULL            -- unix time
);
CREATE INDEX samples_unlabelled ON samples (clash, folder) WHERE label IS NULL;
CREATE INDEX samples_away ON samples (away) WHERE away = 1;
CREATE INDEX samples_of_people ON samples (label_source) WHERE label_source = 'person';
CREATE INDEX samples_newest ON samples (added) WHERE folder IS NOT NULL;
CREATE INDEX samples_newest_of_label ON samples (label, added) WHERE folder IS NOT NULL;
CREATE TABLE metadata (               -- what the files of meta/ say
    file INTEGER PRIMARY KEY,         -- files.key
    stem NOT NULL,                    -- of its name, packed like samples.id
    sha256 BLOB, image BLOB NOT NULL, place INTEGER NOT NULL,  -- place: a hash of image
    label TEXT, label_source TEXT, source TEXT NOT NULL,
    creator TEXT, post TEXT, generator TEXT, series TEXT,
    problem TEXT                      -- why the last edit cannot be read; the rest is from before it
);
CREATE INDEX metadata_by_stem ON metadata (stem);
CREATE INDEX metadata_by_sha256 ON metadata (substr(sha256, 1, 8)) WHERE sha256 IS NOT NULL;
CREATE INDEX metadata_by_place ON metadata (place);
CREATE INDEX metadata_by_source ON metadata (source);
CREATE INDEX metadata_by_generator ON metadata (generator) WHERE generator IS NOT NULL;
CREATE INDEX metadata_problems ON metadata (problem) WHERE problem IS NOT NULL;
CREATE TABLE bands (                  -- handlers/index/phash.py
    band INTEGER NOT NULL, value INTEGER NOT NULL, sample INTEGER NOT NULL,  -- samples.key
    PRIMARY KEY (band, value, sample)
) WITHOUT ROWID;
CREATE TABLE conflicts (              -- near-duplicates under different labels, in both directions, by samples.key
    sample INTEGER NOT NULL, other INTEGER NOT NULL, PRIMARY KEY (sample, other)
) WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
    + REMOVAL
    + _counting("files", CLASS_OF_FILE)
    + _counting("samples", CLASS_OF_SAMPLE)
)


class ForeignIndexError(SkipItemError):
    """A database, but not an index."""


class OutdatedIndexError(SkipItemError):
    """An index of another version: all that it says is in the files and in the history of labels."""


def open_index(file: Path) -> sqlite3.Connection:
    """A usable index at `file`: the one that is there, or a new one after setting aside what cannot be used."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        _create(file)
    try:
        return _connect(file)
    except OutdatedIndexError as error:
        log.warning("index_outdated", file=str(file), reason=str(error))
        file.unlink()
        _create(file)
        return _connect(file)
    except ForeignIndexError as error:
        reason = str(error)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            raise
        reason = str(error)
    log.warning("index_set_aside", file=str(file), reason=reason, kept_as=str(set_aside(file)))
    _create(file)
    return _connect(file)


def connect_reader(file: Path) -> sqlite3.Connection:
    """A read-only connection beside the owner's; raises sqlite3.OperationalError when there is no index."""
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    connection.execute("PRAGMA query_only = ON")
    connection.create_function("packed", 1, pack_hex, deterministic=True)  # of a hash as other databases spell it
    return connection


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    with closed_on_error(connection):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last commits, never consistency
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise ForeignIndexError(f"not our index ({application:#x})")
        if version != SCHEMA_VERSION:
            raise OutdatedIndexError(f"is of version {version}, not {SCHEMA_VERSION}; made anew from the files")
    return connection


def _create(file: Path) -> None:
    """Beside its place, then renamed: a reader never sees an index without tables."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    remove_side_files(file)
    header = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    with contextlib.closing(sqlite3.connect(new)) as connection:
        connection.executescript("BEGIN;" + TABLES + header + "COMMIT;")
    new.replace(file)


def remove_index(state: Path) -> None:
    """So that the next start makes it anew."""
    file = state / INDEX_FILE
    file.unlink(missing_ok=True)
    remove_side_files(file)
