"""Files on their way in: seen, sent to a checker, judged. What to do next is decided by pure functions."""

from __future__ import annotations

import heapq
import os
import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from handlers.file_signature import FileSignature, Found
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckFailure, ProofResult

FIRST_RETRY_SECONDS = 0.25  # a copy that was caught half-way is looked at again this soon, then ever later
IN_FLIGHT_PER_WORKER = 512  # so that checkers never wait for the next turn

Verdict = Literal["accept", "reject", "wait", "again", "gone"]


def judge(
    result: ProofResult, checked: FileSignature, now: FileSignature | None, stable_seconds: float, settle_seconds: float
) -> Verdict:
    """What a check means, given the file's signature when it was sent and now (None: it is not there).

    A good file counts at once if it did not change meanwhile. A bad one may still be arriving: it is rejected when it
    has not changed for `settle_seconds`.
    """
    if now is None:
        return "gone"
    if now != checked:
        return "again"
    if not isinstance(result, CheckFailure):
        return "accept"
    return "reject" if stable_seconds >= settle_seconds else "wait"


def retry_delay(failures: int, settle_seconds: float) -> float:
    """Seconds before a changed file is checked again after so many failed checks."""
    return float(min(settle_seconds, FIRST_RETRY_SECONDS * 2 ** min(failures, 16)))


@dataclass(slots=True)
class _Pending:
    found: Found
    since: float  # monotonic: seen first with this signature
    failures: int = 0
    in_flight: bool = False
    failure: CheckFailure | None = None  # waits until it has settled


class Intake:
    """Owns the files that are seen and not judged yet. One thread uses it; the pool's threads only add results."""

    def __init__(
        self,
        root: Path,
        pool: CheckPool,
        settle_seconds: float,
        workers: int,
        monotonic: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self._root = root
        self._pool = pool
        self._settle = settle_seconds
        self._slots = workers * IN_FLIGHT_PER_WORKER
        self._monotonic = monotonic
        self._wake = wake
        self._pending: dict[bytes, _Pending] = {}
        self._ready: deque[bytes] = deque()
        self._timers: list[tuple[float, bytes]] = []  # a heap; may name what has been judged since
        self._in_flight = 0
        self._results: queue.SimpleQueue[tuple[Found, Future[ProofResult]]] = queue.SimpleQueue()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def results_waiting(self) -> int:
        """How many checks have ended and are not taken over yet."""
        return self._results.qsize()

    def pend(self, found: Found) -> None:
        """A file that is new or has changed."""
        known = self._pending.get(found.path)
        if known is None:
            self._put(found, 0)
        elif known.found.signature != found.signature and not known.in_flight:
            self._put(found, known.failures)

    def forget(self, path: bytes) -> None:
        """It is not there any more."""
        known = self._pending.get(path)
        if known is not None and not known.in_flight:
            del self._pending[path]

    def sizes(self) -> set[int]:
        """Sizes of the files that wait: one of them may be a missing file under its new name."""
        return {pending.found.signature.size for pending in self._pending.values()}

    def submit(self) -> None:
        """Send what is ready, a few at a time, so that a stop has little to wait for."""
        while self._ready and self._in_flight < self._slots:
            pending = self._pending.get(self._ready.popleft())
            if pending is None or pending.in_flight or pending.failure is not None:
                continue
            pending.in_flight = True
            self._in_flight += 1
            file, expected = self._root / os.fsdecode(pending.found.path), pending.found.expected
            future: Future[Any] = self._pool.prove(file, expected) if expected else self._pool.submit(file)
            future.add_done_callback(lambda done, found=pending.found: self._done(found, done))  # type: ignore[misc]

    def judged(self, limit: int) -> Iterator[tuple[Verdict, Found, ProofResult]]:
        """Up to `limit` files whose fate is known now; each is out of the intake when it is yielded."""
        for _ in range(limit):
            try:
                found, future = self._results.get_nowait()
            except queue.Empty:
                break
            self._in_flight -= 1
            pending = self._pending.get(found.path)
            if pending is None or future.cancelled():
                continue
            pending.in_flight = False
            yield from self._judge(pending, future.result())
        for pending in self._settled():
            assert pending.failure is not None
            yield from self._judge(pending, pending.failure)

    def next_due(self) -> float | None:
        """Monotonic time at which a waiting file needs attention."""
        return self._timers[0][0] if self._timers else None

    def _put(self, found: Found, failures: int) -> None:
        now = self._monotonic()
        self._pending[found.path] = _Pending(found, since=now, failures=failures)
        if failures:
            heapq.heappush(self._timers, (now + retry_delay(failures, self._settle), found.path))
        else:
            self._ready.append(found.path)

    def _settled(self) -> Iterator[_Pending]:
        """Rejected files whose time has come; changed ones become ready for another check."""
        while self._timers and self._timers[0][0] <= self._monotonic():
            _, path = heapq.heappop(self._timers)
            pending = self._pending.get(path)
            if pending is not None and pending.failure is not None:
                yield pending
            elif pending is not None:
                self._ready.append(path)

    def _judge(self, pending: _Pending, result: ProofResult) -> Iterator[tuple[Verdict, Found, ProofResult]]:
        path = pending.found.path
        signature = self._signature(path)
        verdict = judge(result, pending.found.signature, signature, self._monotonic() - pending.since, self._settle)
        if verdict == "again":
            assert signature is not None
            self._put(pending.found._replace(signature=signature), pending.failures + isinstance(result, CheckFailure))
        elif verdict == "wait":
            assert isinstance(result, CheckFailure)
            pending.failure = result
            pending.failures += 1
            heapq.heappush(self._timers, (pending.since + self._settle, path))
        else:
            del self._pending[path]
            yield verdict, pending.found, result

    def _signature(self, path: bytes) -> FileSignature | None:
        try:
            return FileSignature.of((self._root / os.fsdecode(path)).lstat())
        except OSError:
            return None

    def _done(self, found: Found, future: Future[ProofResult]) -> None:
        self._results.put((found, future))
        self._wake()
