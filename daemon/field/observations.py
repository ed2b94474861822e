"""What Exposr-Cores have seen, as histograms by day and version, and whether it has moved away from validation."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Protocol

from daemon.field.drift import WINDOW_DAYS, Drift, Window, baselines_of, decide_drift
from daemon.field.store import KEEP_DAYS, FieldStore
from exposr_api.protocols import STORED, Decision
from trainer.publishing.registry import PublishedFile
from trainer.publishing.registry_files import CARD_FILE, Entry
from utils.clock import Clock
from utils.config_loader import Config
from utils.logs import get_logger

log = get_logger(__name__)

PAST_DAYS, FUTURE_DAYS = 7, 1  # what a client may still hand over, and how far its clock may be ahead
MAX_REPORTERS = 500  # of a day
SHOWN_DAYS = 30
UNCERTAIN = "uncertain"


class Models(Protocol):
    """The published versions (`daemon.serving.published_models.PublishedModels` fits)."""

    def entries(self) -> Sequence[Entry]: ...
    def champion(self) -> Entry | None: ...
    def latest(self) -> Mapping[str, Any] | None: ...
    def published_file(self, model: str, version: str, name: str) -> PublishedFile | None: ...


class ObservationDesk:
    """Implements `exposr_api.protocols.Observations`. Thread-safe."""

    def __init__(self, config: Callable[[], Config], store: FieldStore, models: Models, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._models = models
        self._clock = clock
        self._changes = 0
        self._decided: tuple[object, Drift] | None = None
        self._card: tuple[str, Mapping[str, Any] | None] = ("", None)
        if (latest := models.latest()) is not None:
            self.note_in_service(latest)

    def note_in_service(self, latest: Mapping[str, Any]) -> None:
        """What `GET /models/latest` says, whenever it changes."""
        if latest["timestamp"]:
            self._store.put_in_service(
                latest["serial"], latest["model_name"], latest["model_version"], latest["timestamp"]
            )

    def take(self, reporter: str, histograms: Sequence[Mapping[str, Any]]) -> Decision:
        """Keep the totals of one detector; days too far off and versions that are not published are ignored."""
        today = self._clock.now().date()
        first, last = (today - timedelta(PAST_DAYS)).isoformat(), (today + timedelta(FUTURE_DAYS)).isoformat()
        published = {(entry["model"], entry["version"]) for entry in self._models.entries()}
        taken = [
            row for row in histograms if first <= row["day"] <= last and (row["model"], row["version"]) in published
        ]
        for day in {row["day"] for row in taken}:
            if self._store.reporters(day, but=reporter) >= MAX_REPORTERS:
                text = f"{MAX_REPORTERS} detectors have handed over histograms of {day} already"
                return Decision(False, "too_many_reporters", text)
        self._store.put_histograms(reporter, taken, (today - timedelta(KEEP_DAYS)).isoformat())
        self._changes += 1
        details = {"taken": len(taken), "ignored": len(histograms) - len(taken)}
        return Decision(True, STORED, "observations stored", details)

    def drift(self) -> Drift:
        """Of the version in service; decided anew when something has come in, or the day or the version is another."""
        champion = self._models.champion()
        if not self._config().triggers.drift:
            return Drift("off", "triggers.drift is false")
        if champion is None:
            return Drift("no_version", "nothing is published yet")
        today = self._clock.now().date()
        asked = (champion["model"], champion["version"], today, self._changes)
        if self._decided is None or self._decided[0] != asked:
            window = [row for row in self._days(today, WINDOW_DAYS) if _is_of(row, champion)]
            seen = Window(
                sum(row["pictures"] for row in window),
                sum(row["verdicts"][UNCERTAIN] for row in window),
                sum(row["unfamiliar"] for row in window),
            )
            card = self._card_of(champion)
            self._decided = (asked, decide_drift(seen, baselines_of(card) if card is not None else {}))
        return self._decided[1]

    def summary(self) -> Mapping[str, Any]:
        champion = self._models.champion()
        card = self._card_of(champion) if champion is not None else None
        validation = None
        if champion is not None and card is not None:
            part = card.get("evaluation", {}).get("validation", {})
            named = {name: champion[name] for name in ("model", "version")}
            validation = {**named, "scores": part.get("scores"), "novelty": part.get("novelty")}
        return {
            "days": self._days(self._clock.now().date(), SHOWN_DAYS),
            "validation": validation,
            "drift": self.drift().as_public(),
            "in_service": self._in_service(),
        }

    def _in_service(self) -> list[dict[str, str]]:
        """Which version since when, oldest first: each came with its publication, later moves were noted."""
        published = {
            int(entry["serial"]): (str(entry["model"]), str(entry["version"]), str(entry["timestamp"]))
            for entry in self._models.entries()
            if "serial" in entry and "timestamp" in entry
        }
        moves = sorted((published | self._store.in_service()).items())
        found = [dict(zip(("model", "version", "since"), move, strict=True)) for _, move in moves]
        return [move for before, move in zip([None, *found], found, strict=False) if not _is_same(before, move)]

    def _days(self, today: date, number: int) -> list[dict[str, Any]]:
        """Sums over the detectors, oldest day first."""
        sums: dict[tuple[str, str, str], dict[str, Any]] = {}
        for row in self._store.histograms((today - timedelta(number - 1)).isoformat()):
            key = (row["day"], row["model"], row["version"])
            if key not in sums:
                named = dict(zip(("day", "model", "version"), key, strict=True))
                empty = {name: [0] * len(row[name]) for name in ("scores", "novelty")}
                sums[key] = {**named, "pictures": 0, **empty, "verdicts": defaultdict(int), "unfamiliar": 0}
            found = sums[key]
            found["pictures"] += sum(row["scores"])
            found["unfamiliar"] += row["unfamiliar"]
            for name in ("scores", "novelty"):
                found[name] = [one + other for one, other in zip(found[name], row[name], strict=True)]
            for verdict, count in row["verdicts"].items():
                found["verdicts"][verdict] += count
        return list(sums.values())

    def _card_of(self, entry: Entry) -> Mapping[str, Any] | None:
        name = f"{entry['model']}/{entry['version']}"
        if self._card[0] != name:
            file = self._models.published_file(str(entry["model"]), str(entry["version"]), CARD_FILE)
            self._card = (name, _read_card(file.path) if file is not None else None)
        return self._card[1]


def _is_same(before: Mapping[str, str] | None, move: Mapping[str, str]) -> bool:
    return before is not None and all(before[name] == move[name] for name in ("model", "version"))


def _is_of(row: Mapping[str, Any], entry: Entry) -> bool:
    return (row["model"], row["version"]) == (entry["model"], entry["version"])


def _read_card(file: Path) -> Mapping[str, Any] | None:
    """What the decision needs of it; a card may have megabytes."""
    try:
        card = json.loads(file.read_bytes())
        return {"evaluation": {"validation": card["evaluation"]["validation"]}}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        log.warning("card_unusable", file=str(file), reason=repr(error))
        return None
