"""Two ranks train what one process trains, and leave together; the second reads its pictures from shards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import make_job, small_set

PROGRAM = Path(__file__).parents[1] / "train_only.py"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
TRAINING = {"mode": "full", "epochs": 2, "workers": 0, "threads": 2, "devices": 0}


def run(folder: Path, ranks: int) -> None:
    command = [sys.executable, "-P", str(PROGRAM), str(folder), "--elsewhere"]
    if ranks > 1:
        torchrun = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone"]
        command = [*torchrun, "--nproc-per-node", str(ranks), "--no-python", *command]
    environment = {**ENVIRONMENT, "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]


def weights(folder: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / f"weights-{rank}.pt", weights_only=True)
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ranks_with_files_and_with_shards_see_the_same_samples_and_reach_the_same_weights(tmp_path: Path) -> None:
    samples = small_set(tmp_path / "data")
    alone = make_job(tmp_path / "alone", tmp_path, samples, training={**TRAINING, "batch_size": 8})
    shards = {"shards": str(tmp_path / "shards"), "batch_size": 4}
    together = make_job(tmp_path / "together", tmp_path, samples, training={**TRAINING, **shards})
    run(alone, 1)
    run(together, 2)
    cached = {file.name for file in (together / "cache/exposr-trainer/shards").iterdir()}
    assert cached == {file.name for file in (tmp_path / "shards").glob("*.tar")}
    assert cached
    one, first, second = weights(alone, 0), weights(together, 0), weights(together, 1)
    assert all(torch.equal(value, second["state"][name]) for name, value in first["state"].items())
    for name, value in one["state"].items():  # the mean over ranks is summed in another order
        assert torch.allclose(value, first["state"][name], atol=2e-4), name
    for left, right in zip(one["history"], first["history"], strict=True):
        assert left["step"] == right["step"]
        assert left.get("val_auc") == pytest.approx(right.get("val_auc"), abs=0.02)
