"""The tables of scrape.sqlite: what is known about items, crawls, quotas and rests. Owned by this folder."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from utils.errors import OperatorError
from utils.sqlite_files import closed_on_error, is_broken

DATABASE_FILE = "scrape.sqlite"
SCHEMA_VERSION = 2
BUSY_SECONDS = 30.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    row INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    source_id TEXT NOT NULL,
    query TEXT NOT NULL,           -- the crawl that found it
    state TEXT NOT NULL,           -- queued, placing, stored, duplicate, filtered, refused, failed
    why TEXT NOT NULL DEFAULT '',  -- slug of the reason
    again INTEGER NOT NULL DEFAULT 0,  -- failed: worth another attempt in a later run
    tries INTEGER NOT NULL DEFAULT 0,
    run_id TEXT NOT NULL DEFAULT '',   -- the run that decided the state
    sample_id TEXT NOT NULL DEFAULT '',
    tracked INTEGER NOT NULL DEFAULT 0,
    url_key TEXT,
    creator TEXT,
    label TEXT,
    sha256 TEXT,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    day TEXT,                      -- UTC day on which it was stored
    candidate TEXT,                -- JSON, until the item is decided for good
    basis TEXT NOT NULL DEFAULT '',  -- what the decision depends on (outcomes/reasons.py); another basis: asked again
    generator TEXT,                -- what made a generated picture
    path TEXT,                     -- of the image, relative to the data folder
    meta_path TEXT,
    metadata TEXT,                 -- JSON, only while placing: the journal of a half-done store
    UNIQUE (source, source_id)
) STRICT;
CREATE INDEX IF NOT EXISTS items_queue ON items (source, query, row) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS items_open ON items (source, state) WHERE state IN ('placing', 'failed');
CREATE INDEX IF NOT EXISTS items_sha256 ON items (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX IF NOT EXISTS items_url ON items (url_key) WHERE url_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS items_creator ON items (source, creator) WHERE state = 'stored';
CREATE INDEX IF NOT EXISTS items_run ON items (run_id, source, query, state, why);
CREATE INDEX IF NOT EXISTS items_kept ON items (source, label, day, size_bytes) WHERE state = 'stored';
CREATE INDEX IF NOT EXISTS items_mix ON items (label, source, generator) WHERE state = 'stored';
CREATE INDEX IF NOT EXISTS items_basis ON items (source, basis) WHERE basis != '';

CREATE TABLE IF NOT EXISTS crawls (
    source TEXT NOT NULL,
    query TEXT NOT NULL,
    kind TEXT NOT NULL,            -- head (newest first, until what is known) or backfill
    cursor TEXT,
    active INTEGER NOT NULL,       -- 0: has come to its end
    ended TEXT NOT NULL DEFAULT '',
    idle_pages INTEGER NOT NULL DEFAULT 0,  -- pages in a row without a new id
    pages INTEGER NOT NULL DEFAULT 0,
    patience INTEGER NOT NULL DEFAULT 0,    -- idle pages that are expected: what a restarted crawl has seen before
    restarts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,    -- runs in a row in which the page at the cursor could not be read
    skipped INTEGER NOT NULL DEFAULT 0,     -- pages skipped in a row because they could not be read
    etag TEXT,                     -- of the newest page, on the head crawl's row
    updated REAL NOT NULL,
    PRIMARY KEY (source, query, kind)
) STRICT;
CREATE TABLE IF NOT EXISTS cursors (
    source TEXT NOT NULL, query TEXT NOT NULL, kind TEXT NOT NULL, cursor TEXT NOT NULL,
    PRIMARY KEY (source, query, kind, cursor)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS calls (source TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS calls_source ON calls (source, at);
CREATE TABLE IF NOT EXISTS quotas (
    source TEXT NOT NULL, window TEXT NOT NULL, quota INTEGER, remaining INTEGER, resets REAL, updated REAL NOT NULL,
    PRIMARY KEY (source, window)
) STRICT;
CREATE TABLE IF NOT EXISTS sources (
    source TEXT PRIMARY KEY, parked_until REAL, reason TEXT NOT NULL DEFAULT '',
    last_run REAL, last_state TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',
    outcome TEXT,                            -- JSON: what came of the last run's candidates (outcomes/outcome.py)
    empty_runs INTEGER NOT NULL DEFAULT 0,   -- runs in a row that were offered candidates and stored none
    rules INTEGER NOT NULL DEFAULT 1         -- the revision of the source's rules that the items were read by
) STRICT;
CREATE TABLE IF NOT EXISTS totals (          -- candidates of all runs by what came of them, for counters
    source TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (source, outcome, reason)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tombstones (
    source TEXT NOT NULL, source_id TEXT, creator TEXT, sha256 TEXT, reason TEXT NOT NULL, at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS tombstones_id ON tombstones (source, source_id);
CREATE INDEX IF NOT EXISTS tombstones_creator ON tombstones (source, creator);
CREATE INDEX IF NOT EXISTS tombstones_sha256 ON tombstones (sha256);
"""

# from version 1, before the tables are made and after
WALKS_ARE_CRAWLS = """
DROP TABLE IF EXISTS crawls;
ALTER TABLE walks RENAME TO crawls;
ALTER TABLE crawls ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE crawls ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;
"""
COLUMNS_SINCE_1 = """
ALTER TABLE items ADD COLUMN basis TEXT NOT NULL DEFAULT '';
ALTER TABLE items ADD COLUMN generator TEXT;
ALTER TABLE sources ADD COLUMN outcome TEXT;
ALTER TABLE sources ADD COLUMN empty_runs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sources ADD COLUMN rules INTEGER NOT NULL DEFAULT 1;
"""
# verdicts that depended on settings were kept without what a second look needs: they are forgotten, and their sources
# crawled again from the newest page
FORGET_VERDICTS_OF_1 = """
CREATE TEMP TABLE outdated AS SELECT row, source FROM items
    WHERE state IN ('refused', 'filtered') AND candidate IS NULL AND why IN (
        'host_not_allowed', 'not_https', 'bad_url', 'private_address', 'redirects', 'too_large', 'too_small',
        'too_many_pixels', 'decode', 'gif', 'not_an_image', 'creator_cap');
DELETE FROM crawls WHERE source IN (SELECT source FROM outdated);
DELETE FROM cursors WHERE source IN (SELECT source FROM outdated);
DELETE FROM items WHERE row IN (SELECT row FROM outdated);
DROP TABLE outdated;
"""


def open_database(state_path: Path) -> sqlite3.Connection:
    """The database, made when missing. Transactions are explicit; FULL, so that a power cut loses nothing.

    Raises OperatorError when it is damaged: begun anew, it would collect again what was deleted on request.
    """
    state_path.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        state_path / DATABASE_FILE, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        with closed_on_error(connection):
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            before, after = _upgrade(connection)
            header = f"PRAGMA user_version = {SCHEMA_VERSION};"
            connection.executescript(f"BEGIN IMMEDIATE;{before}{SCHEMA};{after}{header}COMMIT;")
            _read_some(connection)
    except sqlite3.DatabaseError as error:
        if is_broken(error):
            raise OperatorError(_advice(state_path / DATABASE_FILE, error)) from error
        raise
    return connection


def find_damage(state_path: Path) -> str:
    """Why the database cannot be used and what helps; empty when it can, or is not there, or is in use."""
    try:
        connection = open_read_only(state_path)
        if connection is not None:
            with contextlib.closing(connection):
                if connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION:
                    _read_some(connection)
    except sqlite3.Error as error:
        if is_broken(error):
            return _advice(state_path / DATABASE_FILE, error)
    return ""


def _read_some(connection: sqlite3.Connection) -> None:
    """Of what a run begins with, and of what must not be lost: damage shows. All would take long."""
    for query in (
        "SELECT count(*), max(message) FROM sources",
        "SELECT count(*), max(at) FROM tombstones",
        "SELECT count(*), max(cursor) FROM crawls",
        "SELECT max(row) FROM items",
    ):
        connection.execute(query).fetchone()


def _advice(file: Path, error: Exception) -> str:
    return (
        f"{file}: is damaged ({error}); nothing is collected until you restore it from a backup. Without one, move it"
        " away: sources are then searched from the start, pictures that are there are known again by their content, and"
        " what was deleted with `exposr-trainer forget` has to be named again"
    )


def _upgrade(connection: sqlite3.Connection) -> tuple[str, str]:
    """What turns an older database into this one, before and after the tables are made."""
    if connection.execute("PRAGMA user_version").fetchone()[0] != 1:
        return "", ""
    has_walks = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'walks'").fetchone()
    crawls = WALKS_ARE_CRAWLS if has_walks else "DROP TABLE IF EXISTS crawls;"
    return crawls + COLUMNS_SINCE_1, FORGET_VERDICTS_OF_1


def open_read_only(state_path: Path) -> sqlite3.Connection | None:
    """The database for looking only; None when nothing was ever collected."""
    file = state_path / DATABASE_FILE
    if not file.is_file():
        return None
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True, isolation_level=None
    )
    connection.row_factory = sqlite3.Row
    return connection
