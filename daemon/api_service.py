"""The running service as the API and the command line see it: what is known, and what may be started."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from daemon.application import Application
from daemon.exposition import UNSEEN, metrics_snapshot
from daemon.field.observations import ObservationDesk
from daemon.field.reports import ReportDesk
from daemon.monitoring.metrics import render
from daemon.scheduling.planner import SCRAPE_END, TRAIN_END
from daemon.serving.published_models import PublishedModels
from daemon.state.store import Run, RunKind
from exposr_api.events import Listener
from exposr_api.protocols import NOT_FOUND, RUNNING, STARTED, Decision, Health
from handlers.dataset import Counts
from utils.health import PartHealth

FAILURES_UNTIL_DEGRADED = 3


class TrainerService:
    """Implements `exposr_api.protocols.Service` over the daemon's core."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.further_health: Callable[[], Sequence[PartHealth]] = tuple  # the supervisor's own parts

    @property
    def models(self) -> PublishedModels:
        return self._application.models

    @property
    def feedback(self) -> ReportDesk:
        return self._application.reports

    @property
    def observations(self) -> ObservationDesk:
        return self._application.observations

    def status(self) -> Mapping[str, Any]:
        """All of it from memory, so that the event loop can ask for it: what it costs does not grow with anything."""
        application = self._application
        return {
            "uptime": round(application.uptime(), 1),
            "last_scrape": application.planner.last(SCRAPE_END),
            "last_train": application.planner.last(TRAIN_END),
            "dataset_counts": _as_public(application.dataset.counts()),
            "dataset_compared_at": application.dataset.compared_at(),
            "running": {run.kind: _in_short(run) for run in application.open_runs()},
            "plan": application.plan,
            "drift": application.drift.as_public(),
            "sources": application.public_sources,
            "mix": application.mix,
            "last_rejection": self._last_rejection(),
        }

    def metrics(self) -> Mapping[str, Any]:
        entries = self.models.entries()
        champion, latest = self.models.champion(), self.models.latest()
        return {
            "total_images": self._application.dataset.counts().total,
            "models_trained": len(entries),
            "last_training": latest["timestamp"] if latest else None,
            "validation_accuracy": champion.get("val_acc") if champion else None,
            **{name: champion.get(name) if champion else None for name in UNSEEN},
        }

    def prometheus(self, accept: str) -> tuple[bytes, str]:
        return render(metrics_snapshot(self._application), accept)

    def health(self) -> Health:
        application = self._application
        parts = [application.dataset.health(), self._disk(), self._state(), self._sources(), self._training()]
        parts += self.further_health()
        if not application.dataset.ready() and application.dataset.compared_at() is None:
            return Health("starting", parts)
        if application.dataset.is_lost():
            return Health("failing", parts)
        return Health("ok" if all(part.ok for part in parts) else "degraded", parts)

    def subscribe(self) -> Listener:
        return self._application.hub.subscribe()

    def start_scrape(self, way: str = "through the API") -> Decision:
        return self._start("scrape", self._application.scrape_refusal(), way)

    def start_training(self, way: str = "through the API") -> Decision:
        return self._start("train", self._application.training_refusal(), way)

    def runs(self, kind: str | None, limit: int) -> Sequence[Mapping[str, Any]]:
        return [run.as_public() for run in self._application.runs(kind, limit)]

    def run(self, run_id: str) -> Mapping[str, Any] | None:
        found = self._application.run(run_id)
        return found.as_public() if found else None

    def stop_run(self, run_id: str) -> Decision:
        if self._application.run(run_id) is None:
            return Decision(False, NOT_FOUND, f"{run_id}: no such run")
        if not self._application.runner.stop_run(run_id):
            return Decision(False, "not_running", "this run has ended already")
        return Decision(True, STARTED, "the run is being stopped", {"run_id": run_id})

    def _start(self, kind: RunKind, refusal: tuple[str, str] | None, way: str) -> Decision:
        if self._application.runner.current(kind) is not None:
            return self._running(kind)
        if refusal is not None:
            code, message = refusal
            counts = self._application.dataset.counts()
            return Decision(False, code, message, {"dataset_counts": asdict(counts)} if kind == "train" else {})
        run = self._application.runner.queue(kind, "manual", f"asked for {way}")
        if run is None:
            return self._running(kind)
        return Decision(True, STARTED, f"{_noun(kind)} started", {"run_id": run.id})

    def _running(self, kind: RunKind) -> Decision:
        run = self._application.runner.current(kind)
        return Decision(False, RUNNING, f"{_noun(kind)} already running", {"run_id": run.id} if run else {})

    def _last_rejection(self) -> dict[str, Any] | None:
        run = self._application.last_rejection
        if run is None:
            return None
        details = run.outcome.get("details", {})
        facts = {"reasons": details.get("reasons", []), "collect": details.get("collect", "")}
        return {"run": run.id, "at": run.ended, "summary": run.outcome.get("summary", ""), **facts}

    def _state(self) -> PartHealth:
        application = self._application
        problems = [problem for problem in (application.store.problem, application.models.problem) if problem]
        return PartHealth("state", not problems, "; ".join([*problems, *application.set_aside.notices()]))

    def _disk(self) -> PartHealth:
        state = self._application.disk.state()
        return PartHealth("disk", state.ok, state.reason)

    def _sources(self) -> PartHealth:
        application = self._application
        problems = [state.problem for state in application.sources if state.problem]
        problems += [application.collection_problem] if application.collection_problem else []
        return PartHealth("sources", not problems, "; ".join(problems))

    def _training(self) -> PartHealth:
        failed = self._application.training_failures
        if len(failed) < FAILURES_UNTIL_DEGRADED:
            return PartHealth("training", True)
        why = failed[0].outcome.get("summary", "")
        return PartHealth("training", False, f"{len(failed)} trainings in a row failed; the last one: {why}")


@functools.lru_cache(maxsize=1)
def _as_public(counts: Counts) -> dict[str, Any]:
    return asdict(counts)


def _noun(kind: RunKind) -> str:
    return "training" if kind == "train" else kind


def _in_short(run: Run) -> dict[str, Any]:
    return {"id": run.id, "state": run.state, "reason": run.reason, "message": run.progress.get("message", "")}
