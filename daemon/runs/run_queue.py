"""Runs: at most one scrape and one training at a time, queued by anyone, started and reaped by the supervisor's thread.

Queueing is thread-safe and immediate; `tick` must be called from one thread that lives as long as the daemon.
"""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from daemon.runs.process import Event, JobEnd, JobProcess, kill_left_over
from daemon.state.store import Run, RunKind, Store
from utils.clock import Clock, to_iso
from utils.errors import ExposrError
from utils.job_protocol import JOB_FILE, SCRATCH_FOLDER
from utils.logs import get_logger

log = get_logger(__name__)

JOBS_FOLDER = "jobs"
KEEP_JOB_FOLDERS = 10  # of finished runs, for their logs
MAX_RESUMES = 5  # a run that was interrupted this often without an end has failed
SAVE_PROGRESS_SECONDS = 2.0
STOP_SECONDS = 20.0  # for a run that a person stops, before it is killed


class Launcher(Protocol):
    """Prepares a run's folder (once), starts its process, looks after it each tick, and words its end.

    `prepare` and `launch` raise ExposrError with the reason when they cannot.
    """

    def prepare(self, run: Run, folder: Path) -> None: ...
    def launch(self, run: Run, folder: Path, on_progress: Callable[[Event], None]) -> JobProcess: ...
    def watch(self, run: Run) -> None: ...
    def explain_end(self, run: Run, end: JobEnd) -> JobEnd: ...


class Runner:
    """Owns the open runs. `on_change` hears of every new state and progress, from any thread."""

    def __init__(
        self, state_path: Path, store: Store, clock: Clock, launcher: Launcher, on_change: Callable[[Run], None]
    ):
        self._jobs_folder = state_path / JOBS_FOLDER
        self._store = store
        self._clock = clock
        self._launcher = launcher
        self._on_change = on_change
        self._lock = threading.RLock()
        self._open: dict[RunKind, Run] = {}
        self._processes: dict[RunKind, JobProcess] = {}
        self._saved_at: dict[str, float] = {}
        self._stopped: dict[str, float] = {}  # run ids that a person stopped, and when they are killed
        self._stopping = False
        self.wake = threading.Event()  # set when tick has something to do at once

    def adopt_left_overs(self, *, resume: bool = True) -> None:
        """At start: what an earlier process left open is ended; with `resume`, the last training goes on from there."""
        for run in self._store.open_runs():
            if kill_left_over(run.pid, run.pid_started):
                log.warning("left_over_job_killed", run=run.id, pid=run.pid)
            self._interrupted(run)
        interrupted = [run for run in self._store.runs("train", limit=1) if run.state == "interrupted"]
        for run in interrupted if resume else ():
            if (self.folder(run) / JOB_FILE).is_file() and "train" not in self._open:
                log.info("training_resumes", run=run.id)
                self._put(_again(run))

    def folder(self, run: Run) -> Path:
        return self._jobs_folder / run.id

    def current(self, kind: RunKind) -> Run | None:
        with self._lock:
            return self._open.get(kind)

    def queue(self, kind: RunKind, trigger: str, reason: str, options: Mapping[str, Any] | None = None) -> Run | None:
        """A new run, or None when one of this kind is open already or the daemon is stopping."""
        with self._lock:
            if self._stopping or kind in self._open:
                return None
            now = self._clock.now()
            run = Run(
                id=f"{kind}-{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
                kind=kind,
                state="queued",
                trigger=trigger,
                reason=reason,
                started=to_iso(now),
                options=dict(options or {}),
            )
            self._put(run)
        self.wake.set()
        return run

    def stop_run(self, run_id: str) -> bool:
        """End an open run for good; false when it is not open. It ends a little later, killed if need be."""
        with self._lock:
            run = next((run for run in self._open.values() if run.id == run_id), None)
            if run is None:
                return False
            self._stopped[run.id] = self._clock.monotonic() + STOP_SECONDS
        self.wake.set()
        return True

    def tick(self) -> list[tuple[Run, JobEnd]]:
        """Start what is queued, reap what has ended; returns the runs that ended."""
        ended = []
        for kind in list(self._open):
            run = self._open[kind]
            if run.state == "queued":
                if run.id in self._stopped:
                    ended.append(self._finish(run, JobEnd("interrupted", "")))
                else:
                    ended += [] if self._stopping else self._start(run)
            elif (process := self._processes.get(kind)) is None:
                continue
            elif process.is_running():
                self._launcher.watch(run)
                if run.id in self._stopped:
                    process.ask_to_stop()  # it may have started since the person asked
                    if self._clock.monotonic() >= self._stopped[run.id]:
                        process.kill()
            else:
                ended.append(self._finish(self._open[kind], self._launcher.explain_end(run, process.end())))
        return ended

    def stop(self, checkpoint_seconds: float, kill_seconds: float = 2.0) -> None:
        """Refuse new runs, let the open ones save their state, then make sure that they are gone."""
        with self._lock:
            self._stopping = True
        processes = dict(self._processes)
        for process in processes.values():
            process.ask_to_stop()
        deadline = time.monotonic() + checkpoint_seconds
        for kind, process in processes.items():
            if not process.wait(max(0.0, deadline - time.monotonic())):
                log.warning("job_killed", run=self._open[kind].id, after_seconds=checkpoint_seconds)
                process.kill()
                process.wait(kill_seconds)
        self.tick()
        for run in list(self._open.values()):
            self._interrupted(run)

    def _start(self, run: Run) -> list[tuple[Run, JobEnd]]:
        folder = self.folder(run)
        try:
            if not (folder / JOB_FILE).is_file():
                folder.mkdir(parents=True, exist_ok=True)
                self._launcher.prepare(run, folder)
            process = self._launcher.launch(run, folder, lambda event: self._progress(run.kind, event))
        except (ExposrError, OSError) as error:
            return [self._finish(run, JobEnd("failed", str(error)))]
        with self._lock:
            self._processes[run.kind] = process
            run = run.with_changes(state="running", pid=process.pid, pid_started=process.started)
            self._put(run)
        log.info("run_started", run=run.id, trigger=run.trigger, reason=run.reason, pid=process.pid)
        return []

    def _progress(self, kind: RunKind, event: Event) -> None:
        with self._lock:
            run = self._open.get(kind)
            if run is None or event.get("event") != "progress":
                return
            progress = _merge_progress(run.progress, event)
            phase_changed = progress.get("phase") != run.progress.get("phase")
            run = run.with_changes(progress=progress)
            self._open[kind] = run
            now = self._clock.monotonic()
            if phase_changed or now - self._saved_at.get(run.id, 0.0) >= SAVE_PROGRESS_SECONDS:
                self._saved_at[run.id] = now
                self._store.save(run)
        if phase_changed:
            log.info("run_phase", run=run.id, phase=progress.get("phase"), message=progress.get("message"))
        self._on_change(run)

    def _finish(self, run: Run, end: JobEnd) -> tuple[Run, JobEnd]:
        with self._lock:
            run = self._open.get(run.kind, run)
            if self._stopped.pop(run.id, None) is not None and end.result in ("interrupted", "failed"):
                return self._stopped_by_person(run), JobEnd("interrupted", "")
            if end.result == "interrupted":
                finished = self._interrupted(run)
                if not self._stopping and run.kind == "train" and finished.state == "interrupted":
                    self._put(_again(finished))
                return finished, end
            finished = run.with_changes(
                state=end.result,
                ended=to_iso(self._clock.now()),
                pid=None,
                pid_started=None,
                outcome={"result": end.result, "summary": end.summary, "details": end.details},
            )
            self._close(finished)
        report = log.info if end.result in ("succeeded", "rejected") else log.error
        report("run_ended", run=run.id, result=end.result, summary=end.summary)
        self._forget_old_folders()
        return finished, end

    def _stopped_by_person(self, run: Run) -> Run:
        stopped = run.with_changes(
            state="stopped",
            ended=to_iso(self._clock.now()),
            pid=None,
            pid_started=None,
            outcome={"result": "stopped", "summary": "a person stopped it", "details": {}},
        )
        self._close(stopped)
        log.info("run_ended", run=run.id, result="stopped")
        return stopped

    def _interrupted(self, run: Run) -> Run:
        resumes = int(run.progress.get("resumes", 0)) + 1
        state, summary = "interrupted", "stopped; a training goes on from its checkpoint at the next start"
        if resumes > MAX_RESUMES:
            state, summary = "failed", f"interrupted {resumes} times without an end; start it again by hand"
        run = run.with_changes(
            state=state,
            ended=to_iso(self._clock.now()),
            pid=None,
            pid_started=None,
            progress={**run.progress, "resumes": resumes},
            outcome={"result": state, "summary": summary, "details": {}},
        )
        self._close(run)
        log.info("run_ended", run=run.id, result=state, summary=summary)
        return run

    def _put(self, run: Run) -> None:
        with self._lock:
            self._open[run.kind] = run
            self._store.save(run)
        self._on_change(run)

    def _close(self, run: Run) -> None:
        with self._lock:
            self._open.pop(run.kind, None)
            self._processes.pop(run.kind, None)
            self._saved_at.pop(run.id, None)
            self._store.save(run)
        self._on_change(run)

    def _forget_old_folders(self) -> None:
        last = [run for kind in ("scrape", "train") for run in self._store.runs(kind, KEEP_JOB_FOLDERS)]
        open_ids = {run.id for run in self._store.open_runs()}
        kept = open_ids | {run.id for run in last}
        over = {run.id for run in last if run.state != "interrupted"} - open_ids
        if not self._jobs_folder.is_dir():
            return
        for folder in self._jobs_folder.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.name in over:
                shutil.rmtree(folder / SCRATCH_FOLDER, ignore_errors=True)


def _again(run: Run) -> Run:
    """An interrupted run, queued to go on from its checkpoint."""
    return run.with_changes(state="queued", ended=None, outcome={})


def _merge_progress(before: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """The newest progress line; a scrape's lines are kept a source, and the number of resumes stays."""
    shown = {key: value for key, value in event.items() if key != "event"}
    merged = {**shown, "resumes": before.get("resumes", 0)}
    if source := shown.get("source"):
        merged["sources"] = {**before.get("sources", {}), str(source): shown}
    return merged
