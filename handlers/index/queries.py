"""Questions to the index, over any connection to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator

from handlers.file_signature import FileSignature
from handlers.index.packing import (
    ADDED,
    FOLDER,
    NAME,
    OTHER_FOLDER,
    OTHER_NAME,
    PATH,
    PHASH,
    SHA256,
    pack_hex,
    pack_id,
    unpack_id,
)
from handlers.index.phash import bands, hamming, is_near
from handlers.index.rows import Counts, FileState, KnownSample, Problem
from handlers.labels.rules import MANUAL, source_of_place
from handlers.paths import folder_label, folder_series, folder_source, join, split
from utils.metadata import LABELS, Label, LabelSource
from utils.sample import Sample

TWINS_OF_A_PAIRED_SET = 20  # hand-labelled pictures of either label with a near-duplicate under the other, at least
LEFT_OUT = "SELECT sample FROM conflicts"
# near-duplicates of which at least one label comes from a source
LEFT_OUT_OF_PAIRED_SET = (
    "SELECT c.sample FROM conflicts c JOIN samples s ON s.key = c.sample JOIN samples o ON o.key = c.other"
    " WHERE 'source' IN (s.label_source, o.label_source)"
)


class Tally:
    """How many rows there are of each kind, as the triggers of the schema keep it: as quick with a million."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._files: dict[str, int] = {}
        self._samples: dict[tuple[str, str, bool, bool], int] = {}
        self.absent = 0  # samples of which no file is there
        for what, number in db.execute("SELECT what, number FROM tally"):
            if what == "none":
                self.absent = number
            elif " " in what:
                label, source, clash, away = what.split(" ")
                self._samples[label, source, clash == "1", away == "1"] = number
            else:
                self._files[what] = number

    def files(self, kind: str) -> int:
        """`file`: pictures that are there; `held`: whose file system is not; `metadata`; `rejected`."""
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


def is_paired_set(db: sqlite3.Connection) -> bool:
    """Whether a person has put in pairs on purpose: photographs, and what a generator made of the same photographs.

    One near-duplicate under both labels is a mistake; when half of the hand-labelled pictures of a label have one, it
    is how detectors are trained without content as a shortcut. Such pairs are used, and never split apart.
    """
    twins = dict(
        db.execute(
            "SELECT label, count(*) FROM samples WHERE key IN (SELECT sample FROM conflicts) AND folder IS NOT NULL"
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
            f"SELECT label, clash, count(*) FROM samples WHERE key IN ({_conflicting(db)}) AND folder IS NOT NULL"  # noqa: S608
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
        f"SELECT {FOLDER}, {NAME}, s.id, {SHA256} AS sha256, s.size_bytes, s.label,"  # noqa: S608
        " coalesce(m.source, 'manual') AS source, s.format, s.width, s.height, s.has_exif,"
        f" {PHASH} AS phash, m.creator, m.post, m.generator, m.series, {ADDED} AS added"
        " FROM samples s LEFT JOIN metadata m ON m.stem = s.id"
        " WHERE s.label IS NOT NULL AND s.clash = 0 AND s.folder IS NOT NULL AND s.away = 0"
        f" AND s.key NOT IN ({_conflicting(db)})"
        " GROUP BY s.sha256 ORDER BY s.sha256"
    )
    columns = [column[0] for column in rows.description[2:]]
    for row in rows:
        values = dict(zip(columns, row[2:], strict=True))
        values["id"] = unpack_id(values["id"])
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
        f"SELECT s.id, {SHA256}, s.label, s.label_source FROM samples s WHERE s.sha256 = ? AND s.folder IS NOT NULL",  # noqa: S608
        (pack_hex(sha256),),
    ).fetchone()
    return None if row is None else KnownSample(unpack_id(row[0]), *row[1:])


def path_under_label(db: sqlite3.Connection, sha256: str, label: Label | None) -> str | None:
    """Where the sample of these bytes lies, if it has this label and is in no contradiction."""
    row = db.execute(
        f"SELECT {FOLDER}, {NAME} FROM samples s WHERE sha256 = ? AND label IS ? AND clash = 0"  # noqa: S608
        " AND folder IS NOT NULL",
        (pack_hex(sha256), label),
    ).fetchone()
    return None if row is None else os.fsdecode(join(*row))


def label_source(db: sqlite3.Connection, sample_id: str) -> LabelSource | None:
    (said,) = db.execute("SELECT label_source FROM samples WHERE id = ?", (pack_id(sample_id),)).fetchone()
    return said  # type: ignore[no-any-return]


def metadata_file(db: sqlite3.Connection, stem: str) -> str | None:
    """The newest metadata file of this name."""
    row = db.execute(
        "SELECT d.path, f.name FROM metadata m CROSS JOIN files f CROSS JOIN folders d"
        " WHERE m.stem = ? AND f.key = m.file AND d.key = f.folder ORDER BY d.path DESC LIMIT 1",
        (pack_id(stem),),
    ).fetchone()
    return None if row is None else os.fsdecode(join(*row))


def metadata_about(db: sqlite3.Connection, sha256: str) -> list[str]:
    """The metadata files about this content, the newest last."""
    content = pack_hex(sha256)
    rows = db.execute(
        "SELECT d.path, f.name FROM metadata m CROSS JOIN files f CROSS JOIN folders d"
        " WHERE substr(m.sha256, 1, 8) = substr(?1, 1, 8) AND m.sha256 = ?1 AND f.key = m.file AND d.key = f.folder"
        " ORDER BY d.path, f.name",
        (content,),
    )
    return [os.fsdecode(join(*row)) for row in rows]


def tracked_file(db: sqlite3.Connection, path: bytes) -> tuple[str | None, FileState, FileSignature] | None:
    """The sample's id, the state and the signature of a file."""
    row = db.execute(
        "SELECT (SELECT id FROM samples WHERE key = sample), state, size, mtime_ns, ctime_ns, inode FROM files"
        " WHERE folder = (SELECT key FROM folders WHERE path = ?) AND name = ?",
        split(path),
    ).fetchone()
    if row is None:
        return None
    return None if row[0] is None else unpack_id(row[0]), row[1], FileSignature(*row[2:])


def near_samples(db: sqlite3.Connection, phash: str, thumb: bytes, distance: int) -> list[KnownSample]:
    """Samples of nearly the same picture, the nearest first."""
    found: dict[KnownSample, int] = {}
    for number, value in bands(phash, distance):
        rows = db.execute(
            f"SELECT {PHASH}, s.thumb, s.id, {SHA256}, s.label, s.label_source FROM bands b CROSS JOIN samples s"  # noqa: S608
            " WHERE b.band = ? AND b.value = ? AND s.key = b.sample AND s.folder IS NOT NULL",
            (number, value),
        )
        for other, other_thumb, sample, *said in rows:
            if is_near(phash, other, thumb, other_thumb, distance):
                found[KnownSample(unpack_id(sample), *said)] = hamming(phash, other)
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
        "SELECT d.path, count(*) AS number FROM samples s CROSS JOIN folders d"
        " WHERE s.label IS NULL AND s.clash = 0 AND d.key = s.folder"
        " GROUP BY s.folder ORDER BY number DESC, d.path LIMIT ?"
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
    for (sample,) in db.execute("SELECT key FROM samples WHERE clash = 1 AND folder IS NOT NULL"):
        for folder, name in db.execute(
            f"SELECT {PATH}, name FROM files f WHERE sample = ? AND gone IS NULL ORDER BY 1, 2",  # noqa: S608
            (sample,),
        ):
            yield _problem(folder, name, "conflict", "the same bytes are under both labels")
    for folder, name, label, other_folder, other_name, other_label in db.execute(
        f"SELECT {FOLDER}, {NAME}, s.label, {OTHER_FOLDER}, {OTHER_NAME}, o.label FROM conflicts c"  # noqa: S608
        " JOIN samples s ON s.key = c.sample JOIN samples o ON o.key = c.other"
        " WHERE s.folder IS NOT NULL AND o.folder IS NOT NULL AND (? OR 'source' IN (s.label_source, o.label_source))"
        " ORDER BY 1, 2",
        (not is_paired_set(db),),
    ):
        other = os.fsdecode(join(other_folder, other_name))
        reason = f"is {label}, and {other!r} shows the same picture and is {other_label}"
        yield _problem(folder, name, "conflict", reason)


def _rejections(db: sqlite3.Connection) -> Iterator[Problem]:
    for folder, name, state, reason in db.execute(
        f"SELECT {PATH}, name, state, reason FROM files f"  # noqa: S608
        " WHERE state IN ('rejected', 'unreadable') AND gone IS NULL ORDER BY 1, 2"
    ):
        yield _problem(folder, name, state, reason)


def _broken_metadata(db: sqlite3.Connection) -> Iterator[Problem]:
    for folder, name, reason in db.execute(
        f"SELECT {PATH}, f.name, m.problem FROM metadata m JOIN files f ON f.key = m.file WHERE m.problem IS NOT NULL"  # noqa: S608
    ):
        yield _problem(folder, name, "unreadable", reason)


def _duplicates(db: sqlite3.Connection) -> Iterator[Problem]:
    for folder, name, first_folder, first_name in db.execute(
        f"SELECT {PATH}, f.name, {FOLDER}, {NAME} FROM files f JOIN samples s ON s.key = f.sample"  # noqa: S608
        " WHERE f.gone IS NULL AND s.clash = 0 AND f.key != s.file ORDER BY 1, 2"
    ):
        first = os.fsdecode(join(first_folder, first_name))
        yield _problem(folder, name, "duplicate", f"has the same bytes as {first!r}")


def _notes(db: sqlite3.Connection) -> Iterator[Problem]:
    for folder, name, note in db.execute(
        f"SELECT {PATH}, name, reason FROM files f WHERE state = 'good' AND reason IS NOT NULL AND gone IS NULL"  # noqa: S608
        " ORDER BY key DESC"
    ):
        yield _problem(folder, name, "note", f"is used; {note}")


def _problem(folder: bytes, name: bytes, kind: str, reason: str) -> Problem:
    return Problem(os.fsdecode(join(folder, name)), kind, reason)  # type: ignore[arg-type]


def _row(db: sqlite3.Connection, query: str, values: tuple[object, ...] = ()) -> tuple[int, ...]:
    row: tuple[int, ...] = db.execute(query, values).fetchone()
    return row
