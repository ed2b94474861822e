"""How a training stops before its end.

SIGTERM and SIGINT become an exception: at once, or, where a half-done step must be finished, when that is over.

Raising anywhere is safe because every file is written as if SIGKILL could come at any moment.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from utils.errors import StopRunError


class AllRanksStop(StopRunError):
    """Raised on every rank alike: none needs to end the others, and the main one says why."""


class TrainingInterrupted(BaseException):
    """Someone asked the training to stop; its folder holds what it takes to go on."""


class Interrupts:
    """One for the process, made in its main thread."""

    def __init__(self) -> None:
        self.requested = False
        self._is_deferred = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._receive)

    @contextmanager
    def deferred(self) -> Iterator[Interrupts]:
        """Inside, a signal only sets `requested`, so that the work can leave in order; it is raised at the end."""
        self._is_deferred = True
        try:
            yield self
        finally:
            self._is_deferred = False
        if self.requested:
            raise TrainingInterrupted

    def defer_signals(self) -> None:
        """From here on signals are only noted: what is left takes moments and is to end with an outcome."""
        self._is_deferred = True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_first, self.requested = not self.requested, True
        if is_first and not self._is_deferred:  # a second signal must not disturb the leaving
            raise TrainingInterrupted
