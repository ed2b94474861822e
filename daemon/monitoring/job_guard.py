"""The supervisor's jobs: one that fails again and again is a degraded part, backs off, and recovers by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from utils.health import PartHealth
from utils.logs import get_logger

log = get_logger(__name__)

LONGEST_BACKOFF_SECONDS = 60.0
FAILURES_UNTIL_DEGRADED = 2  # one alone may be chance


@dataclass(slots=True)
class _Failure:
    times: int
    reason: str
    retry_after: float


class JobGuard:
    """Used by the supervisor's thread; `health` may be asked from any."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failures: dict[str, _Failure] = {}

    def run(self, name: str, job: Callable[[], None]) -> None:
        """Never raises. A job that has failed is left alone for 1, 2, 4 … seconds, at most a minute."""
        now = self._monotonic()
        before = self._failures.get(name)
        if before is not None and now < before.retry_after:
            return
        try:
            job()
        except Exception as error:
            times = before.times + 1 if before is not None else 1
            reason = f"{type(error).__name__}: {error}"
            backoff = min(LONGEST_BACKOFF_SECONDS, 2.0 ** (times - 1))
            self._failures[name] = _Failure(times, reason, now + backoff)
            is_news = before is None or before.reason != reason
            log.error("supervisor_job_failed", job=name, times=times, reason=reason, exc_info=is_news)
            return
        if self._failures.pop(name, None) is not None:
            log.info("supervisor_job_recovered", job=name)

    def health(self) -> list[PartHealth]:
        """One part for each job that fails again and again."""
        return [
            PartHealth(name, False, f"failed {failure.times} times in a row and is tried again: {failure.reason}")
            for name, failure in list(self._failures.items())
            if failure.times >= FAILURES_UNTIL_DEGRADED
        ]
