"""One job process (scrape or training): start it, hear it, end it, say how it ended (see utils/job_protocol.py).

A job is started from a thread that lives as long as the daemon, because it dies with the thread that started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from daemon.monitoring.sd_notify import DAEMON_VARIABLES
from utils.config_loader import SECRET_VARIABLES, Config
from utils.job_protocol import EXIT_FINISHED, EXIT_INTERRUPTED
from utils.logs import get_logger

log = get_logger(__name__)

LOG_FILE = "log.txt"
LOG_TAIL_CHARACTERS = 2000  # of a failed job's log, kept in the run record
KILL_SECONDS = 10.0  # for a killed job to be gone: the kernel may have to finish a write first
MAX_LINE_BYTES = 1 << 20  # a longer line of a job is not one of ours

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended: `result` is succeeded, rejected, failed or interrupted; `summary` is for people."""

    result: str
    summary: str
    details: dict[str, Any] = field(default_factory=dict)


class JobProcess:
    """A started job. `on_progress` is called from the reading thread."""

    def __init__(
        self, command: Sequence[str], folder: Path, env: Mapping[str, str], on_progress: Callable[[Event], None]
    ):
        self.folder = folder
        self._on_progress = on_progress
        self._outcome: Event | None = None
        self._asked_to_stop = False
        with (folder / LOG_FILE).open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env=dict(env),
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.started = float(psutil.Process(self.pid).create_time())
        self._reader = threading.Thread(target=self._read, name=f"job-{self.pid}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(MAX_LINE_BYTES):
                try:
                    event = json.loads(line)
                    if event["event"] == "outcome":
                        self._outcome = event
                    else:
                        self._on_progress(event)
                except (ValueError, TypeError, KeyError) as error:
                    log.warning("job_line_ignored", pid=self.pid, error=str(error), line=repr(line[:200]))

    def ask_to_stop(self) -> None:
        """SIGTERM to the job alone, once: it saves its state and ends its own workers."""
        if self._asked_to_stop:
            return
        self._asked_to_stop = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the job and to everything that it started."""
        self._asked_to_stop = True
        kill_group(self.pid)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_seconds: float) -> bool:
        """True when it has ended within the time."""
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> JobEnd:
        """How it ended; only after `is_running()` is False."""
        code = self._process.wait()
        kill_group(self.pid)  # workers that outlived it
        self._reader.join(timeout=5)
        if code == EXIT_FINISHED and self._outcome is not None:
            outcome = self._outcome
            return JobEnd(str(outcome["result"]), str(outcome["summary"]), dict(outcome.get("details") or {}))
        if code == EXIT_INTERRUPTED or (self._asked_to_stop and code < 0):
            return JobEnd("interrupted", "stopped; it goes on from its last checkpoint")
        tail = self._log_tail()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        last_line = next((line for line in reversed(tail.splitlines()) if line.strip()), "no message")
        return JobEnd("failed", f"the process {how}: {last_line}", {"exit_status": code, "log_tail": tail})

    def _log_tail(self) -> str:
        try:
            data = (self.folder / LOG_FILE).read_bytes()
        except OSError:
            return ""
        return data[-LOG_TAIL_CHARACTERS:].decode("utf-8", "replace")


def job_command(module: str, folder: Path) -> list[str]:
    return [sys.executable, "-P", "-m", module, "--job", str(folder)]


def job_environment(config: Config, *, with_source_keys: bool) -> dict[str, str]:
    """This process's environment without what only the daemon may have; a scrape gets the sources' keys."""
    secret_names = {variable for variables in SECRET_VARIABLES.values() for variable in variables}
    dropped = {*DAEMON_VARIABLES, "CREDENTIALS_DIRECTORY", *secret_names}
    env = {name: value for name, value in os.environ.items() if name not in dropped}
    env["PYTHONUNBUFFERED"] = "1"
    if with_source_keys:
        for name, variables in SECRET_VARIABLES.items():
            secret = getattr(config.secrets, name)
            if secret is not None and name != "trainer_api_key":
                env[variables[0]] = secret.get_secret_value()
    return env


def kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill_left_over(pid: int | None, started: float | None) -> bool:
    """End a job that an earlier daemon started and that is still there; True when there was one.

    Returns when it is gone, so that the next job never meets it in the same folder.
    """
    if pid is None or started is None or not _is_alive(pid, started):
        return False
    kill_group(pid)
    deadline = time.monotonic() + KILL_SECONDS
    while _is_alive(pid, started):
        if time.monotonic() >= deadline:
            log.error("left_over_job_does_not_end", pid=pid, seconds=KILL_SECONDS)
            break
        time.sleep(0.01)
    return True


def _is_alive(pid: int, started: float) -> bool:
    """Whether this very process still runs; one that only waits to be reaped does not."""
    try:
        process = psutil.Process(pid)
        return bool(process.create_time() == started) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
