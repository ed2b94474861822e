"""How many pictures each source gave: counted beside the requests, since it reads every sample."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from utils.logs import get_logger

log = get_logger(__name__)

REST = 10.0  # counting rests so many times as long as it took


@dataclass(frozen=True, slots=True)
class Counted:
    """(label, source, samples), and whether the set is one of pairs (`handlers/index/queries.py`)."""

    by_source: tuple[tuple[str, str, int], ...]
    is_paired: bool


class Mix:
    """`get` never waits: it gives what was counted last and has it counted anew when `state` has changed."""

    def __init__(self, count: Callable[[], Counted], announce: Callable[[], None]) -> None:
        self._count = count
        self._announce = announce
        self._lock = threading.Lock()
        self._counted: Counted | None = None
        self._of: object = None
        self._wanted: object = None
        self._busy = False
        self._ended = threading.Event()

    def get(self, state: object) -> Counted | None:
        """None before the first count; `state` is anything that differs when the pictures do."""
        with self._lock:
            self._wanted = state
            if not self._busy and (self._counted is None or self._of != state):
                self._busy = True
                threading.Thread(target=self._run, name="mix", daemon=True).start()
            return self._counted

    def close(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                state = self._wanted
            started = time.monotonic()
            try:
                counted = self._count()
            except Exception as error:  # an index that is being made anew: the next request tries again
                log.info("mix_not_counted", reason=str(error))
                break
            with self._lock:
                self._counted, self._of = counted, state
            self._announce()
            self._ended.wait(REST * (time.monotonic() - started))
            with self._lock:
                if self._wanted == state:
                    self._busy = False
                    return
        with self._lock:
            self._busy = False
