"""The index file: its tables, and opening it. A cache: when something is wrong, it is made anew."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from utils.errors import SkipItemError
from utils.logs import get_logger
from utils.sqlite_files import is_broken, remove_side_files, set_aside

log = get_logger(__name__)

INDEX_FILE = "index.sqlite"
APPLICATION_ID = 0x45585053  # "EXPS": tells our file from somebody else's
SCHEMA_VERSION = 5
BUSY_SECONDS = 5.0
CACHE_KB = 32_000  # pages that stay in memory: with fewer, a large index is read and written over and over

# what a row is counted as; null: as nothing. `held` is rows.HELD.
CLASS_OF_FILE = """CASE WHEN {row}.gone >= 9e18 THEN 'held' WHEN {row}.gone IS NOT NULL THEN
    CASE {row}.state WHEN 'good' THEN 'gone' END WHEN {row}.sample IS NOT NULL THEN 'file'
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


TABLES = (
    """
CREATE TABLE tally (what TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE files (                  -- every tracked file: pictures, what was rejected, metadata
    folder BLOB NOT NULL, name BLOB NOT NULL,
    device INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('good', 'rejected', 'unreadable', 'metadata')),
    reason TEXT, sample TEXT, seen REAL NOT NULL,
    gone REAL,                        -- unix time at which a scan missed it; HELD: its file system is not there
    PRIMARY KEY (folder, name)
);
CREATE INDEX files_by_sample ON files (sample, gone) WHERE sample IS NOT NULL;
CREATE INDEX files_by_inode ON files (inode);
CREATE INDEX files_by_state ON files (state) WHERE state IN ('rejected', 'unreadable');
CREATE INDEX files_noted ON files (state) WHERE state = 'good' AND reason IS NOT NULL;
CREATE INDEX files_gone ON files (gone) WHERE gone IS NOT NULL;
CREATE TABLE samples (                -- one for each different content; folder and name: the file that stands for it
    key INTEGER PRIMARY KEY,          -- short, for the tables that name samples often
    id TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL UNIQUE,
    folder BLOB, name BLOB,           -- null while no file of it is there
    size_bytes INTEGER NOT NULL, format TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    phash TEXT, thumb BLOB, has_exif INTEGER NOT NULL,
    label TEXT, label_source TEXT, clash INTEGER NOT NULL DEFAULT 0,
    away INTEGER NOT NULL DEFAULT 0,  -- all of its files are on a file system that is not there
    added TEXT NOT NULL
);
CREATE INDEX samples_by_label ON samples (label, clash, folder);
CREATE INDEX samples_away ON samples (away) WHERE away = 1;
CREATE INDEX samples_newest ON samples (added, id) WHERE folder IS NOT NULL;
CREATE INDEX samples_newest_of_label ON samples (label, added, id) WHERE folder IS NOT NULL;
CREATE TABLE metadata (               -- what the files of meta/ say
    folder BLOB NOT NULL, name BLOB NOT NULL, stem TEXT NOT NULL,
    sha256 TEXT NOT NULL, image BLOB NOT NULL, label TEXT, label_source TEXT, source TEXT NOT NULL,
    creator TEXT, post TEXT, generator TEXT, series TEXT,
    problem TEXT,                     -- why the last edit cannot be read; the rest is from before it
    PRIMARY KEY (folder, name)
);
CREATE INDEX metadata_by_stem ON metadata (stem);
CREATE INDEX metadata_by_sha256 ON metadata (sha256);
CREATE INDEX metadata_by_image ON metadata (image);
CREATE INDEX metadata_by_source ON metadata (source);
CREATE INDEX metadata_by_generator ON metadata (generator) WHERE generator IS NOT NULL;
CREATE INDEX metadata_problems ON metadata (problem) WHERE problem IS NOT NULL;
CREATE TABLE bands (                  -- handlers/index/phash.py
    band INTEGER NOT NULL, value INTEGER NOT NULL, sample INTEGER NOT NULL,  -- samples.key
    PRIMARY KEY (band, value, sample)
) WITHOUT ROWID;
CREATE TABLE conflicts (              -- near-duplicates under different labels, in both directions
    sample TEXT NOT NULL, other TEXT NOT NULL, PRIMARY KEY (sample, other)
) WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
    + _counting("files", CLASS_OF_FILE)
    + _counting("samples", CLASS_OF_SAMPLE)
)


class ForeignIndexError(SkipItemError):
    """A database, but not one that this version made."""


def open_index(file: Path) -> sqlite3.Connection:
    """A usable index at `file`: the one that is there, or a new one after setting aside what cannot be used."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        _create(file)
    try:
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
    return connection


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last commits, never consistency
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise ForeignIndexError(f"not our index, or of another version ({application:#x}, {version})")
    except BaseException:
        connection.close()
        raise
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
