"""A run's progress for a person: bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


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
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, run: Mapping[str, Any]) -> None:
        progress = run["progress"]
        sources = progress.get("sources")
        lines = sources.items() if sources else [(progress.get("phase") or run["state"], progress)]
        for name, line in lines:
            self._show(str(name), line)

    def _show(self, name: str, line: Mapping[str, Any]) -> None:
        message = " ".join(str(line.get("message", "")).split())
        if self._console.is_terminal:
            if name not in self._tasks:
                self._tasks[name] = self._bars.add_task("", name=name, total=None)
            self._bars.update(
                self._tasks[name], completed=line.get("done") or 0, total=line.get("total"), description=message
            )
        elif self._said.get(name) != message:
            self._said[name] = message
            sys.stderr.write(f"{name}: {message}\n")
            sys.stderr.flush()
