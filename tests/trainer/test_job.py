"""Whole jobs, as the daemon starts them: what is published, what is refused, and what the last line says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import make_job, small_set, stored

from exposr_client.detection import residuals
from exposr_client.detection.loading import load_version
from utils.job_protocol import REPORTED_FILE

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(folder: Path) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and events of `python -P -m trainer --job FOLDER`."""
    command = [sys.executable, "-P", "-m", "trainer", "--job", str(folder)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=280)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events, done.stderr[-3000:]
    return done.returncode, events


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_job_publishes_a_plain_network_with_its_card(tmp_path: Path) -> None:
    samples = small_set(tmp_path / "data")
    (tmp_path / "data" / samples[0].path).unlink()  # someone deletes a picture after the snapshot
    job = make_job(tmp_path / "job", tmp_path, samples, training={"epochs": 2}, gate={"enabled": False})
    wrong = "real" if samples[1].label == "ai_generated" else "ai_generated"
    (job / REPORTED_FILE).write_text(json.dumps({samples[1].sha256: [wrong], samples[2].sha256: [samples[2].label]}))
    code, events = run(job)
    assert code == 0
    outcome = events[-1]
    assert outcome["event"] == "outcome"
    assert (outcome["result"], outcome["details"]["model"], outcome["details"]["version"]) == ("succeeded", "vit", "v1")
    phases = [event["phase"] for event in events[:-1]]
    assert sorted(set(phases), key=phases.index) == [
        "snapshot",
        "embed",
        "train",
        "evaluate",
        "gate",
        "publish",
    ]
    version = tmp_path / "models" / "vit" / "v1"
    card = json.loads((version / "model.json").read_text())
    assert card["architecture"]["branch"] == residuals.NAME
    state = torch.load(version / "weights.pt", weights_only=True)
    assert load_version(version / "weights.pt", "cpu").network.state_dict().keys() == state.keys()
    assert card["architecture"]["mode"] == "frozen"
    reported = card["evaluation"]["reported"]
    assert (reported["labelled"], reported["mistakes"]) == (2, 1)
    assert "Of 1 mistakes that Exposr-Core reported" in (version / "report.html").read_text()
    assert "random weights" in card["architecture"]["pretrained"]["note"]
    entry = json.loads((tmp_path / "models" / "registry.json").read_text())[-1]
    assert "random weights" in entry["notes"]
    assert entry["dataset_size"] == len(samples) - 1


def test_too_little_data_is_refused_with_the_numbers(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job", tmp_path, small_set(tmp_path / "data", 5))
    code, events = run(job)
    outcome = events[-1]
    assert (code, outcome["result"]) == (0, "failed")
    assert outcome["details"] == {
        "reason": "too_little_data",
        "counts": {"real": 5, "ai_generated": 5},
        "min_per_class": 25,
        "left_out": 0,
    }
    assert "5 real and 5 ai_generated" in outcome["summary"]


def test_one_creator_for_all_is_refused_by_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    samples = [
        stored(data, sample.path, (data / sample.path).read_bytes(), sample.label, creator=sample.label)
        for sample in small_set(data)
    ]
    code, events = run(make_job(tmp_path / "job", tmp_path, samples))
    outcome = events[-1]
    assert (code, outcome["result"]) == (0, "failed")
    assert outcome["details"]["reason"] == "too_little_data"
    assert "form 1 group(s)" in outcome["summary"]


def test_a_wrong_architecture_is_the_operators_to_mend(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job", tmp_path, small_set(tmp_path / "data"), model={"architecture": "vit_of_dreams"})
    code, events = run(job)
    assert (code, events[-1]["result"], events[-1]["details"]["reason"]) == (0, "failed", "OperatorError")
    assert "vit_of_dreams" in events[-1]["summary"]
