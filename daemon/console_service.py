"""What the console shows and does: the index, the thumbnails, the labels, the versions' cards, logs and sources."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from daemon.application import Application
from daemon.field.store import FIELD_FILE
from daemon.runs.process import LOG_FILE
from daemon.serving.label_desk import LabelDesk, Labelled
from daemon.serving.mix import Counted, Mix
from daemon.serving.thumbnails import Thumbnails
from exposr_api.console.protocols import ProblemKind, QueueGrouping, ThumbnailSize
from exposr_api.protocols import NOT_FOUND, RUNNING, STARTED, Decision, Json
from handlers.index import label_queue, problem_pages, queries
from handlers.index.attached import attached
from handlers.index.gallery import Picture, count_mix, read_facts, read_near, read_picture
from handlers.index.picture_pages import MODEL_SAYS, NOVELTY, Page, knows_novelty, read_choices, read_page
from handlers.index.schema import INDEX_FILE, connect_reader
from handlers.labels.history import Entry, open_history
from scrapers.outcomes.figures import SourceFigures, source_figures
from utils.clock import SystemClock
from utils.errors import SkipItemError
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckLimits
from utils.images.thumbnail_files import THUMBNAILS_FOLDER
from utils.job_protocol import OPINIONS_FILE, SPLIT_LEDGER_FILE
from utils.metadata import Label, read_metadata

THUMBNAIL_WORKERS = 2
LOG_TAIL_BYTES = 48 * 1024
MAX_CARD_BYTES = 16 << 20
PARTS = ("train", "validation", "calibration", "test", "left_out")


@dataclass(frozen=True, slots=True)
class QueueView:
    """`exposr_api.console.protocols.QueueView`."""

    picture: Picture | None
    why: str
    details: Json
    others: list[Picture]
    ahead: list[Picture]
    decided: int
    can_undo: bool


@dataclass(frozen=True, slots=True)
class _NoPage:
    """While the index is being made."""

    pictures: list[Picture] = field(default_factory=list)
    problems: list[Any] = field(default_factory=list)
    older: str = ""
    next: str = ""
    searched_to: str = ""


class ConsoleService:
    """Implements `exposr_api.console.protocols.ConsoleData` over the daemon's parts."""

    def __init__(self, application: Application) -> None:
        self._application = application
        config = application.config
        self._root = config.storage.local_path
        self._state = config.storage.state_path
        self._desk = LabelDesk(config, SystemClock())
        self._mix = Mix(self._count_mix, self._announce)
        pool = CheckPool(
            THUMBNAIL_WORKERS,
            CheckLimits.from_settings(config.intake),
            config.intake.check_timeout_seconds,
            config.intake.check_memory_mb,
        )
        limit = int(config.storage.max_thumbnails_mb * 1e6)
        self._thumbnails = Thumbnails(self._state / THUMBNAILS_FOLDER, limit, pool, self._file_of)

    def close(self) -> None:
        self._mix.close()
        self._thumbnails.close()

    # pictures

    def pictures(self, wanted: Mapping[str, str], cursor: str, limit: int) -> Page | _NoPage:
        with self._index() as db:
            if db is None:
                return _NoPage()
            with (
                attached(db, "split", self._state / SPLIT_LEDGER_FILE) as has_split,
                attached(db, "opinions", self._state / OPINIONS_FILE) as has_opinions,
            ):
                has_novelty = has_opinions and knows_novelty(db)
                known = {"part": has_split, "model": has_opinions, "novelty": has_novelty}
                if any(name in wanted and not is_known for name, is_known in known.items()):
                    return _NoPage()
                return read_page(db, wanted, cursor, limit)

    def choices(self) -> Mapping[str, Sequence[str]]:
        with self._index() as db:
            if db is None:
                return {}
            with attached(db, "opinions", self._state / OPINIONS_FILE) as has_opinions:
                says = tuple(MODEL_SAYS) if has_opinions else ()
                novelty = tuple(NOVELTY) if has_opinions and knows_novelty(db) else ()
            parts = PARTS if (self._state / SPLIT_LEDGER_FILE).is_file() else ()
            return {**read_choices(db), "part": parts, "model": says, "novelty": novelty}

    def picture(self, sha256: str) -> Json | None:
        with self._index() as db:
            picture = read_picture(db, sha256) if db is not None else None
            if db is None or picture is None:
                return None
            facts = read_facts(db, picture)
            near = read_near(db, picture, self._application.config.intake.near_duplicate_distance)
            part, opinion = self._part_of(db, sha256), self._opinion_of(db, sha256)
        return {
            "picture": picture,
            **facts,
            "near": near,
            "metadata": self._metadata(facts["metadata_path"]),
            "part": part,
            "opinion": opinion,
            "history": self._history(sha256),
        }

    def problems(self, kind: ProblemKind, cursor: str) -> problem_pages.ProblemPage | _NoPage:
        counted = self._counted()
        with self._index() as db:
            if db is None:
                return _NoPage()
            is_paired = counted is not None and counted.is_paired
            return problem_pages.read_problems(db, kind, cursor, is_paired=is_paired)

    async def thumbnail(self, sha256: str, size: ThumbnailSize) -> bytes | None:
        return await self._thumbnails.get(sha256, size)

    def mix(self) -> Sequence[tuple[str, str, int]] | None:
        counted = self._counted()
        return None if counted is None else counted.by_source

    # labels

    def queue(self, grouping: QueueGrouping, who: str) -> QueueView:
        desk, person = self._desk, self._desk.person(who)
        distance = self._application.config.intake.near_duplicate_distance
        with self._index() as db:
            if db is None:
                return QueueView(None, "", {}, [], [], person.decided, bool(person.decisions))
            with (
                attached(db, "opinions", self._state / OPINIONS_FILE) as has_opinions,
                attached(db, "field", self._state / FIELD_FILE) as has_reports,
            ):
                said = {"has_opinions": has_opinions, "has_reports": has_reports}
                found = label_queue.read_next(db, desk.left_out(who), grouping, distance, **said)
                if found.picture is None:  # rather what somebody else looks at than nothing
                    found = label_queue.read_next(db, desk.decided(), grouping, distance, **said)
            if taken_back := desk.pop_taken_back(who):
                first, *others = taken_back
                found = label_queue.Next(first, "Taken back: decide again.", others, found.ahead)
            facts = read_facts(db, found.picture) if found.picture is not None else {}
        desk.hold(who, [found.picture, *found.others] if found.picture is not None else [])
        metadata = self._metadata(facts.get("metadata_path"))
        details = dict(metadata.get("attribution", {}))
        can_undo = bool(person.decisions)
        return QueueView(found.picture, found.why, details, found.others, found.ahead, person.decided, can_undo)

    def label(self, who: str, pictures: Sequence[str], label: Label | None, *, override: bool = False) -> Labelled:
        return self._desk.label(who, self._known(pictures), label, override=override)

    def skip(self, who: str, pictures: Sequence[str]) -> None:
        self._desk.skip(who, self._known(pictures))

    def undo(self, who: str) -> str:
        return self._desk.undo(who)

    # versions

    def card(self, model: str, version: str) -> Json | None:
        text = self._published(model, version, "model.json")
        try:
            card = json.loads(text) if text is not None else None
        except (ValueError, RecursionError):
            return None
        return card if isinstance(card, dict) else None

    def report(self, model: str, version: str) -> bytes | None:
        return self._published(model, version, "report.html")

    # runs and sources

    def run_log(self, run_id: str) -> str:
        run = self._application.run(run_id)
        if run is None:
            return ""
        try:
            with (self._application.runner.folder(run) / LOG_FILE).open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - LOG_TAIL_BYTES))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            return ""
        return text if len(text) < LOG_TAIL_BYTES // 2 else text.partition("\n")[2]

    def sources(self) -> Sequence[Json]:
        figures = source_figures(self._state)
        return [
            {**asdict(state), **asdict(figures.get(state.name, SourceFigures()))} for state in self._application.sources
        ]

    def start_source(self, name: str) -> Decision:
        state = next((state for state in self._application.sources if state.name == name), None)
        if state is None:
            return Decision(False, NOT_FOUND, f"there is no source {name}")
        if not state.usable:
            return Decision(False, "no_source", f"the source {name} cannot be used: {state.reason}")
        refusal = self._application.scrape_refusal()
        if refusal is not None:
            return Decision(False, *refusal)
        reason = f"asked for in the console: {name} alone"
        run = self._application.runner.queue("scrape", "manual", reason, {"sources": [name]})
        if run is None:
            return Decision(False, RUNNING, "a collection runs already")
        return Decision(True, STARTED, f"collecting from {name}", {"run_id": run.id})

    # the index

    @contextlib.contextmanager
    def _index(self) -> Iterator[sqlite3.Connection | None]:
        """A reader's connection; None while there is no index."""
        try:
            connection = connect_reader(self._state / INDEX_FILE)
        except sqlite3.OperationalError:
            yield None
            return
        with contextlib.closing(connection):
            yield connection

    def _known(self, sha256s: Sequence[str]) -> list[Picture]:
        """The pictures that are there."""
        with self._index() as db:
            found = [read_picture(db, sha256) for sha256 in sha256s] if db is not None else []
        return [picture for picture in found if picture is not None]

    def _file_of(self, sha256: str) -> Path | None:
        with self._index() as db:
            picture = read_picture(db, sha256) if db is not None else None
        return None if picture is None else self._root / picture.path

    def _part_of(self, db: sqlite3.Connection, sha256: str) -> str | None:
        with attached(db, "split", self._state / SPLIT_LEDGER_FILE) as has_split:
            row = (
                db.execute("SELECT place FROM split.samples WHERE sha256 = ?", (sha256,)).fetchone()
                if has_split
                else None
            )
        return None if row is None else str(row[0])

    def _opinion_of(self, db: sqlite3.Connection, sha256: str) -> Json | None:
        """What the last training says of the picture; `version` is empty where its model was not published.

        `probability` and `how` are None for what it learnt from, `novelty` and `cut` where they were not measured.
        """
        with attached(db, "opinions", self._state / OPINIONS_FILE) as has_opinions:
            if not has_opinions:
                return None
            said = _row(db, "probability, how", "predictions", sha256)
            (version,) = db.execute("SELECT version FROM opinions.about").fetchone()
            found = {"version": version, "probability": None, "how": None, "novelty": None, "cut": None, **said}
            if knows_novelty(db):
                (found["cut"],) = db.execute("SELECT cut FROM opinions.about").fetchone()
                found |= _row(db, "value AS novelty", "novelty", sha256)
            return None if found["probability"] is None and found["novelty"] is None else found

    def _metadata(self, path: str | None) -> dict[str, Any]:
        """What the metadata file itself says now."""
        if path is None:
            return {}
        try:
            return asdict(read_metadata(self._root / path))
        except SkipItemError:
            return {}

    def _history(self, sha256: str) -> list[Entry]:
        """What people have said about the content."""
        with contextlib.closing(open_history(self._state)) as history:
            return history.entries(sha256)

    def _counted(self) -> Counted | None:
        return self._mix.get(self._application.dataset.counts())

    def _count_mix(self) -> Counted:
        with contextlib.closing(connect_reader(self._state / INDEX_FILE)) as db:
            is_paired = queries.is_paired_set(db)
            return Counted(tuple(count_mix(db, is_paired)), is_paired)

    def _announce(self) -> None:
        self._application.hub.publish("counts", asdict(self._application.dataset.counts()))

    def _published(self, model: str, version: str, name: str) -> bytes | None:
        file = self._application.models.published_file(model, version, name)
        if file is None or file.size_bytes > MAX_CARD_BYTES:
            return None
        try:
            return file.path.read_bytes()
        except OSError:
            return None


def _row(db: sqlite3.Connection, columns: str, table: str, sha256: str) -> dict[str, Any]:
    """Of what the last training says; empty where it says nothing of the picture."""
    found = db.execute(f"SELECT {columns} FROM opinions.{table} WHERE sha256 = ?", (sha256,))  # noqa: S608
    names = [column[0] for column in found.description]
    return next((dict(zip(names, row, strict=True)) for row in found), {})
