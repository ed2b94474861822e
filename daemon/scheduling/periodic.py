"""Jobs that are due every so many seconds, whatever the wall clock does.

The schedule library goes by local wall time: set back by hours, for summer time or by NTP, it would rest for as long.
"""

from __future__ import annotations

from collections.abc import Callable

import schedule

from utils.logs import get_logger

log = get_logger(__name__)


class PeriodicJobs:
    """Used by one thread. A job is first due after its interval."""

    def __init__(self) -> None:
        self._scheduler = schedule.Scheduler()
        self._jobs: list[tuple[int, Callable[[], object]]] = []

    def every(self, seconds: int, job: Callable[[], object]) -> None:
        self._jobs.append((seconds, job))
        self._begin(seconds, job)

    def run_pending(self) -> None:
        """Run what is due."""
        wait = self._scheduler.idle_seconds
        if wait is not None and wait > max(seconds for seconds, _ in self._jobs):
            log.warning("clock_set_back", seconds=round(wait))
            self._scheduler.clear()
            for seconds, job in self._jobs:
                self._begin(seconds, job)
        self._scheduler.run_pending()

    def _begin(self, seconds: int, job: Callable[[], object]) -> None:
        self._scheduler.every(seconds).seconds.do(job)
