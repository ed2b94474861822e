"""Ends a child process with SIGKILL just before its n-th step that matters on disk: every boundary, one after another.

A step is a file opened for writing, a rename, a link, a removal, a new folder (Python's audit events), an fsync, and
each statement with which SQLite begins or commits a transaction. `count_steps` tells how many an action has, and
`run_killed_at` ends it before one of them: what lies on disk then is what was there after the step before.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANGING_EVENTS = {
    *("os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir"),
    *("os.truncate", "os.chmod", "shutil.rmtree", "shutil.move"),
}
TRANSACTION_STATEMENTS = ("BEGIN", "COMMIT", "END")
NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Action:
    """`prepare` fills a new folder; `act` is killed in it; `check` picks up, and raises AssertionError for a loss."""

    prepare: Callable[[Path], None]
    act: Callable[[Path], object]
    check: Callable[[Path], None]


def count_steps(action: Callable[[], object]) -> int:
    """Run `action` to its end in a child; how many steps it took."""
    status, words = _run(NEVER, action)
    assert status == 0, words
    return int(words)


def run_killed_at(step: int, action: Callable[[], object]) -> str:
    """Run `action` in a child that is killed before its `step`-th step (from 1); what that step was.

    Raises AssertionError when the action fails by itself: a kill is the only way to end early. An action that takes
    fewer steps than `step`, since threads share them out differently, ends by itself; then the answer is "".
    """
    status, words = _run(step, action)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return words
    assert status == 0, words
    return ""


def kill_at_points(action: Action, folder: Path, most: int | None) -> int:
    """Kill `action` at every step, or at `most` of them that lie far apart; how many points were tried."""
    action.prepare(folder / "start")
    shutil.copytree(folder / "start", folder / "counted", dirs_exist_ok=True)
    steps = count_steps(lambda: action.act(folder / "counted"))
    action.check(folder / "counted")
    if most is None:
        points: Sequence[int] = range(1, steps + 1)
    else:
        points = sorted({round(n * (steps - 1) / (most - 1)) + 1 for n in range(most)})
    kill_at(points, steps, action, folder)
    return len(points)


def kill_at(points: Sequence[int], steps: int, action: Action, folder: Path) -> None:
    """Kill `action`, which takes `steps`, at each of these, beginning with what is in `folder`/start."""
    for step in points:
        place = folder / f"killed{step}"
        shutil.copytree(folder / "start", place, dirs_exist_ok=True)
        what = run_killed_at(step, lambda place=place: action.act(place))  # type: ignore[misc]
        try:
            action.check(place)
        except BaseException as error:
            error.add_note(f"killed before step {step} of {steps}: {what}")
            raise
        shutil.rmtree(place)
    sys.stdout.write(f"{len(points)} points of {steps} steps\n")  # -rP shows it


def _run(step: int, action: Callable[[], object]) -> tuple[int, str]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        killer = _Killer(step, writing)
        killer.watch()
        try:
            action()
        except BaseException as error:
            os.write(writing, f"failed: {error!r}".encode())
            os._exit(1)
        os.write(writing, str(killer.steps).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        words = said.read().decode()
    return os.waitpid(child, 0)[1], words


class _Killer:
    def __init__(self, step: int, said: int) -> None:
        self.steps = 0
        self._last, self._said = step, said

    def watch(self) -> None:
        sys.addaudithook(self._on_event)
        flush = os.fsync
        connect = sqlite3.connect

        def flush_or_die(descriptor: Any) -> None:
            self._take("fsync")
            flush(descriptor)

        def connect_traced(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*args, **options)
            connection.set_trace_callback(self._on_statement)
            return connection

        os.fsync = flush_or_die
        sqlite3.connect = connect_traced  # type: ignore[assignment]

    def _on_event(self, event: str, args: tuple[Any, ...]) -> None:
        if event in CHANGING_EVENTS:
            self._take(f"{event} {args[0]!r}")
        elif event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._take(f"open {args[0]!r}")

    def _on_statement(self, statement: str) -> None:
        if statement.startswith(TRANSACTION_STATEMENTS):
            self._take(statement)

    def _take(self, what: str) -> None:
        self.steps += 1
        if self.steps == self._last:
            os.write(self._said, what.encode("utf-8", "replace")[:1000])
            os.kill(os.getpid(), signal.SIGKILL)
