"""Files that are not used, in pages by kind: each in the order of an index, so that any page costs the same."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from typing import Any

from handlers.index.packing import FOLDER, NAME, OTHER_FOLDER, OTHER_NAME, PATH, SHA256
from handlers.index.picture_pages import decode_cursor, encode_cursor
from handlers.paths import join

LIMIT = 100
NEWEST = 2**63 - 1  # greater than any key


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
        f"SELECT key, {PATH}, name, coalesce(reason, '') FROM files f INDEXED BY files_by_state"  # noqa: S608
        " WHERE state IN ('rejected', 'unreadable') AND state = ? AND key < ? AND gone IS NULL"
        " ORDER BY key DESC LIMIT ?",
        (state, before, LIMIT + 1),
    ).fetchall()
    return _page(rows)


def _notes(db: sqlite3.Connection, before: int) -> ProblemPage:
    """Remarks on pictures that count; the last that came first."""
    rows = db.execute(
        f"SELECT f.key, {PATH}, f.name, f.reason, {SHA256} FROM files f INDEXED BY files_noted"  # noqa: S608
        " JOIN samples s ON s.key = f.sample WHERE f.state = 'good' AND f.reason IS NOT NULL AND f.key < ?"
        " AND f.gone IS NULL ORDER BY f.key DESC LIMIT ?",
        (before, LIMIT + 1),
    ).fetchall()
    return _page(rows)


def _page(rows: list[tuple[Any, ...]]) -> ProblemPage:
    """Of rows that begin with key, folder, name, reason, and may go on with the picture's SHA-256."""
    shown = [FileProblem(os.fsdecode(join(row[1], row[2])), row[3], *row[4:]) for row in rows[:LIMIT]]
    return ProblemPage(shown, encode_cursor(str(rows[LIMIT - 1][0]), "") if len(rows) > LIMIT else "")


def _broken_metadata(db: sqlite3.Connection) -> list[FileProblem]:
    rows = db.execute(
        f"SELECT {PATH}, f.name, m.problem FROM metadata m INDEXED BY metadata_problems"  # noqa: S608
        " CROSS JOIN files f WHERE m.problem IS NOT NULL AND f.key = m.file LIMIT ?",
        (LIMIT,),
    )
    return [FileProblem(os.fsdecode(join(folder, name)), problem) for folder, name, problem in rows]


def _duplicates(db: sqlite3.Connection, after: str) -> ProblemPage:
    """By sample: the index of files by sample tells which has more than one."""
    samples = db.execute(
        "SELECT sample FROM files WHERE sample > ? AND gone IS NULL GROUP BY sample HAVING count(*) > 1 LIMIT ?",
        (int(after) if after.isdecimal() else 0, LIMIT // 2 + 1),
    ).fetchall()
    found = []
    for (sample,) in samples[: LIMIT // 2]:
        for folder, name, first, first_name, sha256 in db.execute(
            f"SELECT {PATH}, f.name, {FOLDER}, {NAME}, {SHA256} FROM files f JOIN samples s ON s.key = f.sample"  # noqa: S608
            " WHERE f.sample = ? AND f.gone IS NULL AND s.clash = 0 AND f.key != s.file ORDER BY 1, 2 LIMIT ?",
            (sample, LIMIT),
        ):
            reason = f"has the same bytes as {os.fsdecode(join(first, first_name))}"
            found.append(FileProblem(os.fsdecode(join(folder, name)), reason, sha256))
    more = len(samples) > LIMIT // 2
    return ProblemPage(found, encode_cursor(str(samples[LIMIT // 2 - 1][0]), "") if more else "")


def _conflicts(db: sqlite3.Connection, after: list[str], is_paired: bool) -> ProblemPage:
    """Contradictions in one picture first, then near-duplicates under different labels."""
    first = (
        []
        if after != ["", ""]
        else db.execute(
            f"SELECT {FOLDER}, {NAME}, 'the same bytes are under both labels', {SHA256} FROM samples s"  # noqa: S608
            " WHERE label IS NULL AND clash = 1 AND folder IS NOT NULL ORDER BY s.folder, s.key LIMIT ?",
            (LIMIT,),
        ).fetchall()
    )
    by_hand = "" if not is_paired else " AND 'source' IN (s.label_source, o.label_source)"
    rows = db.execute(
        f"SELECT {FOLDER}, {NAME}, s.label, {OTHER_FOLDER}, {OTHER_NAME}, o.label, {SHA256}, c.sample, c.other"  # noqa: S608
        " FROM conflicts c CROSS JOIN samples s CROSS JOIN samples o WHERE s.key = c.sample AND o.key = c.other"
        f" AND (c.sample, c.other) > (?, ?) AND s.folder IS NOT NULL AND o.folder IS NOT NULL{by_hand}"
        " ORDER BY c.sample, c.other LIMIT ?",
        (*(int(key) if key.isdecimal() else 0 for key in after), LIMIT + 1),
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
    return ProblemPage(found, encode_cursor(*map(str, rows[LIMIT - 1][7:])) if len(rows) > LIMIT else "")
