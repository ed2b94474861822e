"""SIGKILL at the steps of a training, from its snapshot to its published version and the pruning of older ones.

By default two points; EXPOSR_FAULTS=all takes every one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from crash_points import kill_at_points
from selection import ALL
from trainings import training

MODES = ("full", "frozen") if ALL else ("full",)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if ALL else 120)]


@pytest.mark.parametrize("mode", MODES)
def test_a_training_killed_at_any_step_publishes_once_and_the_same_weights(tmp_path: Path, mode: str) -> None:
    tried = kill_at_points(training(mode, tmp_path / "undisturbed"), tmp_path, None if ALL else 2)
    assert tried >= (100 if ALL else 2)
