"""What `status`, `runs` and `train --dry-run` show: asked of the running daemon, else read from the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from daemon.cli.foreground import open_application, wait_until_ready
from daemon.cli.outcomes import render_mix, render_outcome
from daemon.monitoring.gpu import training_gpu_gb
from daemon.remote import find_daemon
from daemon.state.store import STORE_FILE, Store
from trainer.models.comparison import plan_in_words
from utils.config_loader import Config
from utils.errors import OperatorError


def read_status(config: Config) -> dict[str, Any]:
    """The API's /status and /health, or what the state says while no service runs (`service` is then "stopped")."""
    daemon = find_daemon(config)
    if daemon is not None:
        return {"service": daemon.url, **daemon.get("/status"), "health": daemon.get("/health")}
    if not config.storage.state_path.is_dir():
        raise OperatorError(
            f"{config.storage.state_path}: there is no state here yet; start the service with exposr-trainer serve, or "
            f"name another configuration with --config"
        )
    with open_application(config, "exposr-trainer status") as (application, pause):
        from daemon.api_service import TrainerService

        wait_until_ready(application, pause)
        application.plan_runs(start=False)
        return {"service": "stopped", **TrainerService(application).status()}


def render_status(status: Mapping[str, Any]) -> str:
    """Lines for a terminal."""
    counts = status["dataset_counts"]
    lines = [
        f"service       {status['service']}",
        f"images        {counts['total']}: {counts['real']} real, {counts['ai_generated']} ai_generated, "
        f"{counts['unlabeled']} unlabeled",
        f"not used      {counts['rejected']} rejected, {counts['duplicates']} duplicates, "
        f"{counts['conflicts']} in conflict, {counts['pending']} waiting for their check",
        *([f"away          {counts['away']} of these: their disk is not there"] if counts.get("away") else []),
        f"last scrape   {status['last_scrape'] or 'never'}",
        f"last training {status['last_train'] or 'never'}",
    ]
    for kind, plan in status.get("plan", {}).items():
        if plan["code"] == "starting":
            continue
        when = f" (due {plan['at']})" if plan.get("at") else ""
        lines.append(f"next {kind:<8} {plan['reason']}{when}")
    if status.get("drift", {}).get("state") == "risen":
        lines.append(f"PROBLEM       drift: {status['drift']['reason']}")
    for kind, run in status.get("running", {}).items():
        lines.append(f"running       {kind}: {run['message'] or run['state']}  ({run['id']})")
    sources = [source for source in status.get("sources", []) if source["enabled"]]
    for source in sources:
        lines.append(
            f"{'PROBLEM' if source['problem'] else 'source':<13} {source['name']}: {source['reason'] or 'ready'}"
        )
        if source["outcome"]:
            lines.append(f"{'':<13} {source['name']}, last run: {render_outcome(source['outcome'])}")
    lines += [f"{'mix':<13} {label}: {render_mix(names)}" for label, names in status.get("mix", {}).items()]
    # the sources' problems stand beside each source already
    parts = [part for part in status.get("health", {}).get("parts", []) if part["reason"] and part["name"] != "sources"]
    lines += [f"{'note' if part['ok'] else 'PROBLEM':<13} {part['name']}: {part['reason']}" for part in parts]
    return "\n".join(lines)


def explain_plan(config: Config) -> str:
    """What `train` would do now, and whether the schedule would have started it. Leaves no state where none was."""
    with ExitStack() as stack:
        if not config.storage.state_path.is_dir():
            empty = Path(stack.enter_context(TemporaryDirectory(prefix="exposr-dry-run-")))
            storage = config.storage.model_copy(update={"state_path": empty})
            config = config.model_copy(update={"storage": storage})
        status = read_status(config)
    counts = status["dataset_counts"]
    plan = status.get("plan", {}).get("train", {})
    floor = config.triggers.min_per_class
    enough = min(counts["real"], counts["ai_generated"]) >= floor
    can = "it would start" if enough else f"it would not start: both labels need {floor} usable images"
    return "\n".join(
        [
            f"{counts['real']} real and {counts['ai_generated']} ai_generated usable images: {can}",
            f"by schedule: {plan.get('reason', 'not decided yet')}",
            *plan_in_words(config.model, config.storage.state_path, training_gpu_gb(config.training)),
        ]
    )


def read_runs(config: Config, run_id: str | None, kind: str | None, limit: int) -> Any:
    """Runs as the API gives them, newest first; one run when `run_id` is given. Raises OperatorError: no such run."""
    if kind not in (None, "scrape", "train"):
        raise OperatorError(f"kind is {kind!r}, allowed are scrape and train")
    daemon = find_daemon(config)
    if daemon is not None:
        path = f"/runs/{run_id}" if run_id else f"/runs?limit={limit}" + (f"&kind={kind}" if kind else "")
        found = daemon.get(path)
        return found if run_id else found["runs"]
    file = config.storage.state_path / STORE_FILE
    if not file.is_file():
        return [] if run_id is None else _no_run(run_id)
    store = Store(file)
    try:
        if run_id is None:
            return [run.as_public() for run in store.runs(kind, limit)]
        run = store.run(run_id)
        return run.as_public() if run else _no_run(run_id)
    finally:
        store.close()


def render_runs(runs: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{run['id']:<32} {run['state']:<11} {run['started']}  "
        f"{run['outcome'].get('summary') or run['progress'].get('message') or run['reason']}"
        for run in runs
    ]
    return "\n".join(lines) or "no runs yet"


def _no_run(run_id: str) -> Any:
    raise OperatorError(f"{run_id}: no such run; exposr-trainer runs lists them")
