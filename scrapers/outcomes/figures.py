"""What each source gave and was refused so far, for people. Reads scrape.sqlite, changes nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from scrapers.store.schema import open_read_only
from utils.clock import to_iso

NOT_TAKEN = ("filtered", "refused", "failed", "duplicate")
SHOWN_REASONS = 8


@dataclass(frozen=True, slots=True)
class Quota:
    """What a source has said of its limits; `resets` is an ISO time."""

    window: str
    quota: int | None
    remaining: int | None
    resets: str | None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why so many pictures were not taken; `state` is filtered, refused, failed or duplicate."""

    state: str
    why: str
    number: int


@dataclass(slots=True)
class SourceFigures:
    stored: int = 0
    quotas: list[Quota] = field(default_factory=list)
    refused: list[Reason] = field(default_factory=list)  # the most frequent first


def source_figures(state_path: Path) -> dict[str, SourceFigures]:
    """By source; empty when nothing was ever collected."""
    try:
        connection = open_read_only(state_path)
        if connection is None:
            return {}
        with contextlib.closing(connection):
            return _read(connection)
    except sqlite3.Error:  # being made by the first run, or damaged: the run itself will say so
        return {}


def _read(db: sqlite3.Connection) -> dict[str, SourceFigures]:
    found: dict[str, SourceFigures] = {}
    for source, state, why, number in _rows(
        db, "SELECT source, state, why, count(*) FROM items GROUP BY source, state, why ORDER BY count(*) DESC"
    ):
        figures = found.setdefault(str(source), SourceFigures())
        if state == "stored":
            figures.stored += number
        elif state in NOT_TAKEN and len(figures.refused) < SHOWN_REASONS:
            figures.refused.append(Reason(str(state), str(why), number))
    for source, window, quota, remaining, resets in _rows(
        db, "SELECT source, window, quota, remaining, resets FROM quotas ORDER BY source, window"
    ):
        until = to_iso(datetime.fromtimestamp(resets, UTC)) if resets is not None else None
        found.setdefault(str(source), SourceFigures()).quotas.append(Quota(window, quota, remaining, until))
    return found


def _rows(db: sqlite3.Connection, query: str) -> Sequence[sqlite3.Row]:
    return db.execute(query).fetchall()
