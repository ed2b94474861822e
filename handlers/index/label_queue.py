"""What a person should label next: reports first, then what has no label, then what is contradicted or looks wrong."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, field

from handlers.index.gallery import COLUMNS, JOINED, SELECTED, Picture, picture_of, read_near
from handlers.index.packing import FOLDER, NAME, SHA256, pack_id
from handlers.paths import join, split

FEEDBACK = "feedback"  # the source of what Exposr-Core reported
AHEAD = 4  # pictures that a browser may load beforehand
BATCH = 60
SURE = 0.9  # of the label's opposite: from here on a label looks wrong

UNLABELLED = "s.label IS NULL AND s.clash = 0 AND s.folder IS NOT NULL AND s.label_source IS NULL"
NEWEST_REPORTS = "SELECT sha256, verdict, received FROM field.reports ORDER BY received DESC LIMIT 1000"
IN_CONFLICT = "s.folder IS NOT NULL AND s.label_source IS NOT 'person'"


@dataclass(frozen=True, slots=True)
class Next:
    """The next picture, why it is, the rest of its batch, and the pictures after it."""

    picture: Picture | None
    why: str = ""
    others: list[Picture] = field(default_factory=list)
    ahead: list[Picture] = field(default_factory=list)


def read_next(
    db: sqlite3.Connection,
    left_out: Collection[str],
    grouping: str,
    distance: int,
    *,
    has_opinions: bool = False,
    has_reports: bool = False,
) -> Next:
    """`left_out`: ids of samples that were decided or skipped a moment ago, which the index may not know yet.

    `grouping` is one, folder or similar. With `has_opinions`, predictions are attached as `opinions`, with
    `has_reports` what Exposr-Core reported as `field`.
    """
    number, width = 1 + AHEAD, len(SELECTED)
    found: list[tuple[Picture, str]] = []
    for why, query, values in _sources(has_opinions, has_reports):
        if len(found) >= number:
            break
        for row in db.execute(query, (*values, number + len(found) + len(left_out))):
            picture = picture_of(row[:width])
            fresh = picture.id not in left_out and all(picture.id != other.id for other, _ in found)
            if fresh and len(found) < number:
                found.append((picture, why.format(*row[width:])))
    if not found:
        return Next(None)
    picture, why = found[0]
    others = [other for other in _batch(db, picture, grouping, distance) if other.id not in left_out]
    return Next(picture, why, others, [other for other, _ in found[1:]])


def unlabelled(db: sqlite3.Connection, limit: int) -> list[tuple[str, str]]:
    """(sha256, path) of pictures that nobody has labelled, the newest first."""
    rows = db.execute(
        f"SELECT {SHA256}, {FOLDER}, {NAME} FROM samples s WHERE {UNLABELLED} AND s.away = 0"  # noqa: S608
        " ORDER BY s.added DESC LIMIT ?",
        (limit,),
    )
    return [(sha256, os.fsdecode(join(folder, name))) for sha256, folder, name in rows]


def _sources(has_opinions: bool, has_reports: bool) -> list[tuple[str, str, tuple[object, ...]]]:
    """(why, query, values), the first to be labelled first."""
    sources: list[tuple[str, str, tuple[object, ...]]] = [
        (
            "Reported by Exposr-Core.",
            f"SELECT {COLUMNS} FROM metadata m CROSS JOIN samples s WHERE m.source = ? AND s.id = m.stem"  # noqa: S608
            f" AND {UNLABELLED} ORDER BY s.added DESC LIMIT ?",
            (FEEDBACK,),
        )
    ]
    if has_reports:
        sources.append(
            (
                "Reported by Exposr-Core: the verdict was {0}. Its label was not given by a person.",
                f"SELECT {COLUMNS}, r.verdict FROM ({NEWEST_REPORTS}) r CROSS JOIN {JOINED}"  # noqa: S608
                f" WHERE s.sha256 = packed(r.sha256) AND (s.label IS NULL OR s.label != r.verdict) AND {IN_CONFLICT}"
                " AND s.clash = 0 ORDER BY r.received DESC LIMIT ?",
                (),
            )
        )
    if has_opinions:
        sources.append(
            (
                "Has no label; the model says P(generated) {0:.2f}.",
                f"SELECT {COLUMNS}, o.probability FROM opinions.predictions o CROSS JOIN {JOINED}"  # noqa: S608
                f" WHERE o.label IS NULL AND s.sha256 = packed(o.sha256) AND {UNLABELLED}"
                " ORDER BY o.doubt DESC LIMIT ?",
                (),
            )
        )
    sources.append(
        ("Has no label.", f"SELECT {COLUMNS} FROM {JOINED} WHERE {UNLABELLED} ORDER BY s.folder, s.key LIMIT ?", ())  # noqa: S608
    )
    sources.append(
        (
            "Its copies lie under both labels.",
            f"SELECT {COLUMNS} FROM {JOINED} WHERE s.label IS NULL AND s.clash = 1 AND {IN_CONFLICT}"  # noqa: S608
            " ORDER BY s.folder, s.key LIMIT ?",
            (),
        )
    )
    sources.append(
        (
            "The same picture is there under the other label.",
            f"SELECT {COLUMNS} FROM conflicts c CROSS JOIN {JOINED} WHERE s.key = c.sample AND {IN_CONFLICT}"  # noqa: S608
            " ORDER BY c.sample LIMIT ?",
            (),
        )
    )
    if has_opinions:
        sources.append(
            (
                "Its label looks wrong: a model that did not learn from it says P(generated) {0:.2f}.",
                f"SELECT {COLUMNS}, o.probability FROM opinions.predictions o CROSS JOIN {JOINED}"  # noqa: S608
                " WHERE o.doubt >= ? AND o.label IS NOT NULL AND s.sha256 = packed(o.sha256) AND s.label = o.label"
                f" AND {IN_CONFLICT} ORDER BY o.doubt DESC LIMIT ?",
                (SURE,),
            )
        )
    return sources


def _batch(db: sqlite3.Connection, picture: Picture, grouping: str, distance: int) -> list[Picture]:
    """The others of its batch that have no label either."""
    if grouping == "similar":
        return [other for other in read_near(db, picture, distance) if other.label_source != "person"]
    if grouping != "folder":
        return []
    folder = split(os.fsencode(picture.path))[0]
    rows = db.execute(
        f"SELECT {COLUMNS} FROM {JOINED} WHERE {UNLABELLED} AND s.folder = (SELECT key FROM folders WHERE path = ?)"  # noqa: S608
        " AND s.id != ? ORDER BY s.key LIMIT ?",
        (folder, pack_id(picture.id), BATCH - 1),
    )
    return [picture_of(row) for row in rows]
