"""Pictures for people to look at: one with what is known of it, its near-duplicates, and the mix of all."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import Any

from handlers.index.packing import ADDED, FOLDER, NAME, PATH, PHASH, SHA256, pack_hex, pack_id, unpack_id
from handlers.index.phash import bands, is_near
from handlers.index.queries import LEFT_OUT, LEFT_OUT_OF_PAIRED_SET, metadata_file
from handlers.labels.rules import MANUAL, source_of_place
from handlers.paths import folder_label, folder_source, join, split
from utils.metadata import Label, LabelSource

MAX_NEAR = 24
UNLABELED = "unlabeled"

SOURCE = f"coalesce(m.source, '{MANUAL}')"
SELECTED = (
    *(SHA256, "s.id", FOLDER, NAME, "s.label", "s.label_source", "s.clash", ADDED, "s.width", "s.height"),
    *(SOURCE, "m.generator"),
)
COLUMNS = ", ".join(SELECTED)
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


def read_picture(db: sqlite3.Connection, sha256: str) -> Picture | None:
    row = db.execute(
        f"SELECT {COLUMNS} FROM {JOINED} WHERE s.sha256 = ? AND s.folder IS NOT NULL",  # noqa: S608
        (pack_hex(sha256),),
    ).fetchone()
    return None if row is None else picture_of(row)


def read_facts(db: sqlite3.Connection, picture: Picture) -> dict[str, Any]:
    """`files` and `metadata_path` (relative to the data folder), `format`, `size_bytes`."""
    key, kind, size = db.execute(
        "SELECT key, format, size_bytes FROM samples WHERE id = ?", (pack_id(picture.id),)
    ).fetchone()
    files = db.execute(f"SELECT {PATH}, name FROM files f WHERE sample = ? AND gone IS NULL ORDER BY key", (key,))  # noqa: S608
    return {
        "files": [os.fsdecode(join(folder, name)) for folder, name in files],
        "metadata_path": metadata_file(db, picture.id),
        "format": kind,
        "size_bytes": size,
    }


def read_near(db: sqlite3.Connection, picture: Picture, distance: int) -> list[Picture]:
    """Near-duplicates of a picture, under whatever label."""
    own = db.execute("SELECT lower(hex(phash)), thumb FROM samples WHERE id = ?", (pack_id(picture.id),)).fetchone()
    if own is None or not own[0]:
        return []
    found: dict[str, Picture] = {}
    for number, value in bands(own[0], distance):
        rows = db.execute(
            f"SELECT {PHASH}, s.thumb, {COLUMNS} FROM bands b CROSS JOIN {JOINED}"  # noqa: S608
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


def count_mix(db: sqlite3.Connection, is_paired: bool) -> list[tuple[str, str, int]]:
    """(label, source, samples) of what is usable; reads every sample."""
    left_out = LEFT_OUT_OF_PAIRED_SET if is_paired else LEFT_OUT
    rows = db.execute(
        f"SELECT coalesce(s.label, '{UNLABELED}'), {SOURCE}, CASE {SOURCE} WHEN '{MANUAL}' THEN {FOLDER} END,"  # noqa: S608
        f" count(DISTINCT s.key) FROM {JOINED}"
        f" WHERE s.folder IS NOT NULL AND s.clash = 0 AND s.key NOT IN ({left_out}) GROUP BY 1, 2, 3"
    )
    found: Counter[tuple[str, str]] = Counter()
    for label, source, folder, number in rows:
        found[label, source if folder is None else source_of_place(join(folder, b"a"))] += number
    return [(label, source, number) for (label, source), number in found.items()]


def picture_of(row: Any) -> Picture:
    """Out of a row of SELECTED; where the metadata is silent, the folders tell source and generator."""
    sha256, sample, folder, name, label, label_source, clash, added, width, height, source, generator = row
    place = join(folder, name)
    if source == MANUAL:
        source = source_of_place(place)
    if label == "ai_generated" == folder_label(place):
        generator = generator or folder_source(place)
    names = sha256, unpack_id(sample), os.fsdecode(place)
    return Picture(*names, label, label_source, bool(clash), added, width, height, source, generator)
