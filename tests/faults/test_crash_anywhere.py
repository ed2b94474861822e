"""SIGKILL at the boundaries of every action that changes something on disk: nothing is lost, nothing lies.

By default a spread of points; EXPOSR_CRASH_POINTS=all takes every one (docs/reliability.md has command and figures).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from actions import ACTIONS, Action, collecting
from crash_points import count_steps, run_killed_at
from PIL import Image

from scrapers.sandbox.server import SandboxServer
from scrapers.sandbox.settings import SandboxSettings

ALL = os.environ.get("EXPOSR_CRASH_POINTS") == "all"
POINTS = 5  # of each action, where not all are asked for
pytestmark = pytest.mark.timeout(3600 if ALL else 120)


def kill_at_points(action: Action, folder: Path) -> int:
    """How many points were tried."""
    action.prepare(folder / "start")
    shutil.copytree(folder / "start", folder / "counted", dirs_exist_ok=True)
    steps = count_steps(lambda: action.act(folder / "counted"))
    action.check(folder / "counted")
    points = range(1, steps + 1) if ALL else sorted({1 + round(n * (steps - 1) / (POINTS - 1)) for n in range(POINTS)})
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
    return len(points)


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_a_kill_at_any_step_loses_nothing(tmp_path: Path, name: str) -> None:
    assert kill_at_points(ACTIONS[name], tmp_path) >= (POINTS if not ALL else 20)


def test_a_kill_while_collecting_loses_and_repeats_nothing(tmp_path: Path) -> None:
    for index in range(24):
        file = tmp_path / "offered" / ("real", "ai_generated")[index % 2] / "Model A" / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((100 + index, 80), 40 + index).convert("RGB").save(file)
    roomy = SandboxSettings.model_validate({"unsplash": {"hourly_limit": 100_000}, "pexels": {"hourly_limit": 10_000}})
    with SandboxServer(tmp_path / "offered", roomy) as server:
        assert kill_at_points(collecting(server, tmp_path / "undisturbed"), tmp_path) >= POINTS
