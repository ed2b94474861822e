"""Image checks in worker processes with a memory and a time limit, so that a hostile file harms nobody else.

    with CheckPool(workers=2, limits=limits, timeout_seconds=20, memory_mb=1536) as pool:
        result = pool.submit(path).result()      # ImageFacts, or CheckFailure with the reason

A worker that crashes or takes too long is killed and replaced; only the file it had is reported. Workers start with
the first file, end after a while without work, and die with the thread that started them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from utils.errors import RetryLaterError
from utils.images.facts import CheckFailure, CheckLimits, CheckResult, ImageFacts, ProofResult, Thumbnail, Unchanged
from utils.logs import get_logger

__all__ = ["CheckFailure", "CheckLimits", "CheckPool", "CheckResult", "ImageFacts"]

log = get_logger(__name__)

START_SECONDS = 60.0  # a worker imports Pillow and numpy: 0.6 s on an idle machine, many times that on a loaded one
RESTART_SECONDS = 5.0  # after a worker could not be started, files are refused for this long instead of trying each
IDLE_SECONDS = 60.0  # an idle worker gives its 60 MB back after this
RECYCLE_CHECKS = 5_000  # and any worker after this many files, against leaks in decoders
READ_BYTES = 1 << 16
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "PYTHONPATH", "PYTHONUTF8", "VIRTUAL_ENV", "TMPDIR")

_Task = tuple[dict[str, Any], "Future[Any]"]  # what the worker is asked


class CheckPool:
    """Thread-safe; `submit` returns at once, files are taken in order."""

    def __init__(self, workers: int, limits: CheckLimits, timeout_seconds: float, memory_mb: int) -> None:
        self._workers = workers
        self._timeout = timeout_seconds
        self._command = [sys.executable, "-P", "-m", "utils.images.check_worker"]
        self._settings = {"parent": os.getpid(), "memory_mb": memory_mb, "limits": asdict(limits)}
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._waiting = 0
        self._idle = 0
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, path: str | Path) -> Future[CheckResult]:
        """Never raises for the file; after `close` the future is cancelled."""
        return self._add({"path": os.fspath(path)})

    def prove(self, path: str | Path, sha256: str) -> Future[ProofResult]:
        """As `submit`, for a file that most likely has these bytes: then it is only read, not decoded."""
        return self._add({"path": os.fspath(path), "sha256": sha256})

    def draw(self, path: str | Path, thumbnail: Thumbnail) -> Future[bytes | CheckFailure]:
        """The file as a small WebP picture; otherwise as `submit`."""
        return self._add({"path": os.fspath(path), "thumbnail": asdict(thumbnail)})

    def _add(self, request: dict[str, Any]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._closed.is_set():
                future.cancel()
                return future
            self._tasks.put((request, future))
            self._waiting += 1
            if self._waiting > self._idle and len(self._threads) < self._workers:
                thread = threading.Thread(target=self._serve, name=f"check-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def close(self) -> None:
        """Cancel what has not begun, kill the workers, return when they are gone."""
        with self._lock:
            self._closed.set()
            threads = list(self._threads)
            for _ in threads:
                self._tasks.put(None)
        for thread in threads:
            thread.join()

    def _serve(self) -> None:
        """One thread, one worker process at a time. The thread lives as long as the pool: see `utils.process`."""
        worker = _Worker([*self._command, json.dumps(self._settings)], self._closed)
        while (task := self._next_task(worker)) is not None:
            request, future = task
            if self._closed.is_set() or not future.set_running_or_notify_cancel():
                future.cancel()
                continue
            future.set_result(worker.check(request, self._timeout))
        worker.stop()

    def _next_task(self, worker: _Worker) -> _Task | None:
        with self._lock:
            self._idle += 1
        try:
            try:
                task = self._tasks.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                worker.stop()
                task = self._tasks.get()
        finally:
            with self._lock:
                self._idle -= 1
        if task is not None:
            with self._lock:
                self._waiting -= 1
        return task


class _Worker:
    """The process that a pool thread talks to; started when needed, never shared between threads."""

    def __init__(self, command: list[str], closed: threading.Event) -> None:
        self._command = command
        self._closed = closed
        self._process: subprocess.Popen[bytes] | None = None
        self._checks = 0
        self._no_start_before = 0.0

    def check(self, request: dict[str, Any], timeout_seconds: float) -> ProofResult | bytes:
        try:
            process = self._running()
        except RetryLaterError as error:
            return CheckFailure(str(error), retryable=True)
        try:
            answer = self._ask(process, request, timeout_seconds)
        except TimeoutError:
            self.stop()
            return CheckFailure(
                f"could not be checked within {timeout_seconds:g} s", retryable=self._closed.is_set(), code="timeout"
            )
        except (OSError, EOFError, ValueError):
            ended = self.stop()
            return CheckFailure(f"crashed its checker ({_name_exit(ended)})", retryable=self._closed.is_set())
        self._checks += 1
        if self._checks >= RECYCLE_CHECKS:
            self.stop()
        if "facts" in answer:
            return ImageFacts(**answer["facts"])
        if "unchanged" in answer:
            return Unchanged()
        if "drawn" in answer:
            return base64.b64decode(answer["drawn"])
        return CheckFailure(**answer["failure"])

    def stop(self) -> int | None:
        """Kill and reap; the exit status of a process that had already ended by itself."""
        process, self._process, self._checks = self._process, None, 0
        if process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2 if _at_end(process) else 0)
        ended = process.returncode
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return ended

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()
        if time.monotonic() < self._no_start_before:
            raise RetryLaterError("waits for a checker process, which could not be started")
        try:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=_worker_environment()
            )
            self._read_answer(self._process, START_SECONDS)
        except (OSError, EOFError, ValueError) as error:
            ended = self.stop()
            self._no_start_before = time.monotonic() + RESTART_SECONDS
            if not self._closed.is_set():
                log.error("checker_start_failed", reason=str(error), exit=_name_exit(ended))
            raise RetryLaterError("waits for a checker process, which could not be started") from error
        return self._process

    def _ask(self, process: subprocess.Popen[bytes], request: dict[str, Any], timeout_seconds: float) -> dict[str, Any]:
        line = json.dumps(request, ensure_ascii=True).encode("ascii") + b"\n"
        assert process.stdin is not None
        process.stdin.write(line)  # far smaller than a pipe's buffer: does not block
        return self._read_answer(process, timeout_seconds)

    def _read_answer(self, process: subprocess.Popen[bytes], timeout_seconds: float) -> dict[str, Any]:
        """One line. Raises TimeoutError (also when the pool closes), EOFError when the process has ended."""
        assert process.stdout is not None
        deadline = time.monotonic() + timeout_seconds
        line = b""
        while not line.endswith(b"\n"):
            wait = min(deadline - time.monotonic(), 0.2)
            if wait <= 0 or self._closed.is_set():
                raise TimeoutError
            if not select.select([process.stdout], [], [], wait)[0]:
                continue
            chunk = os.read(process.stdout.fileno(), READ_BYTES)
            if not chunk:
                raise EOFError("the process ended")
            line += chunk
        answer: dict[str, Any] = json.loads(line)
        return answer


def _worker_environment() -> dict[str, str]:
    """No secrets for a process that reads hostile files; one numpy thread, since each reserves address space."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def _at_end(process: subprocess.Popen[bytes]) -> bool:
    """Whether its output is closed, so that its exit status is about to be known."""
    assert process.stdout is not None
    readable = select.select([process.stdout], [], [], 0)[0]
    return bool(readable) and not os.read(process.stdout.fileno(), READ_BYTES)


def _name_exit(status: int | None) -> str:
    if status is None:
        return "it had to be killed"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
