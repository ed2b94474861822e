"""Conditions that people are told of when they begin, once: a source that fails, a full disk, drift.

What was told is kept in the store, so that a restart does not tell it again, and what comes and goes is told at most
every REPEAT_SECONDS.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from daemon.state.store import Store
from utils.clock import Clock

TOLD = "alarms_told"  # fact: condition -> {"on": bool, "at": unix time at which it was told}
REPEAT_SECONDS = 6 * 3600.0


class Alarms:
    """Used by the supervisor's thread alone."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._told: dict[str, dict[str, Any]] = store.fact(TOLD) or {}

    def update(self, condition: str, is_on: bool, tell: Callable[[], None]) -> None:
        """Calls `tell` when the condition begins."""
        before = self._told.get(condition, {"on": False, "at": None})
        if before["on"] == is_on:
            return
        now = self._clock.now().timestamp()
        was_told_lately = before["at"] is not None and 0 <= now - before["at"] < REPEAT_SECONDS
        is_told = is_on and not was_told_lately
        self._told[condition] = {"on": is_on, "at": now if is_told else before["at"]}
        self._store.set_fact(TOLD, self._told)
        if is_told:
            tell()

    def forget_others(self, prefix: str, conditions: Collection[str]) -> None:
        """Drop conditions of this kind that can no longer be, such as those of a source that was switched off."""
        gone = [name for name in self._told if name.startswith(prefix) and name not in conditions]
        for name in gone:
            del self._told[name]
        if gone:
            self._store.set_fact(TOLD, self._told)
