"""Killed anywhere and started again, a training ends with the weights that it would have had, bit for bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import make_job, small_set

from utils.job_protocol import EXIT_INTERRUPTED

PROGRAM = Path(__file__).parents[1] / "train_only.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
FULL = {"mode": "full", "epochs": 3, "batch_size": 8, "workers": 1, "threads": 1, "checkpoint_seconds": 0}
FROZEN = {"mode": "frozen", "epochs": 4, "threads": 1}


def start(folder: Path) -> subprocess.Popen[str]:
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), str(folder)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=ENVIRONMENT,
            start_new_session=True,
        )


def run(folder: Path, phase: str = "", lines: int = 0, number: signal.Signals = signal.SIGKILL) -> int:
    """Run the training; with `phase`, send the signal after that many of its progress lines. Returns the exit code."""
    process = start(folder)
    assert process.stdout is not None
    with process.stdout:
        for text in process.stdout:
            if phase and json.loads(text)["phase"] == phase:
                lines -= 1
                if lines == 0:
                    os.killpg(process.pid, number) if number == signal.SIGKILL else process.send_signal(number)
    return process.wait()


def weights(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "weights-0.pt", weights_only=True)
    return found


def assert_same(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first["state"].keys() == second["state"].keys()
    assert all(torch.equal(value, second["state"][name]) for name, value in first["state"].items())
    assert first["history"] == second["history"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("training", "phase", "most_lines"), [(FULL, "train", 2), (FROZEN, "embed", 1)], ids=["full", "frozen"]
)
def test_sigkill_anywhere_does_not_change_the_weights(
    tmp_path: Path, training: dict[str, Any], phase: str, most_lines: int
) -> None:
    samples = small_set(tmp_path / "data")
    # batch norms carry state of their own from step to step
    model = {"architecture": "test_efficientnet", "image_size": 64, "pretrained": False}
    whole = make_job(tmp_path / "whole", tmp_path, samples, training=training, model=model)
    assert run(whole) == 0
    shutil.rmtree(tmp_path / "state" / "embeddings")  # the second run has to embed, and to be killed, on its own
    killed = make_job(tmp_path / "killed", tmp_path, samples, training=training, model=model)
    generator = random.Random(os.urandom(4))
    # lines come once a second: on a fast machine the embedding may say no more than that it has begun
    assert run(killed, phase, generator.randint(1, most_lines)) == -signal.SIGKILL
    run(killed, "train", generator.randint(1, 4))
    if not (killed / "weights-0.pt").exists():
        assert run(killed) == 0
    assert_same(weights(whole), weights(killed))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_sigterm_saves_and_leaves_with_75(tmp_path: Path) -> None:
    samples = small_set(tmp_path / "data")
    training = {**FULL, "mode": "lora", "checkpoint_seconds": 3600}
    whole = make_job(tmp_path / "whole", tmp_path, samples, training=training)
    assert run(whole) == 0
    asked = make_job(tmp_path / "asked", tmp_path, samples, training=training)
    assert run(asked, "train", 1, signal.SIGTERM) == EXIT_INTERRUPTED
    assert (asked / "scratch/checkpoint.pt").is_file()
    assert run(asked) == 0
    assert_same(weights(whole), weights(asked))
