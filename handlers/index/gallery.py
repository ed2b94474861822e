"""Pictures for people to look at: pages of the index by keyset, filtered, in bounded time.

A page is sought among the next `STEP` samples only, newest first, so that a filter which fits nothing costs no more
than one that fits all. The reader then goes on from where the step ended.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handlers.index.phash import bands, is_near
from handlers.index.queries import LEFT_OUT, LEFT_OUT_OF_PAIRED_SET
from handlers.labels.rules import MANUAL, source_of_place
from handlers.paths import folder_label, folder_source, join, printable, split
from utils.metadata import Label, LabelSource

STEP = 2000  # samples looked at for one page: some 30 ms
MAX_CHOICES = 200  # values of a filter
MAX_NEAR = 24
MODEL_SAYS = {  # of a picture: conditions on the opinions of `trainer/evaluation/opinions.py`
    "wrong label": "o.label IS NOT NULL AND o.label IS s.label AND o.doubt >= 0.9",
    "unsure": "o.probability BETWEEN 0.3 AND 0.7",
}
UNLABELED = "unlabeled"
CONFLICT = "conflict"

PLAIN = ("sha256", "id", "folder", "name", "label", "label_source", "clash", "added", "width", "height")
SELECTED = (*(f"s.{name}" for name in PLAIN), "coalesce(m.source, 'manual')", "m.generator")
COLUMNS = ", ".join(SELECTED)
ID, ADDED = PLAIN.index("id"), PLAIN.index("added")
JOINED = "samples s LEFT JOIN metadata m ON m.stem = s.id"


@dataclass(frozen=True, slots=True)
class Picture:
    """A sample as a person sees it; `added` is an ISO time, `path` relative to the data folder."""

    sha256: str
    id: str
    path: str
    label: Label | None
    label_source: LabelSource | None
    clash: bool
    added: str
    width: int
    height: int
    source: str
    generator: str | None

    @property
    def name(self) -> str:
        return split(os.fsencode(self.path))[1].decode("utf-8", "replace")

    @property
    def folder(self) -> str:
        return split(os.fsencode(self.path))[0].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Page:
    """`older` is the cursor of the next page, empty at the end; `searched_to`: the step ended there, the search not."""

    pictures: list[Picture]
    older: str = ""
    searched_to: str = ""


def read_page(db: sqlite3.Connection, wanted: Mapping[str, str], cursor: str, limit: int) -> Page:
    """Pictures that fit `wanted`: label, source, generator, since and until (ISO dates, both included), part.

    `part` needs the split ledger, attached as `split`; `model` needs what the last training says, as `opinions`. A
    cursor that is not ours gives the first page.
    """
    place, values = _place(wanted, cursor)
    conditions, found_values = _conditions(wanted)
    rows = db.execute(
        f"SELECT {COLUMNS}, {conditions} FROM {JOINED} WHERE {place} ORDER BY s.added DESC, s.id DESC",  # noqa: S608
        (*found_values, *values),
    )
    pictures: dict[str, Picture] = {}  # by id: one that several metadata files describe is one picture
    for number, (*columns, fits) in enumerate(rows, 1):
        picture = picture_of(columns) if fits else None
        if picture is not None and wanted.get("generator") in (None, "", picture.generator):
            if len(pictures) == limit and picture.id not in pictures:
                last = next(reversed(pictures.values()))
                return Page(list(pictures.values()), encode_cursor(last.added, last.id))
            pictures.setdefault(picture.id, picture)
        if number == STEP:
            added, sample = columns[ADDED], columns[ID]
            return Page(list(pictures.values()), encode_cursor(added, sample), added)
    return Page(list(pictures.values()))


def read_picture(db: sqlite3.Connection, sha256: str) -> Picture | None:
    row = db.execute(
        f"SELECT {COLUMNS} FROM {JOINED} WHERE s.sha256 = ? AND s.folder IS NOT NULL",  # noqa: S608
        (sha256,),
    ).fetchone()
    return None if row is None else picture_of(row)


def read_facts(db: sqlite3.Connection, picture: Picture) -> dict[str, Any]:
    """`files` and `metadata_path` (relative to the data folder), `format`, `size_bytes`."""
    files = db.execute(
        "SELECT folder, name FROM files WHERE sample = ? AND gone IS NULL ORDER BY seen, folder, name", (picture.id,)
    )
    named = db.execute(
        "SELECT folder, name FROM metadata WHERE stem = ? ORDER BY folder DESC", (picture.id,)
    ).fetchone()
    kind, size = db.execute("SELECT format, size_bytes FROM samples WHERE id = ?", (picture.id,)).fetchone()
    return {
        "files": [os.fsdecode(join(folder, name)) for folder, name in files],
        "metadata_path": None if named is None else os.fsdecode(join(*named)),
        "format": kind,
        "size_bytes": size,
    }


def read_near(db: sqlite3.Connection, picture: Picture, distance: int) -> list[Picture]:
    """Near-duplicates of a picture, under whatever label."""
    own = db.execute("SELECT phash, thumb FROM samples WHERE id = ?", (picture.id,)).fetchone()
    if own is None or own[0] is None:
        return []
    found: dict[str, Picture] = {}
    for number, value in bands(own[0], distance):
        rows = db.execute(
            f"SELECT s.phash, s.thumb, {COLUMNS} FROM bands b CROSS JOIN {JOINED}"  # noqa: S608
            " WHERE b.band = ? AND b.value = ? AND s.key = b.sample AND s.folder IS NOT NULL",
            (number, value),
        )
        for phash, thumb, *columns in rows:
            other = picture_of(columns)
            if other.id != picture.id and is_near(own[0], phash, own[1], thumb, distance):
                found[other.id] = other
            if len(found) >= MAX_NEAR:
                return list(found.values())
    return list(found.values())


def read_choices(db: sqlite3.Connection) -> dict[str, list[str]]:
    """The values that occur, by jumping from one to the next in an index."""
    found = {column: _values(db, column) for column in ("source", "generator")}
    found["generator"] = sorted({*found["generator"], *_generator_folders(db)})
    return found


def count_mix(db: sqlite3.Connection, is_paired: bool) -> list[tuple[str, str, int]]:
    """(label, source, samples) of what is usable; reads every sample."""
    left_out = LEFT_OUT_OF_PAIRED_SET if is_paired else LEFT_OUT
    rows = db.execute(
        f"SELECT coalesce(s.label, '{UNLABELED}'), coalesce(m.source, 'manual'), count(DISTINCT s.id) FROM {JOINED}"  # noqa: S608
        f" WHERE s.folder IS NOT NULL AND s.clash = 0 AND s.id NOT IN ({left_out}) GROUP BY 1, 2"
    )
    return [(label, source, number) for label, source, number in rows]


@contextlib.contextmanager
def attached(db: sqlite3.Connection, name: str, file: Path) -> Iterator[bool]:
    """`file` as `name` beside the index, read-only; false when there is no such database."""
    if not file.is_file():
        yield False
        return
    try:
        db.execute("ATTACH ? AS " + name, (f"{file.absolute().as_uri()}?mode=ro",))
    except sqlite3.Error:
        yield False
        return
    try:
        yield True
    finally:
        db.execute("DETACH " + name)


def encode_cursor(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode("ascii")


def decode_cursor(cursor: str, length: int) -> list[str] | None:
    """The texts of a cursor; None when it is empty or not ours."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii"))) if cursor else None
    except (ValueError, binascii.Error):
        return None
    fits = isinstance(values, list) and len(values) == length and all(isinstance(value, str) for value in values)
    return values if fits else None


def _place(wanted: Mapping[str, str], cursor: str) -> tuple[str, tuple[str, ...]]:
    """Where the step begins, and the conditions that an index answers."""
    conditions, values = ["s.folder IS NOT NULL"], []
    label = wanted.get("label")
    if label == UNLABELED:
        conditions.append("s.label IS NULL")
    elif label in ("real", "ai_generated"):
        conditions.append("s.label = ?")
        values.append(label)
    if wanted.get("since"):
        conditions.append("s.added >= ?")
        values.append(wanted["since"])
    if wanted.get("until"):
        conditions.append("s.added < ?")
        values.append(wanted["until"] + "~")  # after every time of that day
    after = decode_cursor(cursor, 2)
    if after is not None:
        conditions.append("(s.added, s.id) < (?, ?)")
        values += after
    return " AND ".join(conditions), tuple(values)


def _conditions(wanted: Mapping[str, str]) -> tuple[str, tuple[str | bytes, ...]]:
    """What is asked of each sample of the step."""
    conditions: list[str] = ["1"]
    values: list[str | bytes] = []
    label = wanted.get("label")
    if label == UNLABELED:
        conditions.append("s.clash = 0")
    if label == CONFLICT:
        conditions.append("(s.clash = 1 OR EXISTS (SELECT 1 FROM conflicts c WHERE c.sample = s.id))")
    if wanted.get("source"):
        conditions.append("coalesce(m.source, 'manual') = ?")
        values.append(wanted["source"])
    if wanted.get("generator"):  # decided by `picture_of`; this leaves out most of the others
        conditions.append("(m.generator = ? OR m.generator IS NULL AND instr(s.folder, ?) > 0)")
        values += [wanted["generator"], os.fsencode(wanted["generator"])]
    if wanted.get("model") in MODEL_SAYS:
        says = MODEL_SAYS[wanted["model"]]
        conditions.append(f"EXISTS (SELECT 1 FROM opinions.predictions o WHERE o.sha256 = s.sha256 AND {says})")  # noqa: S608
    if wanted.get("part"):
        conditions.append("EXISTS (SELECT 1 FROM split.samples p WHERE p.sha256 = s.sha256 AND p.place = ?)")
        values.append(wanted["part"])
    return " AND ".join(conditions), tuple(values)


def _values(db: sqlite3.Connection, column: str) -> list[str]:
    found: list[str] = []
    while len(found) < MAX_CHOICES:
        (value,) = db.execute(
            f"SELECT min({column}) FROM metadata WHERE {column} > ?",  # noqa: S608
            (found[-1] if found else "",),
        ).fetchone()
        if value is None:
            break
        found.append(str(value))
    return found


def _generator_folders(db: sqlite3.Connection) -> list[str]:
    """Folders right below `ai_generated`, each found by one look into the index."""
    found: list[str] = []
    after = b"ai_generated/"
    while len(found) < MAX_CHOICES:
        (folder,) = db.execute("SELECT min(folder) FROM files WHERE folder > ?", (after,)).fetchone()
        if folder is None or not folder.startswith(b"ai_generated/"):
            break
        name = folder.split(b"/")[1]
        found.append(printable(name))
        after = b"ai_generated/" + name + b"0"  # the byte after "/": past everything in it
    return found


def picture_of(row: Any) -> Picture:
    """Out of a row of SELECTED; where the metadata is silent, the folders tell source and generator."""
    sha256, sample, folder, name, label, label_source, clash, added, width, height, source, generator = row
    place = join(folder, name)
    if source == MANUAL:
        source = source_of_place(place)
    if label == "ai_generated" == folder_label(place):
        generator = generator or folder_source(place)
    path = os.fsdecode(place)
    return Picture(sha256, sample, path, label, label_source, bool(clash), added, width, height, source, generator)
