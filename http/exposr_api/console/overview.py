"""Overview: what is there, what goes on, what is due, and how good the version in service is."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.console.visit import Visit, page
from exposr_api.protocols import Json

FRAGMENTS = ("counts", "mix", "running", "plan", "service", "health")
COUNTS = (  # key of dataset_counts, words, where a click leads
    ("total", "usable pictures", "pictures"),
    ("real", "real", "pictures?label=real"),
    ("ai_generated", "generated", "pictures?label=ai_generated"),
    ("unlabeled", "unlabelled", "queue"),
    ("conflicts", "in conflict", "problems?kind=conflict"),
    ("duplicates", "duplicates", "problems?kind=duplicate"),
    ("rejected", "rejected", "problems?kind=rejected"),
    ("pending", "being checked", ""),
)
FIGURES = (  # of a registry entry: key, words, and words for a narrow column; what is unseen comes first
    ("unseen_auc", "AUC, unseen sources and generators", "AUC, unseen"),
    ("unseen_false_alarms", "False alarms, unseen sources", "False alarms, unseen"),
    ("unseen_found", "Generated found, unseen generators", "Found, unseen"),
    ("test_auc", "AUC, test split", "AUC, test split"),
    ("val_acc", "Accuracy, validation split", "Accuracy"),
)


@page
async def overview(request: Request, visit: Visit) -> Response:
    health = await run_in_threadpool(visit.service.health)
    mix = await run_in_threadpool(visit.data.mix)
    runs = await run_in_threadpool(open_runs, visit)
    status = visit.service.status()
    return visit.render(
        "overview.html",
        "",
        fragments=FRAGMENTS,
        counts=status["dataset_counts"],
        tiles=COUNTS,
        by_source=by_source(mix),
        status=status,
        plan=status.get("plan", {}),
        runs=runs,
        health=health,
        champion=champion_of(visit),
        figure_names=FIGURES,
        rejection=status.get("last_rejection"),
    )


def open_runs(visit: Visit) -> list[Json]:
    """What runs or waits to run."""
    running = visit.service.status().get("running", {})
    found = [visit.service.run(short["id"]) for short in running.values()]
    return [run for run in found if run is not None]


def champion_of(visit: Visit) -> Json | None:
    """The registry entry of the version in service."""
    latest = visit.service.models.latest()
    if latest is None:
        return None
    name = (latest["model_name"], latest["model_version"])
    return next((e for e in visit.service.models.entries() if (e["model"], e["version"]) == name), None)


def by_source(mix: Any) -> list[dict[str, Any]] | None:
    """One row for each source, the largest first; None while it is not known."""
    if mix is None:
        return None
    rows: dict[str, dict[str, int]] = {}
    for label, source, number in mix:
        rows.setdefault(source, {"real": 0, "ai_generated": 0, "unlabeled": 0})[label] += number
    made = [{"source": source, "total": sum(row.values()), **row} for source, row in rows.items()]
    return sorted(made, key=lambda row: (-int(row["total"]), str(row["source"])))
