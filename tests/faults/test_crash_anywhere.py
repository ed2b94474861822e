"""SIGKILL at the boundaries of every action that changes something on disk: nothing is lost, nothing lies.

By default a spread of points; EXPOSR_FAULTS=all takes every one (docs/reliability.md has command and figures).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from actions import ACTIONS, collecting
from crash_points import kill_at_points
from selection import ALL

from encoded_pictures import noise_picture
from scrapers.sandbox.server import SandboxServer
from scrapers.sandbox.settings import SandboxSettings

POINTS = None if ALL else 5  # of each action
LEAST = 20 if ALL else 5
pytestmark = pytest.mark.timeout(3600 if ALL else 120)


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_a_kill_at_any_step_loses_nothing(tmp_path: Path, name: str) -> None:
    assert kill_at_points(ACTIONS[name], tmp_path, POINTS) >= LEAST


def test_a_kill_while_collecting_loses_and_repeats_nothing(tmp_path: Path) -> None:
    for index in range(24):
        file = tmp_path / "offered" / ("real", "ai_generated")[index % 2] / "Model A" / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise_picture(index, (100 + index, 80)).save(file)
    roomy = SandboxSettings.model_validate({"unsplash": {"hourly_limit": 100_000}, "pexels": {"hourly_limit": 10_000}})
    with SandboxServer(tmp_path / "offered", roomy) as server:
        assert kill_at_points(collecting(server, tmp_path / "undisturbed"), tmp_path, POINTS) >= LEAST
