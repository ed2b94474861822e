"""What two or more owners of a SQLite file do alike: tell damage from what passes, and set a damaged file aside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from utils.files import set_aside_name
from utils.logs import get_logger

log = get_logger(__name__)

Opened = TypeVar("Opened")
SIDE_FILES = ("-wal", "-shm", "-journal")

# what passes, or what an operator has to end; any other error means that the file is not what we made
PASSING = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_INTERRUPT),
    }
)


def is_broken(error: Exception) -> bool:
    """Whether the file is damaged or foreign. Full disks, locks and permissions are no damage."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.DatabaseError) and code is not None and code & 0xFF not in PASSING


def set_aside(file: Path) -> Path:
    """Move a damaged or foreign file out of the way; the one set aside before it is replaced."""
    aside = set_aside_name(file)
    with contextlib.suppress(FileNotFoundError):
        file.replace(aside)
    remove_side_files(file)
    return aside


@contextlib.contextmanager
def closed_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """For what prepares a new connection: it stays open for its owner unless that fails."""
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


def open_or_replace(file: Path, open_file: Callable[[], Opened]) -> Opened:
    """What `open_file` makes of `file`; a damaged or foreign file is set aside, and a new one opened."""
    try:
        return open_file()
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            raise
        log.error("state_set_aside", file=str(file), reason=str(error), kept_as=str(set_aside(file)))
        return open_file()


def remove_side_files(file: Path) -> None:
    for suffix in SIDE_FILES:
        file.with_name(file.name + suffix).unlink(missing_ok=True)
