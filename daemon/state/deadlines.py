"""How long ago something happened, right over restarts, reboots and clock steps.

Within one boot the boot clock answers, since it never steps; across boots only wall time is left. A mark in the future
(the clock was set back between two boots) counts as now.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from utils.clock import Clock, from_iso, to_iso

BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    return BOOT_ID_FILE.read_text(encoding="ascii").strip()


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment on both clocks: `at` is ISO 8601 UTC, `boot_seconds` the boot clock of boot `boot_id`."""

    at: str
    boot_id: str
    boot_seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Timekeeper:
    """Makes marks and measures from them."""

    def __init__(self, clock: Clock, boot_id: str | None = None) -> None:
        self._clock = clock
        self._boot_id = boot_id or read_boot_id()

    def mark(self) -> Mark:
        return Mark(to_iso(self._clock.now()), self._boot_id, self._clock.monotonic())

    def seconds_since(self, mark: Mark) -> float:
        """Never negative; a mark from the future gives 0."""
        if mark.boot_id == self._boot_id:
            return max(0.0, self._clock.monotonic() - mark.boot_seconds)
        return max(0.0, (self._clock.now() - from_iso(mark.at)).total_seconds())

    def is_in_future(self, mark: Mark) -> bool:
        """True when the wall clock now reads earlier than a mark of another boot: the mark has to be set anew."""
        return mark.boot_id != self._boot_id and self._clock.now() < from_iso(mark.at)

    def after(self, seconds: float) -> str:
        """ISO time so many seconds from now."""
        return to_iso(self._clock.now() + timedelta(seconds=min(seconds, 3.2e9)))
