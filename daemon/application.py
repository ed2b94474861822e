"""The daemon's parts, wired together: the data set, the models, the runs and the plan. No threads of its own.

The supervisor calls `tick` about once a second and `plan_runs` now and then, both from one thread; everything else
may be called from any thread.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from daemon.field.observations import ObservationDesk
from daemon.field.reports import ReportDesk
from daemon.field.store import FIELD_FILE, FieldStore
from daemon.monitoring.damage import SetAsideFiles
from daemon.monitoring.disk import DiskFloor
from daemon.monitoring.gpu import GpuMemory, gpu_memory
from daemon.notify.reporter import Reporter
from daemon.runs.launcher import SNAPSHOT_LABELLED, JobLauncher
from daemon.runs.process import JobEnd
from daemon.runs.run_queue import Runner
from daemon.scheduling.planner import (
    DRIFT,
    DRIFT_SCRAPE,
    SCRAPE_ATTEMPT,
    SCRAPE_END,
    TRAIN_ATTEMPT,
    Amounts,
    Planner,
    training_rules,
)
from daemon.scheduling.policy import DueDecision, lacks_data
from daemon.serving.published_models import PublishedModels
from daemon.state.deadlines import Timekeeper
from daemon.state.store import STORE_FILE, Run, Store
from exposr_api.events import EventHub
from handlers.dataset import Counts, Dataset
from scrapers.status import SourceState, collected_mix, how_to_start, source_states
from scrapers.store.schema import find_damage
from utils.clock import Clock
from utils.config_loader import Config
from utils.errors import OperatorError
from utils.job_protocol import EMBEDDINGS_FOLDER
from utils.logs import get_logger

log = get_logger(__name__)

Opened = TypeVar("Opened")


class Application:
    """Built from the configuration alone; opens the state, starts nothing."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        self._started = self._changed_at = clock.monotonic()
        self._said: dict[str, tuple[str, str]] = {}
        self._counts: Counts | None = None
        self.plan: dict[str, Any] = {}
        self.sources: Sequence[SourceState] = ()
        self.public_sources: Sequence[dict[str, Any]] = ()  # the same for the API
        self.collection_problem = ""  # why nothing can be collected from any source, until a person acts
        self.mix: Mapping[str, Mapping[str, int]] = {}  # label -> generator or source -> collected pictures
        self.hub = EventHub(config.api.max_event_clients)
        state = config.storage.state_path
        self.set_aside = SetAsideFiles([state, state / EMBEDDINGS_FOLDER, config.storage.models_path])
        self.store = _opened(state / STORE_FILE, Store)
        self.models = PublishedModels(config, clock, self._model_changed)
        self.dataset = Dataset(config, clock, self._counts_changed)
        self.planner = Planner(self.store, Timekeeper(clock))
        self.field = _opened(state / FIELD_FILE, FieldStore)
        self.launcher = JobLauncher(lambda: self.config, self.dataset, self.store, self.field.verdicts)
        self.runner = Runner(config.storage.state_path, self.store, clock, self.launcher, self._run_changed)
        self.disk = _disk_floor(config)
        self.reports = ReportDesk(lambda: self.config, self.field, self.dataset, self.disk, clock)
        self.observations = ObservationDesk(lambda: self.config, self.field, self.models, clock)
        self.drift = self.observations.drift()
        self.reporter = Reporter(lambda: self.config, self.store, clock)
        self.gpus: list[GpuMemory] = []
        self._look_at_trainings()

    def uptime(self) -> float:
        return self._clock.monotonic() - self._started

    def open_runs(self) -> list[Run]:
        return [run for kind in ("scrape", "train") if (run := self.runner.current(kind)) is not None]

    def runs(self, kind: str | None = None, limit: int = 50) -> list[Run]:
        """Newest first, the open ones with their newest progress."""
        current = {run.id: run for run in self.open_runs()}
        return [current.get(run.id, run) for run in self.store.runs(kind, limit)]

    def run(self, run_id: str) -> Run | None:
        return next((run for run in self.open_runs() if run.id == run_id), None) or self.store.run(run_id)

    # why not

    def scrape_refusal(self) -> tuple[str, str] | None:
        """(code, reason) for which no scrape can start, by hand or by schedule."""
        if missing := self.dataset.missing():
            return "data_away", missing
        disk = self.disk.state()
        if not disk.ok:
            return "disk_full", disk.reason
        if damage := find_damage(self.config.storage.state_path):
            return "state_damaged", damage
        states = source_states(self.config)
        if any(state.usable for state in states):
            return None
        why = "; ".join(f"{state.name}: {state.reason}" for state in states)
        return "no_source", f"no source can be used: {how_to_start(self.config) or why}"

    def training_refusal(self) -> tuple[str, str] | None:
        """The same for a training; what the data lacks is said with the numbers."""
        if not self.dataset.ready():
            return "starting", "the data folder is still being read; try again in a moment"
        if missing := self.dataset.missing():
            return "data_away", missing
        disk = self.disk.state()
        if not disk.ok:
            return "disk_full", disk.reason
        counts = self.dataset.counts()
        facts = self.planner.training_facts(self._amounts(counts), is_running=False, is_scraping=False)
        shortage = lacks_data(facts, training_rules(self.config))
        return None if shortage is None else ("too_little_data", shortage)

    # the supervisor's turns

    def tick(self) -> None:
        """Start what is queued, reap what has ended, see what was published."""
        self.store.flush()
        for run in self.open_runs():
            if run.state == "queued":
                self.planner.mark_now(SCRAPE_ATTEMPT if run.kind == "scrape" else TRAIN_ATTEMPT)
        for run, end in self.runner.tick():
            self._run_ended(run, end)
        self.models.refresh()

    def plan_runs(self, *, start: bool = True) -> None:
        """Decide about both kinds of run, start what is due, and keep the verdicts for /status."""
        self.look_at_sources()
        is_scraping = self.runner.current("scrape") is not None
        self.drift = self.observations.drift()
        asked_for = self.drift.reason if self.drift.is_risen else ""
        scrape = self.planner.scrape_decision(self.config, is_running=is_scraping, drift=asked_for)
        training = self.planner.training_decision(
            self.config,
            self._amounts(self.dataset.counts()),
            is_running=self.runner.current("train") is not None,
            is_scraping=is_scraping,
        )
        if scrape.is_due and start:
            scrape = self._start_due("scrape", scrape, self.scrape_refusal())
        if training.is_due and start:
            training = self._start_due("train", training, self.training_refusal())
        if start:  # a command that only looks tells nobody
            self.reporter.look_at_sources(self.sources)
            self.reporter.look_at_disk(self.disk.state())
            self.reporter.look_at_drift(self.drift.is_risen, self.drift.reason, self.drift.as_public())
        self.plan = {"scrape": self._say("scrape", scrape), "train": self._say("train", training)}

    def look_at_sources(self) -> None:
        """Read what the last runs came to, for /status and /health."""
        self.sources = source_states(self.config)
        self.public_sources = [asdict(state) for state in self.sources]
        self.collection_problem = find_damage(self.config.storage.state_path)
        self.mix = collected_mix(self.config)

    def look_at_gpus(self) -> None:
        """Ask the driver for what the exposition shows; up to some seconds."""
        self.gpus = gpu_memory()

    def close(self) -> None:
        self.hub.close()
        self.reporter.stop()
        self.reports.close()
        self.field.close()
        self.store.close()

    def _start_due(self, kind: Any, decision: DueDecision, refusal: tuple[str, str] | None) -> DueDecision:
        if refusal is not None:
            return DueDecision(False, *refusal)
        self.runner.queue(kind, decision.code, decision.reason)
        if decision.code == DRIFT:
            self.planner.mark_now(DRIFT_SCRAPE)
        return decision

    def _say(self, what: str, decision: DueDecision) -> dict[str, Any]:
        """Log a decision when its kind changes; every verdict is in /status."""
        if self._said.get(what, ("", ""))[0] != decision.code:
            log.info("plan", what=what, due=decision.is_due, code=decision.code, reason=decision.reason)
        self._said[what] = (decision.code, decision.reason)
        return {
            "due": decision.is_due,
            "code": decision.code,
            "reason": decision.reason,
            "at": self.planner.at(decision),
        }

    def _run_ended(self, run: Run, end: JobEnd) -> None:
        if end.result == "interrupted":
            return
        if run.kind == "scrape":
            if end.result == "succeeded" or _asked_a_source(end):
                self.planner.mark_now(SCRAPE_END)
            self.look_at_sources()
            self.dataset.request_reconcile()
        else:
            self.planner.training_ended(end.result, int(self.store.fact(SNAPSHOT_LABELLED) or 0))
            self._look_at_trainings()
            self.reporter.training_ended(run, end.result, end.summary)

    def _look_at_trainings(self) -> None:
        """`training_failures`: since the last training that did not fail, newest first. `last_rejection`: the newest
        training that was kept out, unless a later one was published."""
        trainings = [run for run in self.store.runs("train") if not run.is_open]
        ended = (run for run in trainings if run.state not in ("interrupted", "stopped"))
        self.training_failures = list(itertools.takewhile(lambda run: run.state == "failed", ended))
        newest = next((run for run in trainings if run.state in ("succeeded", "rejected")), None)
        self.last_rejection = newest if newest is not None and newest.state == "rejected" else None

    def _amounts(self, counts: Counts) -> Amounts:
        quiet_for = self._clock.monotonic() - self._changed_at
        return Amounts(counts.real, counts.ai_generated, counts.pending, quiet_for, self.dataset.missing())

    def _counts_changed(self, counts: Counts) -> None:
        if counts != self._counts:
            self._counts = counts
            self._changed_at = self._clock.monotonic()
            self.hub.publish("counts", asdict(counts))

    def _model_changed(self, latest: Mapping[str, Any]) -> None:
        self.hub.publish("model", latest)
        self.observations.note_in_service(latest)
        self.reporter.model_changed(latest, self.models.champion())

    def _run_changed(self, run: Run) -> None:
        self.hub.publish("run", run.as_public())


def _opened(file: Path, open_file: Callable[[Path], Opened]) -> Opened:
    try:
        return open_file(file)
    except (sqlite3.Error, OSError) as error:
        reason = f"cannot be opened: {error}; storage.state_path must be a folder that can be written"
        raise OperatorError(f"{file}: {reason}") from error


def _asked_a_source(end: JobEnd) -> bool:
    """Whether a collection went its way, whatever came of it: asking again at once would bring the same."""
    return any(source.get("state") == "finished" for source in end.details.get("sources", {}).values())


def _disk_floor(config: Config) -> DiskFloor:
    storage = config.storage
    folders: list[Path] = [storage.local_path, storage.models_path, storage.state_path]
    return DiskFloor(folders, storage.min_free_gb, storage.min_free_inodes_percent)
