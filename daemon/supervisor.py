"""The life of the process: start order, the loop, signals, reload, stop order.

Start: lock, state, socket, API (answers `starting`), reconcile, watcher, READY. Stop: no new runs, jobs save their
state, watcher, API, state. The main thread runs the loop; signal handlers only set flags.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from starlette.applications import Starlette

from daemon.api_service import TrainerService
from daemon.application import Application
from daemon.console_service import ConsoleService
from daemon.monitoring.job_guard import JobGuard
from daemon.monitoring.sd_notify import Notifier
from daemon.monitoring.watchdog import Heartbeats, Watchdog
from daemon.scheduling.periodic import PeriodicJobs
from daemon.serving.keys import load_keys, load_session_secret, reload_keys
from daemon.state.lock import Holder, StateLock
from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.signin.session import Sessions
from exposr_api.signin.signed_out import SESSIONS_FILE, SignedOut
from exposr_api.transport.server import ApiServer
from scrapers.status import source_states
from scrapers.terms import TERMS
from utils.clock import Clock, SystemClock
from utils.config_loader import Config
from utils.errors import OperatorError
from utils.health import PartHealth
from utils.logs import configure_logging, get_logger

log = get_logger(__name__)

LOOP_SECONDS = 1.0  # longest time between two looks at the jobs
PLAN_SECONDS = 15  # between two decisions on what is due
GPU_SECONDS = 60  # between two looks at the GPUs' memory
STATUS_SECONDS = 5  # between two STATUS= lines
SILENCE_LIMIT_SECONDS = 45.0  # of one part, before the watchdog is no longer fed
START_SECONDS = 120.0  # until READY, at most; usually under one, more after a crash that left things to repair
CHECKPOINT_SECONDS = 6.0  # for a job to save its state at stop; with it a stop stays within 10 s
CHECKPOINT_SECONDS_UNDER_SYSTEMD = 20.0  # TimeoutStopSec leaves more room there
RELOADABLE_SECTIONS = (
    *("scheduler", "triggers", "sources", "model", "training", "gate", "core", "feedback", "notify", "logging"),
)


class Supervisor:
    """Runs the service until SIGTERM or SIGINT. `run` must be called from the main thread."""

    def __init__(self, config: Config, read_config: Callable[[], Config], clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._read_config = read_config
        self._config = config
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._notifier = Notifier()
        self._heartbeats = Heartbeats()
        self._watchdog = Watchdog(self._notifier, self._heartbeats)
        self._periodic = PeriodicJobs()
        self._stale: list[str] = []
        self._jobs = JobGuard(self._clock.monotonic)
        self._keys = Keys([])

    def run(self) -> None:
        """Serve until asked to stop. Raises OperatorError when the service cannot start."""
        config = self._config
        self._notifier.status("starting: opening the state")
        self._notifier.extend_timeout(START_SECONDS)
        lock = StateLock(config.storage.state_path)
        lock.acquire("exposr-trainer serve")
        try:
            application = Application(config, self._clock)
            service = TrainerService(application)
            service.further_health = lambda: [
                PartHealth("process", not self._stale, "; ".join(self._stale)),
                *self._jobs.health(),
            ]
            self._keys = load_keys(config)
            console = ConsoleService(application)
            api = ApiServer(self._make_app(service, console, config), config.api.host, config.api.port)
            lock.note(Holder(os.getpid(), "exposr-trainer serve", api.address))
            try:
                self._serve(application, api)
            finally:
                console.close()
        finally:
            lock.release()

    def _serve(self, application: Application, api: ApiServer) -> None:
        previous = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            for line in application.models.sweep():
                log.info("registry_swept", what=line)
            application.launcher.training_limits.prepare()
            log.info("training_limits", how=application.launcher.training_limits.reason)
            application.runner.adopt_left_overs()
            if unfinished := application.reports.repair():
                log.info("uploads_removed", count=unfinished)
            application.runner.wake.set()
            application.dataset.start()  # before anybody asks: it brings the counts of the last run
            api.start()
            for state in source_states(application.config):
                if state.enabled:
                    log.info("source_terms", source=state.name, terms=TERMS[state.name])
            log.info("serving", address=api.address, data=str(application.config.storage.local_path))
            self._watch_parts(application, api)
            self._notifier.ready("reading the data folder")
            self._loop(application, api)
        finally:
            self._shut_down(application, api)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _loop(self, application: Application, api: ApiServer) -> None:
        self._every(PLAN_SECONDS, "plan", application.plan_runs)
        self._every(GPU_SECONDS, "gpu", application.look_at_gpus)
        self._every(STATUS_SECONDS, "status", lambda: self._notifier.status(describe(application)))
        self._jobs.run("plan", application.plan_runs)
        while not self._stop.is_set():
            self._jobs.run("tick", application.tick)
            self._periodic.run_pending()
            if self._reload.is_set():
                self._reload.clear()
                self._jobs.run("reload", lambda: self._reload_config(application))
            self._feed_watchdog()
            if not api.is_alive():
                raise OperatorError(f"the API ended by itself: {api.failure}; the log has the trace")
            application.runner.wake.wait(LOOP_SECONDS)
            application.runner.wake.clear()

    def _every(self, seconds: int, name: str, job: Callable[[], None]) -> None:
        # a job that raises would skip the others of its turn and fire again at once
        self._periodic.every(seconds, lambda: self._jobs.run(name, job))

    def _watch_parts(self, application: Application, api: ApiServer) -> None:
        self._heartbeats.add("dataset", application.dataset.heartbeat, SILENCE_LIMIT_SECONDS)
        self._heartbeats.add("api", api.heartbeat, SILENCE_LIMIT_SECONDS)

    def _feed_watchdog(self) -> None:
        stale = self._watchdog.tick(self._clock.monotonic())
        if stale != self._stale:
            for part in stale:
                log.error("part_silent", part=part)
            self._stale = stale

    def _make_app(self, service: TrainerService, console: ConsoleService, config: Config) -> Starlette:
        signed_out = SignedOut(config.storage.state_path / SESSIONS_FILE)
        secret, hours = load_session_secret(config), config.api.session_hours
        return create_app(
            service,
            self._keys,
            self._clock,
            sessions=Sessions(self._keys, secret, self._clock, hours, signed_out),
            console=console,
            root_path=config.api.root_path,
            trusted_proxies=config.api.trusted_proxies,
            max_upload_bytes=int(config.intake.max_file_mb * 1e6),
        )

    def _reload_config(self, application: Application) -> None:
        """Take over what can change at run time; say what cannot. A wrong file changes nothing."""
        self._notifier.reloading()
        try:
            fresh = self._read_config()
            keys_added, keys_removed = reload_keys(fresh, self._keys)
        except OperatorError as error:
            log.error("reload_refused", reason=str(error))
        else:
            if keys_removed:
                application.hub.end_streams()  # who listened with such a key does not go on
            before = application.config
            taken = {name: getattr(fresh, name) for name in (*RELOADABLE_SECTIONS, "secrets")}
            taken["api"] = before.api.model_copy(update={"keys_file": fresh.api.keys_file})
            application.config = before.model_copy(update=taken)
            configure_logging(application.config.logging.level)
            changed = [*_differing(before, application.config), *(["keys"] if keys_added or keys_removed else [])]
            log.info(
                "reloaded",
                changed=",".join(changed),
                keys_added=keys_added,
                keys_removed=keys_removed,
                needs_restart=",".join(_differing(fresh, application.config)),
            )
            self._jobs.run("plan", application.plan_runs)
        self._notifier.ready(describe(application))

    def _shut_down(self, application: Application, api: ApiServer) -> None:
        self._notifier.stopping("stopping: jobs save their state")
        log.info("stopping")
        patience = CHECKPOINT_SECONDS_UNDER_SYSTEMD if self._notifier.enabled else CHECKPOINT_SECONDS
        self._notifier.extend_timeout(patience + 30)
        application.runner.stop(patience)
        application.dataset.stop()
        application.hub.close()
        api.stop()
        application.close()
        log.info("stopped")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        (self._reload if number == signal.SIGHUP else self._stop).set()


def _differing(one: Config, other: Config) -> list[str]:
    """Sections that are not the same."""
    return sorted(name for name in type(one).model_fields if getattr(one, name) != getattr(other, name))


def describe(application: Application) -> str:
    """The service in one line, for `systemctl status`."""
    counts = application.dataset.counts()
    amounts = f"{counts.real} real, {counts.ai_generated} ai_generated, {counts.unlabeled} unlabeled"
    doing = [f"{run.kind}: {run.progress.get('message') or run.state}" for run in application.open_runs()]
    if not application.dataset.ready():
        doing.insert(0, "reading the data folder")
    return "; ".join([*doing, amounts] if doing else ["idle", amounts])
