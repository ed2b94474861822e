"""One checker process and the conversation with it: JSON lines on pipes, one answer for each request, in order."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from utils.errors import RetryLaterError
from utils.images.facts import CheckFailure, ImageFacts, ProofResult, Unchanged
from utils.logs import get_logger

log = get_logger(__name__)

START_SECONDS = 60.0  # a worker imports Pillow and numpy: 0.6 s on an idle machine, many times that on a loaded one
RESTART_SECONDS = 5.0  # after a worker could not be started, files are refused for this long instead of trying each
RECYCLE_CHECKS = 20_000  # and any worker after this many files, against leaks in decoders
AHEAD_FILES = 16  # sent to a worker at once, at most
AHEAD_SECONDS = 0.01  # of work, as long as its last files took: what is slow is left to whichever worker is free
AHEAD_BYTES = select.PIPE_BUF  # of unanswered requests: the smallest pipe holds them, so that sending never blocks
READ_BYTES = 1 << 16
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "PYTHONPATH", "PYTHONUTF8", "VIRTUAL_ENV", "TMPDIR")


class CheckProcess:
    """The process that a pool thread talks to; started when needed, never shared between threads."""

    def __init__(self, command: list[str], closed: threading.Event) -> None:
        self._command = command
        self._closed = closed
        self._process: subprocess.Popen[bytes] | None = None
        self._unanswered: deque[int] = deque()  # bytes of the requests that this process has been sent
        self._received = bytearray()
        self._checks = 0
        self._usual_seconds = AHEAD_SECONDS
        self._no_start_before = 0.0

    @property
    def files_ahead(self) -> int:
        """How many requests, the one under way included, are worth handing over at once."""
        return max(1, min(AHEAD_FILES, int(AHEAD_SECONDS / self._usual_seconds)))

    def check(self, requests: Sequence[dict[str, Any]], timeout_seconds: float) -> ProofResult | bytes:
        """The answer to the first of `requests`. The others are sent ahead: the next call starts with them."""
        try:
            process = self._running()
        except RetryLaterError as error:
            return CheckFailure(str(error), retryable=True)
        started = time.monotonic()
        try:
            self._send(process, requests)
            answer = self._read_answer(process, timeout_seconds)
        except TimeoutError:
            self.stop()
            return CheckFailure(
                f"could not be checked within {timeout_seconds:g} s", retryable=self._closed.is_set(), code="timeout"
            )
        except (OSError, EOFError, ValueError):
            ended = self.stop()
            return CheckFailure(f"crashed its checker ({_name_exit(ended)})", retryable=self._closed.is_set())
        self._unanswered.popleft()
        self._usual_seconds += (time.monotonic() - started - self._usual_seconds) / AHEAD_FILES
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
        self._unanswered.clear()
        self._received.clear()
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

    def _send(self, process: subprocess.Popen[bytes], requests: Sequence[dict[str, Any]]) -> None:
        """Those that this process has not been sent yet, as far as the pipe is sure to hold them."""
        assert process.stdin is not None
        for request in requests[len(self._unanswered) :]:
            line = json.dumps(request, ensure_ascii=True).encode("ascii") + b"\n"
            if self._unanswered and sum(self._unanswered) + len(line) > AHEAD_BYTES:
                return
            process.stdin.write(line)
            self._unanswered.append(len(line))

    def _read_answer(self, process: subprocess.Popen[bytes], timeout_seconds: float) -> dict[str, Any]:
        """One line. Raises TimeoutError (also when the pool closes), EOFError when the process has ended."""
        assert process.stdout is not None
        deadline = time.monotonic() + timeout_seconds
        while (end := self._received.find(b"\n")) < 0:
            wait = min(deadline - time.monotonic(), 0.2)
            if wait <= 0 or self._closed.is_set():
                raise TimeoutError
            if not select.select([process.stdout], [], [], wait)[0]:
                continue
            chunk = os.read(process.stdout.fileno(), READ_BYTES)
            if not chunk:
                raise EOFError("the process ended")
            self._received += chunk
        answer: dict[str, Any] = json.loads(self._received[:end])
        del self._received[: end + 1]
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
