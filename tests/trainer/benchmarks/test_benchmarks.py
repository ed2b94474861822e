"""Benchmarks: measured with every version, never trained on, and a fall on one is an objection."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judging import make_scored
from pictures import encoded, make_job, scene, small_set

from trainer.benchmarks.folders import kept_out, read_benchmarks
from trainer.gate.benchmarks import benchmark_objections
from trainer.interrupts import Interrupts
from trainer.pipeline import run_job
from utils.config.training import Gate


def make_benchmark(root: Path, count: int = 6) -> None:
    for place, start in (("old scans/real/box", 500), ("old scans/ai_generated/flux", 600)):
        (root / place).mkdir(parents=True)
        for number in range(count):
            (root / place / f"{number}.jpg").write_bytes(encoded(scene(start + number), quality=92))


def test_what_a_benchmark_has_or_nearly_has_is_kept_out_and_named(tmp_path: Path) -> None:
    make_benchmark(tmp_path / "benchmarks")
    (tmp_path / "benchmarks/empty").mkdir()
    benchmarks = read_benchmarks(tmp_path / "benchmarks")
    assert list(benchmarks) == ["old scans"]
    assert read_benchmarks(tmp_path / "nowhere") == {}
    own = benchmarks["old scans"].members[0].sample
    copy = replace(own, path="real/copy.jpg")
    near = replace(own, sha256="1" * 64, phash=f"{int(own.phash, 16) ^ 0b101:016x}")
    other = replace(own, sha256="2" * 64, phash=f"{int(own.phash, 16) ^ (2**32 - 1):016x}")
    assert kept_out([copy, near, other], benchmarks, 6) == {own.sha256: "old scans", "1" * 64: "old scans"}


def test_a_fall_on_a_benchmark_is_an_objection_by_name() -> None:
    targets = [0, 1] * 60
    good = make_scored(targets, [0.1, 0.9] * 60)
    bad = make_scored(targets, [0.1, 0.9, 0.8, 0.2] * 30)
    measured: dict = {}
    (said,) = benchmark_objections({"old scans": (bad, good), "new": (good, good)}, Gate(), measured)
    assert said.startswith("benchmark old scans (120 pictures): accuracy falls by 0.500")
    assert set(measured["benchmarks"]) == {"old scans", "new"}
    assert benchmark_objections({"old scans": (good, bad)}, Gate(), {}) == []
    assert benchmark_objections({}, Gate(), (nothing := {})) == [] and nothing == {}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_training_measures_each_benchmark_and_does_not_learn_from_it(tmp_path: Path) -> None:
    samples = small_set(tmp_path / "data", 30)
    make_benchmark(tmp_path / "benchmarks")
    taken = (tmp_path / "data" / samples[0].path).read_bytes()
    (tmp_path / "benchmarks/old scans/real/box/taken.jpg").write_bytes(taken)
    storage = {
        "local_path": str(tmp_path / "data"),
        "models_path": str(tmp_path / "models"),
        "state_path": str(tmp_path / "state"),
        "benchmarks_path": str(tmp_path / "benchmarks"),
    }
    job = make_job(tmp_path / "job", tmp_path, samples, storage=storage, gate={"enabled": False})
    outcome = run_job(job, None, Interrupts())
    assert outcome is not None and outcome.result == "succeeded"
    card = json.loads(next((tmp_path / "models").glob("*/v1/model.json")).read_text())
    found = card["evaluation"]["benchmarks"]["old scans"]
    assert (found["n"], found["real"], found["ai_generated"]) == (13, 7, 6)
    assert 0 <= found["auc"]["value"] <= 1 and np.isfinite(found["auc"]["low"])
    assert card["data"]["split"]["kept_out_for_benchmarks"] == {samples[0].path: "old scans"}
    assert card["data"]["samples"] == len(samples) - 1
    page = next((tmp_path / "models").glob("*/v1/report.html")).read_text()
    assert "<h2>Benchmarks</h2>" in page and "old scans" in page
