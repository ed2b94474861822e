"""A run's progress for a person: bars in a terminal, and a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

PIPED_SECONDS = 2.0  # between two lines of one source, at least
SILENCE_SECONDS = 5.0  # without any line, after which one is repeated: something goes on


class ProgressView:
    """Call it with each new state of a run, as `GET /runs/{id}` gives it."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[name]:<10}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, tuple[float, str]] = {}
        self._unsaid: dict[str, str] = {}
        self._last_said = time.monotonic()
        self._last_changed = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()
        for name in list(self._unsaid):
            self._say(name, time.monotonic())

    def __call__(self, run: Mapping[str, Any]) -> None:
        progress = run["progress"]
        sources = progress.get("sources")
        lines = sources.items() if sources else [(progress.get("phase") or run["state"], progress)]
        for name, line in lines:
            self._show(str(name), line)

    def _show(self, name: str, line: Mapping[str, Any]) -> None:
        message = " ".join(str(line.get("message") or "…").split()).removeprefix(f"{name}: ")
        if self._console.is_terminal:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task("", name=name, total=None)
            self._bars.update(
                self._tasks[name], completed=line.get("done") or 0, total=line.get("total"), description=message
            )
            return
        now = time.monotonic()
        said_at, said = self._said.get(name, (-PIPED_SECONDS, ""))
        is_silent = now - self._last_said >= SILENCE_SECONDS and name == self._last_changed
        if message != said:
            self._last_changed = name
        if message != said or is_silent:
            self._unsaid[name] = message
        if name in self._unsaid and (is_silent or now - said_at >= PIPED_SECONDS):
            self._say(name, now)

    def _say(self, name: str, now: float) -> None:
        message = self._unsaid.pop(name)
        self._said[name] = (now, message)
        self._last_said = now
        sys.stderr.write(f"{name}: {message}\n")
        sys.stderr.flush()
