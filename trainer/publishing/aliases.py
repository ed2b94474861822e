"""Which version is in service: `models/aliases.json`, and a copy of it that takes over when the file is damaged.

Nothing else tells what was promoted or rolled back, and the serial must never go back: followers refuse a lower one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from trainer.publishing.registry_files import Entry, moment_of, name_of
from utils.clock import to_iso
from utils.errors import OperatorError
from utils.files import write_json_atomically

ALIASES_FILE = "aliases.json"
COPY_FILE = ".aliases.json"
LOST_MOVES = 1  # that the copy may not know of: a crash comes between two writes


@dataclass(frozen=True, slots=True)
class Aliases:
    """`serial` grows with every publish, promotion and roll-back, whatever the aliases name, and so does `since`, the
    time at which the champion was put in service (ISO 8601 UTC; None: not known, as in an older file)."""

    serial: int = 0
    champion: str | None = None
    previous: str | None = None
    since: str | None = None

    def moved_to(self, name: str, at: datetime) -> Aliases:
        """`at` is the time of the move; the next second, where it is not later than the last one (see `since`)."""
        previous = self.previous if name == self.champion else self.champion
        last = moment_of(self.since)
        since = at if last is None else max(at, last + timedelta(seconds=1))
        return Aliases(self.serial + 1, name, previous, to_iso(since))


def read_aliases(models: Path, entries: list[Entry]) -> Aliases:
    """Without the file, the newest version is in service. Raises OperatorError when it cannot be read."""
    file = models / ALIASES_FILE
    try:
        return _parse(file, entries)
    except FileNotFoundError:
        return _newest(models, entries)
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"{file}: cannot be read ({error}); restore it, or remove it: the newest version is then in service"
        ) from error


def write_aliases(models: Path, aliases: Aliases) -> None:
    for name in (ALIASES_FILE, COPY_FILE):
        write_json_atomically(models / name, asdict(aliases))


def complete_copy(models: Path, entries: list[Entry]) -> None:
    """Make the copy where it is missing or behind: of an earlier version of this program, or after a crash."""
    file = models / ALIASES_FILE
    if file.exists() and (aliases := read_aliases(models, entries)) != _read_copy(models, entries):
        write_json_atomically(models / COPY_FILE, asdict(aliases))


def repair_aliases(models: Path, entries: list[Entry], aside: Path) -> bool:
    """From the copy, with the damaged file moved to `aside`; false when the copy is of no use, too.

    Raises OSError when the file is there and cannot be opened: that is no damage.
    """
    file = models / ALIASES_FILE
    copy = _read_copy(models, entries)
    if copy is None:
        return False
    file.read_bytes()
    file.replace(aside)
    write_aliases(models, replace(copy, serial=_next_serial(copy, entries)))
    return True


def _parse(file: Path, entries: list[Entry]) -> Aliases:
    """Raises FileNotFoundError, another OSError, or ValueError when it is not what it must be."""
    raw: Any = json.loads(file.read_text(encoding="utf-8"))
    try:
        serial, champion, previous, since = raw["serial"], raw["champion"], raw["previous"], raw.get("since")
        since = since or max((str(entry.get("timestamp", "")) for entry in entries), default=None)
        are_texts = all(isinstance(text, str | None) for text in (champion, previous, since))
        if isinstance(serial, bool) or not isinstance(serial, int) or not are_texts:
            raise ValueError("a number and names are expected")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return Aliases(serial, champion, previous, since or None)


def _newest(models: Path, entries: list[Entry]) -> Aliases:
    newest = [name_of(entry) for entry in entries[-2:]]
    copy = _read_copy(models, entries)
    serial = _next_serial(copy, entries) if copy else _published_serial(entries) or len(entries)
    champion, previous = newest[-1] if newest else None, newest[0] if len(newest) == 2 else None
    return Aliases(serial, champion, previous, entries[-1].get("timestamp") if entries else None)


def _read_copy(models: Path, entries: list[Entry]) -> Aliases | None:
    try:
        return _parse(models / COPY_FILE, entries)
    except (OSError, ValueError):
        return None


def _next_serial(copy: Aliases, entries: list[Entry]) -> int:
    """Above all that were ever in service."""
    return max(copy.serial + LOST_MOVES, _published_serial(entries)) + 1


def _published_serial(entries: list[Entry]) -> int:
    return max((int(entry.get("serial", 0)) for entry in entries), default=0)
