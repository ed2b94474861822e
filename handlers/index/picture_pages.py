"""Pages of the gallery, by keyset, filtered, in bounded time: newest first, or most novel first.

A page is sought among the next `STEP` samples only, so that a filter which fits nothing costs no more than one that
fits all. The reader then goes on from where the step ended.
"""

from __future__ import annotations

import base64
import binascii
import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from handlers.index.gallery import COLUMNS, JOINED, SOURCE, UNLABELED, Picture, picture_of
from handlers.index.packing import SHA256
from handlers.labels.rules import MANUAL, source_of_place
from handlers.paths import META, join, printable
from utils.clock import to_iso

STEP = 2000  # samples looked at for one page: some 10 ms, 100 ms where their folders decide
MAX_CHOICES = 200  # values of a filter
MODEL_SAYS = {  # of a picture: conditions on the opinions of `trainer/evaluation/opinions.py`
    "wrong label": "o.label IS NOT NULL AND o.label IS s.label AND o.doubt >= 0.9",
    "unsure": "o.probability BETWEEN 0.3 AND 0.7",
}
NOVELTY = {  # the most novel first: conditions on the same file
    "unfamiliar first": "1",
    "only unfamiliar": "n.value > (SELECT cut FROM opinions.about)",
}
CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Page:
    """`older` is the cursor of the next page, empty at the end; `searched_to`: the step ended at this time, or this
    novelty, and the search did not."""

    pictures: list[Picture]
    older: str = ""
    searched_to: str = ""


@dataclass(frozen=True, slots=True)
class _Walk:
    """Samples in one order: from `first` downwards, from `second` downwards where the first is equal."""

    tables: str
    first: str
    second: str
    where: list[str]
    values: list[object]


def read_page(db: sqlite3.Connection, wanted: Mapping[str, str], cursor: str, limit: int) -> Page:
    """Pictures that fit `wanted`: label, source, generator, since and until (ISO dates, both included), part, model,
    novelty.

    `part` needs the split ledger, attached as `split`; `model` and `novelty` need what the last training says, as
    `opinions`. A cursor that is not ours gives the first page.
    """
    conditions, values = _conditions(wanted)
    is_by_novelty = wanted.get("novelty") in NOVELTY
    walk = _by_novelty(wanted["novelty"], cursor) if is_by_novelty else _by_time(wanted, cursor)
    if is_by_novelty:  # no index of this order answers them
        placed, place_values = _place(wanted)
        conditions, values = conditions + placed, values + place_values
    rows = db.execute(
        f"SELECT s.key, m.file, {walk.first}, {walk.second}, {' AND '.join(conditions)} FROM {walk.tables}"  # noqa: S608
        f" WHERE {' AND '.join(walk.where)} ORDER BY {walk.first} DESC, {walk.second} DESC",
        (*values, *walk.values),
    )
    pictures: dict[str, Picture] = {}  # by id: one that several metadata files describe is one picture
    last = ("", "")
    for number, (key, metadata, first, second, fits) in enumerate(rows, 1):
        picture = _read_row(db, key, metadata) if fits else None  # the rest is only asked of what fits
        if picture is not None and _is_from(picture, wanted):
            if len(pictures) == limit and picture.id not in pictures:
                return Page(list(pictures.values()), encode_cursor(*last))
            pictures.setdefault(picture.id, picture)
            last = (str(first), str(second))
        if number == STEP:
            searched_to = str(first) if is_by_novelty else to_iso(datetime.fromtimestamp(first, UTC))
            return Page(list(pictures.values()), encode_cursor(str(first), str(second)), searched_to)
    return Page(list(pictures.values()))


def read_choices(db: sqlite3.Connection) -> dict[str, list[str]]:
    """The values that occur, by jumping from one to the next in an index."""
    sources = {source_of_place(join(name, b"a")) for name in _folders(db) if name != META} - {MANUAL}
    generators = {printable(name) for name in _folders(db, b"ai_generated/")}
    return {
        "source": sorted({*_values(db, "source"), *sources}),
        "generator": sorted({*_values(db, "generator"), *generators}),
    }


def knows_novelty(db: sqlite3.Connection) -> bool:
    """Whether the attached `opinions` has it: those of an earlier release have not, nor those of too few pictures."""
    found = db.execute("SELECT 1 FROM opinions.sqlite_master WHERE name = 'novelty'").fetchone()
    return found is not None and db.execute("SELECT 1 FROM opinions.novelty LIMIT 1").fetchone() is not None


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


def _read_row(db: sqlite3.Connection, sample: int, metadata: int | None) -> Picture | None:
    row = db.execute(
        f"SELECT {COLUMNS} FROM {JOINED} WHERE s.key = ? AND m.file IS ?",  # noqa: S608
        (sample, metadata),
    ).fetchone()
    return None if row is None else picture_of(row)


def _by_time(wanted: Mapping[str, str], cursor: str) -> _Walk:
    where, values = _place(wanted)
    after = decode_cursor(cursor, 2)
    if after is not None and all(value.isdecimal() for value in after):
        where.append("(s.added, s.key) < (?, ?)")
        values += map(int, after)
    return _Walk(JOINED, "s.added", "s.key", ["s.folder IS NOT NULL", *where], values)


def _by_novelty(kind: str, cursor: str) -> _Walk:
    where, values = ["s.sha256 = packed(n.sha256)", "s.folder IS NOT NULL", NOVELTY[kind]], list[object]()
    after = decode_cursor(cursor, 2)
    if after is not None and (value := _number(after[0])) is not None:
        where.append("(n.value, n.sha256) < (?, ?)")
        values += [value, after[1]]
    return _Walk(f"opinions.novelty n CROSS JOIN {JOINED}", "n.value", "n.sha256", where, values)


def _place(wanted: Mapping[str, str]) -> tuple[list[str], list[object]]:
    """Conditions that an index by time answers."""
    conditions: list[str] = []
    values: list[object] = []
    label = wanted.get("label")
    if label == UNLABELED:
        conditions.append("s.label IS NULL")
    elif label in ("real", "ai_generated"):
        conditions.append("s.label = ?")
        values.append(label)
    if wanted.get("since"):
        conditions.append("s.added >= CAST(strftime('%s', ?) AS INTEGER)")
        values.append(wanted["since"])
    if wanted.get("until"):
        conditions.append("s.added < CAST(strftime('%s', ?, '+1 day') AS INTEGER)")
        values.append(wanted["until"])
    return conditions, values


def _conditions(wanted: Mapping[str, str]) -> tuple[list[str], list[object]]:
    """What is asked of each sample of the step."""
    conditions: list[str] = ["1"]
    values: list[object] = []
    label = wanted.get("label")
    if label == UNLABELED:
        conditions.append("s.clash = 0")
    if label == CONFLICT:
        conditions.append("(s.clash = 1 OR EXISTS (SELECT 1 FROM conflicts c WHERE c.sample = s.key))")
    if wanted.get("source"):  # as for the generator, folders may say it: `_is_from` decides
        conditions.append(f"{SOURCE} IN (?, '{MANUAL}')")
        values.append(wanted["source"])
    if wanted.get("generator"):
        conditions.append("(m.generator = ? OR m.generator IS NULL AND s.label = 'ai_generated')")
        values.append(wanted["generator"])
    if wanted.get("model") in MODEL_SAYS:
        says = MODEL_SAYS[wanted["model"]]
        conditions.append(f"EXISTS (SELECT 1 FROM opinions.predictions o WHERE o.sha256 = {SHA256} AND {says})")  # noqa: S608
    if wanted.get("part"):
        conditions.append(f"EXISTS (SELECT 1 FROM split.samples p WHERE p.sha256 = {SHA256} AND p.place = ?)")  # noqa: S608
        values.append(wanted["part"])
    return conditions, values


def _is_from(picture: Picture, wanted: Mapping[str, str]) -> bool:
    told = {"source": picture.source, "generator": picture.generator}
    return all(not wanted.get(name) or wanted[name] == value for name, value in told.items())


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


def _folders(db: sqlite3.Connection, below: bytes = b"") -> Iterator[bytes]:
    """Names of the folders right below, each found by one look into the index."""
    after = below
    for _ in range(MAX_CHOICES):
        (folder,) = db.execute("SELECT min(path) FROM folders WHERE path > ?", (after,)).fetchone()
        if folder is None or not folder.startswith(below):
            break
        name = folder.removeprefix(below).split(b"/")[0]
        yield name
        after = below + name + b"0"  # the byte after "/": past everything in it


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
