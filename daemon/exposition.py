"""The daemon's state as a snapshot for Prometheus."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from daemon.application import Application
from daemon.monitoring.metrics import MetricsSnapshot
from daemon.state.store import Run
from scrapers.status import candidate_totals
from utils.clock import from_iso
from utils.version import VERSION

HISTORY_RUNS = 1000
MODEL_METRICS = ("val_acc", "val_auc", "val_loss", "precision", "recall", "f1_score", "test_auc")
UNSEEN = ("unseen_auc", "unseen_false_alarms", "unseen_found")  # each with its interval and the worst


def metrics_snapshot(application: Application) -> MetricsSnapshot:
    """Reads what is in memory and the run history."""
    counts = application.dataset.counts()
    ended = {
        kind: [run for run in application.runs(kind, HISTORY_RUNS) if not run.is_open] for kind in ("scrape", "train")
    }
    good = {kind: [run for run in runs if run.state in ("succeeded", "rejected")] for kind, runs in ended.items()}
    open_kinds = {run.kind for run in application.open_runs()}
    champion = application.models.champion()
    disk, drift = application.disk.state(), application.drift
    dataset = application.dataset.health()
    return MetricsSnapshot(
        version=VERSION,
        start_timestamp=time.time() - application.uptime(),
        images={"real": counts.real, "ai_generated": counts.ai_generated, "unlabeled": counts.unlabeled},
        left_out={"duplicate": counts.duplicates, "conflict": counts.conflicts, "rejected": counts.rejected},
        pending=counts.pending,
        parts={
            "dataset": dataset.ok,
            "disk": disk.ok,
            "sources": not any(state.problem for state in application.sources),
        },
        running={kind: kind in open_kinds for kind in ended},
        runs=Counter((kind, run.state) for kind, runs in ended.items() for run in runs),
        last_run={kind: _end_of_newest(runs) for kind, runs in ended.items()},
        last_success={kind: _end_of_newest(runs) for kind, runs in good.items()},
        next_due={kind: _timestamp(application.plan.get(kind, {}).get("at")) for kind in ended},
        failures_in_a_row={kind: _failures(runs) for kind, runs in ended.items()},
        sources={state.name: state.usable for state in application.sources if state.enabled},
        empty_runs={state.name: state.empty_runs for state in application.sources if state.enabled},
        candidates=candidate_totals(application.config),
        collected={(label, name): n for label, names in application.mix.items() for name, n in names.items()},
        drift_risen=drift.is_risen,
        observed_pictures=drift.pictures,
        observed_shares={
            (kind, which): value
            for kind, share in drift.shares.items()
            for which, value in (("seen", share.seen), ("sure", share.low), ("validation", share.high))
        },
        models_published=len(application.models.entries()),
        model={"model": str(champion["model"]), "version": str(champion["version"])} if champion else None,
        model_timestamp=_timestamp(champion["timestamp"]) if champion else None,
        model_metrics=_model_metrics(champion) if champion else {},
        disks=disk.disks,
        disk_ok=disk.ok,
        gpus=application.gpus,
    )


def _model_metrics(champion: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of the entry by name: `unseen_auc`, `unseen_auc_low`, `unseen_auc_high`, `unseen_auc_worst`, …"""
    numbers = {name: champion.get(name) for name in MODEL_METRICS}
    for name in UNSEEN:
        figure = champion.get(name) or {}
        numbers |= {
            f"{name}_{end}".removesuffix("_value"): figure.get(end) for end in ("value", "low", "high", "worst")
        }
    return {name: float(number) for name, number in numbers.items() if number is not None}


def _timestamp(moment: str | None) -> float | None:
    return from_iso(moment).timestamp() if moment else None


def _end_of_newest(runs: list[Run]) -> float | None:
    return _timestamp(runs[0].ended) if runs else None


def _failures(runs: list[Run]) -> int:
    return next((number for number, run in enumerate(runs) if run.state != "failed"), len(runs))
