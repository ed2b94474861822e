"""Files that are not used, in pages by kind: each in the order of an index, so that any page costs the same."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import Any

from handlers.index.picture_pages import decode_cursor, encode_cursor
from handlers.paths import join

LIMIT = 100
NEWEST = 2**63 - 1  # greater than any rowid


@dataclass(frozen=True, slots=True)
class FileProblem:
    """`sha256` where the file is a picture of the index."""

    path: str
    reason: str
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ProblemPage:
    problems: list[FileProblem]
    next: str = ""


def read_problems(db: sqlite3.Connection, kind: str, cursor: str, *, is_paired: bool) -> ProblemPage:
    """`kind` is rejected, conflict, duplicate, unreadable or note. A cursor that is not ours gives the first page."""
    after = decode_cursor(cursor, 2) or ["", ""]
    if kind in ("rejected", "unreadable"):
        page = _files(db, kind, int(after[0]) if after[0].isdecimal() else NEWEST)
        return page if kind == "rejected" or cursor else ProblemPage(page.problems + _broken_metadata(db), page.next)
    if kind == "note":
        return _notes(db, int(after[0]) if after[0].isdecimal() else NEWEST)
    if kind == "duplicate":
        return _duplicates(db, after[0])
    return _conflicts(db, after, is_paired)


def _files(db: sqlite3.Connection, state: str, before: int) -> ProblemPage:
    """The last that came first."""
    rows = db.execute(
        # the IN is that of the partial index, which SQLite takes only where it finds the same term
        "SELECT rowid, folder, name, coalesce(reason, '') FROM files INDEXED BY files_by_state"
        " WHERE state IN ('rejected', 'unreadable') AND state = ? AND rowid < ? AND gone IS NULL"
        " ORDER BY rowid DESC LIMIT ?",
        (state, before, LIMIT + 1),
    ).fetchall()
    return _page(rows)


def _notes(db: sqlite3.Connection, before: int) -> ProblemPage:
    """Remarks on pictures that count; the last that came first."""
    rows = db.execute(
        "SELECT f.rowid, f.folder, f.name, f.reason, s.sha256 FROM files f INDEXED BY files_noted"
        " JOIN samples s ON s.id = f.sample WHERE f.state = 'good' AND f.reason IS NOT NULL AND f.rowid < ?"
        " AND f.gone IS NULL ORDER BY f.rowid DESC LIMIT ?",
        (before, LIMIT + 1),
    ).fetchall()
    return _page(rows)


def _page(rows: list[tuple[Any, ...]]) -> ProblemPage:
    """Of rows that begin with rowid, folder, name, reason, and may go on with the picture's SHA-256."""
    shown = [FileProblem(os.fsdecode(join(row[1], row[2])), row[3], *row[4:]) for row in rows[:LIMIT]]
    return ProblemPage(shown, encode_cursor(str(rows[LIMIT - 1][0]), "") if len(rows) > LIMIT else "")


def _broken_metadata(db: sqlite3.Connection) -> list[FileProblem]:
    rows = db.execute(
        "SELECT folder, name, problem FROM metadata INDEXED BY metadata_problems WHERE problem IS NOT NULL LIMIT ?",
        (LIMIT,),
    )
    return [FileProblem(os.fsdecode(join(folder, name)), problem) for folder, name, problem in rows]


def _duplicates(db: sqlite3.Connection, after: str) -> ProblemPage:
    """By sample: the index of files by sample tells which has more than one."""
    samples = db.execute(
        "SELECT sample FROM files WHERE sample > ? AND gone IS NULL GROUP BY sample HAVING count(*) > 1 LIMIT ?",
        (after, LIMIT // 2 + 1),
    ).fetchall()
    found = []
    for (sample,) in samples[: LIMIT // 2]:
        for folder, name, first, first_name, sha256 in db.execute(
            "SELECT f.folder, f.name, s.folder, s.name, s.sha256 FROM files f JOIN samples s ON s.id = f.sample"
            " WHERE f.sample = ? AND f.gone IS NULL AND s.clash = 0 AND (f.folder != s.folder OR f.name != s.name)"
            " ORDER BY f.folder, f.name LIMIT ?",
            (sample, LIMIT),
        ):
            reason = f"has the same bytes as {os.fsdecode(join(first, first_name))}"
            found.append(FileProblem(os.fsdecode(join(folder, name)), reason, sha256))
    more = len(samples) > LIMIT // 2
    return ProblemPage(found, encode_cursor(samples[LIMIT // 2 - 1][0], "") if more else "")


def _conflicts(db: sqlite3.Connection, after: list[str], is_paired: bool) -> ProblemPage:
    """Contradictions in one picture first, then near-duplicates under different labels."""
    first = (
        []
        if after != ["", ""]
        else db.execute(
            "SELECT folder, name, 'the same bytes are under both labels', sha256 FROM samples"
            " WHERE label IS NULL AND clash = 1 AND folder IS NOT NULL ORDER BY folder, name LIMIT ?",
            (LIMIT,),
        ).fetchall()
    )
    by_hand = "" if not is_paired else " AND 'source' IN (s.label_source, o.label_source)"
    rows = db.execute(
        "SELECT s.folder, s.name, s.label, o.folder, o.name, o.label, s.sha256, c.sample, c.other FROM conflicts c"  # noqa: S608
        " CROSS JOIN samples s CROSS JOIN samples o WHERE s.id = c.sample AND o.id = c.other"
        f" AND (c.sample, c.other) > (?, ?) AND s.folder IS NOT NULL AND o.folder IS NOT NULL{by_hand}"
        " ORDER BY c.sample, c.other LIMIT ?",
        (*after, LIMIT + 1),
    ).fetchall()
    found = [FileProblem(os.fsdecode(join(folder, name)), reason, sha256) for folder, name, reason, sha256 in first]
    found += [
        FileProblem(
            os.fsdecode(join(folder, name)),
            f"is {label}, and {os.fsdecode(join(other, other_name))} shows the same picture and is {other_label}",
            sha256,
        )
        for folder, name, label, other, other_name, other_label, sha256, *_ in rows[:LIMIT]
    ]
    return ProblemPage(found, encode_cursor(*rows[LIMIT - 1][7:]) if len(rows) > LIMIT else "")
