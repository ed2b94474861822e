from __future__ import annotations

from typing import Any

import pytest

from daemon.cli import progress_view
from daemon.cli.progress_view import PIPED_SECONDS, SILENCE_SECONDS, ProgressView


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(progress_view.time, "monotonic", lambda: now[0])
    return now


def state(message: str, name: str = "pexels") -> dict[str, Any]:
    return {"state": "running", "progress": {"sources": {name: {"message": message}}}}


def test_a_pipe_gets_a_line_every_few_seconds_and_the_last_one(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressView() as view:
        for number in range(100):
            view(state(f"{number} stored"))
            clock[0] += 0.1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 100 * 0.1 / PIPED_SECONDS + 1
    assert lines[0] == "pexels: 0 stored" and lines[-1] == "pexels: 99 stored"


def test_silence_is_broken_although_nothing_is_new(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressView() as view:
        for _ in range(60):
            view(state("waiting 60 s: api.pexels.com cannot be reached"))
            clock[0] += 1
    assert len(capsys.readouterr().err.splitlines()) >= 60 / (SILENCE_SECONDS + 1)
