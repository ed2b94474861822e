"""The index file: its tables, and opening it. A cache: when something is wrong, it is made anew."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from utils.logs import get_logger

log = get_logger(__name__)

INDEX_FILE = "index.sqlite"
APPLICATION_ID = 0x45585053  # "EXPS": tells our file from somebody else's
SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0
SIDE_FILES = ("-wal", "-shm")

TABLES = """
CREATE TABLE files (                  -- every tracked file: pictures, what was rejected, metadata
    folder BLOB NOT NULL, name BLOB NOT NULL,
    device INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('good', 'rejected', 'unreadable', 'metadata')),
    reason TEXT, sample TEXT, seen REAL NOT NULL,
    gone REAL,                        -- unix time at which a scan missed it; HELD: its file system is not there
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE INDEX files_by_sample ON files (sample, gone) WHERE sample IS NOT NULL;
CREATE INDEX files_by_inode ON files (inode);
CREATE INDEX files_by_state ON files (state) WHERE state IN ('rejected', 'unreadable');
CREATE INDEX files_gone ON files (gone) WHERE gone IS NOT NULL;
CREATE TABLE samples (                -- one for each different content; folder and name: the file that stands for it
    id TEXT PRIMARY KEY, sha256 TEXT NOT NULL UNIQUE,
    folder BLOB, name BLOB,           -- null while no file of it is there
    size_bytes INTEGER NOT NULL, format TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    phash TEXT, thumb BLOB, has_exif INTEGER NOT NULL,
    label TEXT, label_source TEXT, clash INTEGER NOT NULL DEFAULT 0, added TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX samples_by_label ON samples (label, clash, folder);
CREATE TABLE metadata (               -- what the files of meta/ say
    folder BLOB NOT NULL, name BLOB NOT NULL, stem TEXT NOT NULL,
    sha256 TEXT NOT NULL, image BLOB NOT NULL, label TEXT, label_source TEXT, source TEXT NOT NULL,
    creator TEXT, post TEXT, generator TEXT,
    problem TEXT,                     -- why the last edit cannot be read; the rest is from before it
    PRIMARY KEY (folder, name)
) WITHOUT ROWID;
CREATE INDEX metadata_by_stem ON metadata (stem);
CREATE INDEX metadata_by_sha256 ON metadata (sha256);
CREATE INDEX metadata_by_image ON metadata (image);
CREATE INDEX metadata_problems ON metadata (problem) WHERE problem IS NOT NULL;
CREATE TABLE bands (                  -- handlers/near.py
    band INTEGER NOT NULL, value INTEGER NOT NULL, sample TEXT NOT NULL,
    PRIMARY KEY (band, value, sample)
) WITHOUT ROWID;
CREATE TABLE conflicts (              -- near-duplicates under different labels, in both directions
    sample TEXT NOT NULL, other TEXT NOT NULL, PRIMARY KEY (sample, other)
) WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


def open_index(file: Path) -> sqlite3.Connection:
    """A usable index at `file`: the one that is there, or a new one after setting aside what cannot be used."""
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connect(file)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise  # another process holds it; it is not broken
        reason = str(error)
    except sqlite3.DatabaseError as error:
        reason = str(error)
    log.warning("index_set_aside", file=str(file), reason=reason, kept_as=str(set_aside(file)))
    return _connect(file)


def set_aside(file: Path) -> Path:
    """Move a broken or foreign index out of the way; the one set aside before it is replaced."""
    aside = file.with_name(f"{file.name}.set-aside")
    with contextlib.suppress(FileNotFoundError):
        file.replace(aside)
    remove_side_files(file)
    return aside


def remove_side_files(file: Path) -> None:
    for suffix in SIDE_FILES:
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def connect_reader(file: Path) -> sqlite3.Connection:
    """A read-only connection beside the owner's; raises sqlite3.OperationalError when there is no index."""
    connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last commits, never consistency
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0:
            _create(connection)
        elif (application, version) != (APPLICATION_ID, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"not our index, or of another version ({application:#x}, {version})")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    header = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    connection.executescript("BEGIN;" + TABLES + header + "COMMIT;")
