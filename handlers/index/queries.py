"""Questions to the index, over any connection to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator

from handlers.index.phash import bands, hamming, is_near
from handlers.index.rows import Counts, KnownSample, Problem
from handlers.labels.rules import MANUAL, source_of_place
from handlers.paths import folder_label, folder_series, folder_source, join
from utils.metadata import LABELS
from utils.sample import Sample

TWINS_OF_A_PAIRED_SET = 20  # hand-labelled pictures of either label with a near-duplicate under the other, at least
LEFT_OUT = "SELECT sample FROM conflicts"
# near-duplicates of which at least one label comes from a source
LEFT_OUT_OF_PAIRED_SET = (
    "SELECT c.sample FROM conflicts c JOIN samples s ON s.id = c.sample JOIN samples o ON o.id = c.other"
    " WHERE 'source' IN (s.label_source, o.label_source)"
)


class Tally:
    """How many rows there are of each kind, as the triggers of the schema keep it: as quick with a million."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._files: dict[str, int] = {}
        self._samples: dict[tuple[str, str, bool, bool], int] = {}
        self._absent = 0
        for what, number in db.execute("SELECT what, number FROM tally"):
            if what == "none":
                self._absent = number
            elif " " in what:
                label, source, clash, away = what.split(" ")
                self._samples[label, source, clash == "1", away == "1"] = number
            else:
                self._files[what] = number

    def files(self, kind: str) -> int:
        """`file`: pictures that are there; `gone`, `held`: that are missing; `metadata`; `rejected`."""
        return self._files.get(kind, 0)

    def samples(self, label: str | None = None, *, clash: bool | None = None, by_hand: bool = False) -> int:
        """Samples that have a place; `label` is empty for unlabeled, None for any."""
        return sum(
            number
            for (known, source, clashes, _), number in self._samples.items()
            if label in (None, known) and clash in (None, clashes) and not (by_hand and source in ("", "source"))
        )

    def away(self) -> int:
        return sum(number for (*_, away), number in self._samples.items() if away)

    def all_samples(self) -> int:
        return self.samples() + self._absent


def is_paired_set(db: sqlite3.Connection) -> bool:
    """Whether a person has put in pairs on purpose: photographs, and what a generator made of the same photographs.

    One near-duplicate under both labels is a mistake; when half of the hand-labelled pictures of a label have one, it
    is how detectors are trained without content as a shortcut. Such pairs are used, and never split apart.
    """
    twins = dict(
        db.execute(
            "SELECT label, count(*) FROM samples WHERE id IN (SELECT sample FROM conflicts) AND folder IS NOT NULL"
            " AND clash = 0 AND label_source != 'source' GROUP BY label"
        )
    )
    number: int = min(twins.get(label, 0) for label in LABELS)
    if number < TWINS_OF_A_PAIRED_SET:
        return False
    tally = Tally(db)
    return 2 * number >= min(tally.samples(label, clash=False, by_hand=True) for label in LABELS)


def _conflicting(db: sqlite3.Connection) -> str:
    """SELECT of the samples that are left out for a near-duplicate under the other label."""
    return LEFT_OUT_OF_PAIRED_SET if is_paired_set(db) else LEFT_OUT


def count(db: sqlite3.Connection, pending: int = 0) -> Counts:
    """Costs what the conflicts cost, not what the samples do."""
    tally = Tally(db)
    left_out: dict[tuple[str | None, int], int] = {
        (label, clash): number
        for label, clash, number in db.execute(
            f"SELECT label, clash, count(*) FROM samples WHERE id IN ({_conflicting(db)}) AND folder IS NOT NULL"  # noqa: S608
            " GROUP BY label, clash"
        )
    }
    real, generated, unlabeled = (
        tally.samples(label or "", clash=False) - left_out.get((label, 0), 0) for label in (*LABELS, None)
    )
    total = real + generated + unlabeled
    return Counts(
        total=total,
        real=real,
        ai_generated=generated,
        unlabeled=unlabeled,
        duplicates=tally.files("file") - (tally.samples() - tally.away()),
        conflicts=tally.samples() - total,
        rejected=tally.files("rejected"),
        pending=pending,
        away=tally.away(),
    )


def labelled_samples(db: sqlite3.Connection) -> Iterator[Sample]:
    """What may be trained on: labelled, there, and in no conflict."""
    rows = db.execute(
        "SELECT s.folder, s.name, s.id, s.sha256, s.size_bytes, s.label, coalesce(m.source, 'manual') AS source,"  # noqa: S608
        " s.format, s.width, s.height, s.has_exif, s.phash, m.creator, m.post, m.generator, m.series, s.added"
        " FROM samples s LEFT JOIN metadata m ON m.stem = s.id"
        " WHERE s.label IS NOT NULL AND s.clash = 0 AND s.folder IS NOT NULL AND s.away = 0"
        f" AND s.id NOT IN ({_conflicting(db)})"
        " GROUP BY s.id ORDER BY s.sha256"
    )
    columns = [column[0] for column in rows.description[2:]]
    for row in rows:
        values = dict(zip(columns, row[2:], strict=True))
        values["has_exif"] = bool(values["has_exif"])
        path = join(row[0], row[1])
        if values["source"] == MANUAL:  # its metadata may not have been written yet
            values["source"] = source_of_place(path)
        if values["label"] == "ai_generated" == folder_label(path):
            values["generator"] = values["generator"] or folder_source(path)
        values["series"] = values["series"] or folder_series(path)
        yield Sample(path=os.fsdecode(path), **values)


def known_sample(db: sqlite3.Connection, sha256: str) -> KnownSample | None:
    """The sample of these bytes."""
    row = db.execute(
        "SELECT id, sha256, label, label_source FROM samples WHERE sha256 = ? AND folder IS NOT NULL", (sha256,)
    ).fetchone()
    return None if row is None else KnownSample(*row)


def near_samples(db: sqlite3.Connection, phash: str, thumb: bytes, distance: int) -> list[KnownSample]:
    """Samples of nearly the same picture, the nearest first."""
    found: dict[KnownSample, int] = {}
    for number, value in bands(phash, distance):
        rows = db.execute(
            "SELECT s.phash, s.thumb, s.id, s.sha256, s.label, s.label_source FROM bands b CROSS JOIN samples s"
            " WHERE b.band = ? AND b.value = ? AND s.key = b.sample AND s.folder IS NOT NULL",
            (number, value),
        )
        for other, other_thumb, *sample in rows:
            if is_near(phash, other, thumb, other_thumb, distance):
                found[KnownSample(*sample)] = hamming(phash, other)
    return sorted(found, key=lambda sample: (found[sample], sample.id))


def undecided(db: sqlite3.Connection, source: str) -> tuple[int, int]:
    """How many pictures of a source no one has judged yet, and their bytes."""
    number, size_bytes = _row(
        db,
        "SELECT count(*), coalesce(sum(size_bytes), 0) FROM samples WHERE folder IS NOT NULL AND label IS NULL"
        " AND label_source IS NULL AND id IN (SELECT stem FROM metadata WHERE source = ?)",
        (source,),
    )
    return number, size_bytes


def unlabelled_folders(db: sqlite3.Connection, limit: int) -> list[tuple[str, int]]:
    """The folders with most samples that carry no label, and how many."""
    query = (
        "SELECT folder, count(*) AS number FROM samples WHERE label IS NULL AND clash = 0 AND folder IS NOT NULL"
        " GROUP BY folder ORDER BY number DESC, folder LIMIT ?"
    )
    return [(os.fsdecode(folder) or ".", number) for folder, number in db.execute(query, (limit,))]


def list_problems(db: sqlite3.Connection, limit: int) -> list[Problem]:
    """What is not used and why: conflicts first, then unusable files, broken metadata, copies, notes."""
    found: list[Problem] = []
    for problems in (_conflicts(db), _rejections(db), _broken_metadata(db), _duplicates(db), _notes(db)):
        for problem in problems:
            if len(found) >= limit:
                return found
            found.append(problem)
    return found


def held_files(db: sqlite3.Connection) -> int:
    """Files whose file system is away."""
    return Tally(db).files("held")


def _conflicts(db: sqlite3.Connection) -> Iterator[Problem]:
    for (sample,) in db.execute("SELECT id FROM samples WHERE clash = 1 AND folder IS NOT NULL"):
        for folder, name in db.execute(
            "SELECT folder, name FROM files WHERE sample = ? AND gone IS NULL ORDER BY folder, name", (sample,)
        ):
            yield _problem(folder, name, "conflict", "the same bytes are under both labels")
    for folder, name, label, other_folder, other_name, other_label in db.execute(
        "SELECT s.folder, s.name, s.label, o.folder, o.name, o.label FROM conflicts c JOIN samples s ON s.id = c.sample"
        " JOIN samples o ON o.id = c.other"
        " WHERE s.folder IS NOT NULL AND o.folder IS NOT NULL AND (? OR 'source' IN (s.label_source, o.label_source))"
        " ORDER BY s.folder, s.name",
        (not is_paired_set(db),),
    ):
        other = os.fsdecode(join(other_folder, other_name))
        reason = f"is {label}, and {other!r} shows the same picture and is {other_label}"
        yield _problem(folder, name, "conflict", reason)


def _rejections(db: sqlite3.Connection) -> Iterator[Problem]:
    for folder, name, state, reason in db.execute(
        "SELECT folder, name, state, reason FROM files WHERE state IN ('rejected', 'unreadable') AND gone IS NULL"
        " ORDER BY folder, name"
    ):
        yield _problem(folder, name, state, reason)


def _broken_metadata(db: sqlite3.Connection) -> Iterator[Problem]:
    for folder, name, reason in db.execute("SELECT folder, name, problem FROM metadata WHERE problem IS NOT NULL"):
        yield _problem(folder, name, "unreadable", reason)


def _duplicates(db: sqlite3.Connection) -> Iterator[Problem]:
    for folder, name, first_folder, first_name in db.execute(
        "SELECT f.folder, f.name, s.folder, s.name FROM files f JOIN samples s ON s.id = f.sample"
        " WHERE f.gone IS NULL AND s.clash = 0 AND (f.folder != s.folder OR f.name != s.name) ORDER BY f.folder, f.name"
    ):
        first = os.fsdecode(join(first_folder, first_name))
        yield _problem(folder, name, "duplicate", f"has the same bytes as {first!r}")


def _notes(db: sqlite3.Connection) -> Iterator[Problem]:
    for folder, name, note in db.execute(
        "SELECT folder, name, reason FROM files WHERE state = 'good' AND reason IS NOT NULL AND gone IS NULL"
        " ORDER BY rowid DESC"
    ):
        yield _problem(folder, name, "note", f"is used; {note}")


def _problem(folder: bytes, name: bytes, kind: str, reason: str) -> Problem:
    return Problem(os.fsdecode(join(folder, name)), kind, reason)  # type: ignore[arg-type]


def _row(db: sqlite3.Connection, query: str, values: tuple[object, ...] = ()) -> tuple[int, ...]:
    row: tuple[int, ...] = db.execute(query, values).fetchone()
    return row
