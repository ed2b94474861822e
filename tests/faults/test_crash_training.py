"""SIGKILL at the steps of a training, from its snapshot to its published version and the pruning of older ones.

By default one step, when all is done but the outcome; EXPOSR_FAULTS=all takes every one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from crash_points import kill_at
from selection import ALL
from trainings import training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600 if ALL else 120)]


@pytest.mark.parametrize("mode", ("full", "frozen") if ALL else ("full",))
def test_a_training_killed_at_any_step_publishes_once_and_the_same_weights(tmp_path: Path, mode: str) -> None:
    action, steps = training(mode, tmp_path / "undisturbed")
    assert steps > 100
    action.prepare(tmp_path / "start")
    kill_at(range(1, steps + 1) if ALL else [steps], steps, action, tmp_path)
