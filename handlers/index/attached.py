"""Other parts' databases beside the index, for whoever looks at pictures: read-only, and only where they are sound."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from utils.logs import get_logger

log = get_logger(__name__)

NEEDED = {  # what the queries of this folder and of the console ask of each
    "split": ("SELECT sha256, place FROM split.samples LIMIT 1",),
    "opinions": (
        "SELECT sha256, label, probability, doubt, how FROM opinions.predictions LIMIT 1",
        "SELECT version FROM opinions.about",
    ),
    "field": ("SELECT sha256, verdict, received FROM field.reports LIMIT 1",),
}

_judged: dict[str, tuple[os.stat_result, bool]] = {}  # of each name: the file when it was looked at, and the finding


@contextlib.contextmanager
def attached(db: sqlite3.Connection, name: str, file: Path) -> Iterator[bool]:
    """`file` as `name` (a key of NEEDED); false when there is no such database, or a damaged one."""
    try:
        status = file.stat()
        db.execute("ATTACH ? AS " + name, (f"{file.absolute().as_uri()}?mode=ro",))
    except (OSError, sqlite3.Error):
        yield False
        return
    try:
        yield _is_sound(db, name, file, status)
    finally:
        db.execute("DETACH " + name)


def _is_sound(db: sqlite3.Connection, name: str, file: Path, status: os.stat_result) -> bool:
    """Reads the whole file once for each of its states."""
    before = _judged.get(name)
    if before is not None and _same(before[0], status):
        return before[1]
    try:
        for query in NEEDED[name]:
            db.execute(query).fetchone()
        ((finding,),) = db.execute(f"PRAGMA {name}.quick_check(1)").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        finding = str(error)
    except sqlite3.DatabaseError as error:
        finding = str(error)
    is_sound = bool(finding == "ok")
    if not is_sound:
        log.error("state_not_readable", file=str(file), reason=finding)
    _judged[name] = (status, is_sound)
    return is_sound


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_mtime_ns, one.st_size) == (
        *(other.st_dev, other.st_ino, other.st_mtime_ns, other.st_size),
    )
