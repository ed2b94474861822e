"""One run in the foreground: `exposr-trainer scrape` and `train`, through the running daemon or without one."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from daemon.remote import RunningDaemon, find_daemon
from daemon.state.lock import StateLock
from utils.clock import SystemClock
from utils.config_loader import Config
from utils.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from daemon.application import Application
    from daemon.state.store import Run, RunKind

POLL_SECONDS = 0.3
CHECKPOINT_SECONDS = 20.0
OPTION_NAMES = {"sources": "--source", "min_size": "--min-size"}  # where they differ from the job's
Show = Callable[[Mapping[str, Any]], None]
Pause = Callable[[float], None]


def run_now(
    config: Config, kind: RunKind, options: dict[str, Any], show: Show, *, resume: bool = False
) -> Mapping[str, Any]:
    """Start a run and follow it to its end; `show` is called with the run's newest state. Returns the ended run.

    With `resume`, a training that was interrupted goes on instead; the service does so by itself.
    Raises OperatorError with the reason when it cannot start.
    """
    daemon = find_daemon(config)
    if daemon is None:
        return _run_here(config, kind, options, show, resume)
    if options:
        raise OperatorError(
            f"the service is running at {daemon.url} and works with its own settings; leave out "
            f"{', '.join(OPTION_NAMES.get(name, f'--{name}') for name in options)}, or stop it first"
        )
    return _run_there(daemon, kind, show)


def _run_there(daemon: RunningDaemon, kind: RunKind, show: Show) -> Mapping[str, Any]:
    started = daemon.post(f"/{kind}")
    run_id = started["run_id"]
    while True:
        run: Mapping[str, Any] = daemon.get(f"/runs/{run_id}")
        show(run)
        if run["ended"]:
            return run
        time.sleep(POLL_SECONDS)


def _run_here(config: Config, kind: RunKind, options: dict[str, Any], show: Show, resume: bool) -> Mapping[str, Any]:
    with open_application(config, f"exposr-trainer {kind}") as (application, pause):
        application.launcher.options = options
        wait_until_ready(application, pause)
        application.runner.adopt_left_overs(resume=resume)
        begun = application.runner.current(kind) or _queued(application, kind)
        while True:
            application.tick()
            run = application.run(begun.id)
            assert run is not None
            show(run.as_public())
            if not run.is_open:
                return run.as_public()
            pause(POLL_SECONDS)


def _queued(application: Application, kind: RunKind) -> Run:
    refusal = application.scrape_refusal() if kind == "scrape" else application.training_refusal()
    if refusal is not None:
        raise OperatorError(refusal[1])
    run = application.runner.queue(kind, "manual", "asked for on the command line")
    assert run is not None  # the lock is ours, so nothing else runs
    return run


@contextmanager
def open_application(config: Config, command: str) -> Iterator[tuple[Application, Pause]]:
    """The daemon's core without API and schedule, and the pause in which Ctrl-C and SIGTERM end it in order."""
    from daemon.application import Application

    lock = StateLock(config.storage.state_path)
    lock.acquire(command)
    try:
        with signals_in_pauses() as pause:
            application = Application(config, SystemClock())
            try:
                application.launcher.training_limits.prepare()
                application.dataset.start()
                yield application, pause
            finally:
                application.runner.stop(CHECKPOINT_SECONDS)
                application.dataset.stop()
                application.close()
    finally:
        lock.release()


@contextmanager
def signals_in_pauses() -> Iterator[Pause]:
    """SIGINT and SIGTERM raise KeyboardInterrupt in the yielded `pause(seconds)`, nowhere else.

    So no write and no start of a process is cut off halfway.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    def pause(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not asked and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.1))  # a handler that returns does not end a sleep
        if asked:
            raise KeyboardInterrupt

    # a shell starts what runs in the background with SIGINT ignored, and it stays ignored
    caught = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in caught}
    try:
        yield pause
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_until_ready(application: Application, pause: Pause) -> None:
    """Until the first reconcile has ended and every file has been checked."""
    while not (application.dataset.ready() and application.dataset.counts().pending == 0):
        pause(POLL_SECONDS / 3)
