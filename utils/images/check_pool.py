"""Image checks in worker processes with a memory and a time limit, so that a hostile file harms nobody else.

    with CheckPool(workers=2, limits=limits, timeout_seconds=20, memory_mb=1536) as pool:
        result = pool.submit(path).result()      # ImageFacts, or CheckFailure with the reason

A worker that crashes or takes too long is killed and replaced; only the file it had is reported. Workers start with
the first file, end after a while without work, and die with the thread that started them. Small files are sent some at
a time, so that no worker waits for the next; it checks and answers them one by one, in order.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from utils.images.check_process import CheckProcess
from utils.images.facts import CheckFailure, CheckLimits, CheckResult, ImageFacts, ProofResult, Thumbnail

__all__ = ["CheckFailure", "CheckLimits", "CheckPool", "CheckResult", "ImageFacts"]

IDLE_SECONDS = 60.0  # an idle worker gives its 60 MB back after this

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
            for _ in self._threads:
                self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(queue.Empty):
            while True:
                task = self._tasks.get_nowait()
                if task is not None:
                    task[1].cancel()

    def _serve(self) -> None:
        """One thread, one worker process at a time. The thread lives as long as the pool: see `utils.process`."""
        worker = CheckProcess([*self._command, json.dumps(self._settings)], self._closed)
        taken: deque[_Task] = deque()
        while not self._closed.is_set():
            self._take(worker, taken)
            if taken:
                result = worker.check([request for request, _ in taken], self._timeout)
                taken.popleft()[1].set_result(result)
        worker.stop()
        for _, future in taken:
            future.set_result(CheckFailure("was not checked before the end", retryable=True))

    def _take(self, worker: CheckProcess, taken: deque[_Task]) -> None:
        """Wait for a task where there is none in `taken`; then add what can be sent ahead."""
        while not taken or len(taken) < worker.files_ahead:
            try:
                task = self._tasks.get_nowait() if taken else self._next_task(worker)
            except queue.Empty:
                return
            if task is None:  # closed
                return
            with self._lock:
                self._waiting -= 1
            if task[1].set_running_or_notify_cancel():
                taken.append(task)

    def _next_task(self, worker: CheckProcess) -> _Task | None:
        with self._lock:
            self._idle += 1
        try:
            try:
                return self._tasks.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                worker.stop()
                return self._tasks.get()
        finally:
            with self._lock:
                self._idle -= 1
