"""A whole training of a few small pictures as an action: to be killed anywhere, and to end as if it had not been."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from crash_points import Action, count_steps
from invariants import model_violations
from pictures import make_job, small_set

import trainer.assessment
from trainer.data.snapshot import read_snapshot, write_snapshot
from trainer.interrupts import Interrupts
from trainer.pipeline import run_job
from trainer.publishing.load_check import problems_of
from trainer.publishing.registry import Registry
from utils.errors import StopRunError

SECTIONS: dict[str, Any] = {
    "model": {"architecture": "test_efficientnet", "image_size": 64, "pretrained": False},
    "gate": {"enabled": False, "keep_versions": 1},  # so that its publishing prunes, too
    "triggers": {"min_per_class": 4},
}
QUICK = {"epochs": 2, "batch_size": 8, "workers": 0, "threads": 1, "checkpoint_seconds": 0}


class LoadedInThisProcess:
    """The same look at the files as a fresh process has, without one: importing torch again takes seconds."""

    def __enter__(self) -> LoadedInThisProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def check_loads(self, folder: Path) -> None:
        if problems := problems_of(folder):
            raise StopRunError("; ".join(problems))


def offer_pictures(base: Path) -> None:
    """Pictures, and two published versions, of which neither is the training's."""
    write_snapshot(base / "snapshot.jsonl", small_set(base / "data", 16, side=72))
    for _ in range(2):
        registry = Registry(base / "models")
        version = registry.reserve_version("efficientnet")
        staged = registry.stage("efficientnet", version)
        (staged / "weights.pt").write_bytes(version.encode() * 100)
        registry.publish(staged, {"model": "efficientnet", "version": version, "timestamp": "2026-01-01T00:00:00Z"})


def training(mode: str, undisturbed: Path) -> tuple[Action, int]:
    """Killed and started again, it publishes once, and the weights that it publishes undisturbed; with its steps."""

    def train(base: Path) -> None:
        # in a forked child alone: this process has no threads of torch, and they would not survive the fork
        torch.set_num_threads(1)
        trainer.assessment.FreshProcess = LoadedInThisProcess  # type: ignore[assignment,misc]
        sys.stdout = (base / "stdout").open("w")
        samples = list(read_snapshot(base / "snapshot.jsonl").samples)
        job = make_job(base / "job", base, samples, training={**QUICK, "mode": mode}, **SECTIONS)
        outcome = run_job(job, None, Interrupts())
        assert outcome is not None
        assert outcome.result == "succeeded", outcome.summary

    def published(base: Path) -> list[str]:
        return [entry["sha256"] for entry in Registry(base / "models").entries() if entry.get("run")]

    def check(base: Path) -> None:
        assert model_violations(base / "models") == []
        count_steps(lambda: train(base))
        assert model_violations(base / "models") == []
        assert published(base) == expected
        assert not list((base / "models").rglob(".staging-*")) + list((base / "models").rglob("*.part"))

    offer_pictures(undisturbed)
    steps = count_steps(lambda: train(undisturbed))
    expected = published(undisturbed)
    assert len(expected) == 1
    return Action(offer_pictures, train, check), steps
