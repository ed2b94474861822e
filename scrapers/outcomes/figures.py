"""What each source gave and was refused so far, for people. Reads scrape.sqlite, changes nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from scrapers.outcomes.reasons import explain, remedy_for
from scrapers.store.schema import open_read_only
from utils.clock import to_iso

TAKEN = ("stored", "known")  # what of a candidate is no reason to look at it
SHOWN_REASONS = 8


@dataclass(frozen=True, slots=True)
class Quota:
    """What a source has said of its limits; `resets` is an ISO time."""

    window: str
    quota: int | None
    remaining: int | None
    resets: str | None


@dataclass(frozen=True, slots=True)
class NotTaken:
    """What came of so many candidates, why in words, and what to do; the last two may be empty."""

    outcome: str
    why: str
    remedy: str
    number: int


@dataclass(slots=True)
class SourceFigures:
    stored: int = 0
    quotas: list[Quota] = field(default_factory=list)
    refused: list[NotTaken] = field(default_factory=list)  # the most frequent first


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
    totals = "SELECT source, outcome, reason, count FROM totals ORDER BY count DESC"
    for source, outcome, reason, number in _rows(db, totals):
        figures = found.setdefault(str(source), SourceFigures())
        if outcome == "stored":
            figures.stored += number
        elif outcome not in TAKEN and len(figures.refused) < SHOWN_REASONS:
            figures.refused.append(NotTaken(outcome, explain(reason), remedy_for(reason, source), number))
    for source, window, quota, remaining, resets in _rows(
        db, "SELECT source, window, quota, remaining, resets FROM quotas ORDER BY source, window"
    ):
        until = to_iso(datetime.fromtimestamp(resets, UTC)) if resets is not None else None
        found.setdefault(str(source), SourceFigures()).quotas.append(Quota(window, quota, remaining, until))
    return found


def _rows(db: sqlite3.Connection, query: str) -> Sequence[sqlite3.Row]:
    return db.execute(query).fetchall()
