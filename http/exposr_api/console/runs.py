"""Runs: history, the one that goes on with its log, start and stop."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.errors import ApiError
from exposr_api.console.overview import open_runs
from exposr_api.console.visit import Visit, only, page
from exposr_api.endpoints import MAX_RUNS, RUN_ID, RUN_KINDS

PAGE_RUNS = 50


@page
async def runs(request: Request, visit: Visit) -> Response:
    kind = request.query_params.get("kind", "")
    if kind not in ("", *RUN_KINDS):
        raise ApiError("not_found", "kind is " + " or ".join(RUN_KINDS))
    shown = request.query_params.get("shown", "")
    limit = min(int(shown), MAX_RUNS) if shown.isdecimal() and len(shown) < 6 and int(shown) else PAGE_RUNS
    listed = await run_in_threadpool(visit.service.runs, kind or None, limit + 1)
    return visit.render(
        "runs.html",
        "runs",
        fragments=("history", "starting"),
        kind=kind,
        runs=list(listed)[:limit],
        shown=limit,
        more=min(limit * 4, MAX_RUNS) if len(listed) > limit and limit < MAX_RUNS else 0,
        open_runs=await run_in_threadpool(open_runs, visit),
        plan=visit.service.status().get("plan", {}),
    )


@page
async def run(request: Request, visit: Visit) -> Response:
    run_id = request.path_params["id"]
    found = await run_in_threadpool(visit.service.run, run_id) if RUN_ID.fullmatch(run_id) else None
    if found is None:
        raise ApiError("not_found", "no such run")
    log = await run_in_threadpool(visit.data.run_log, run_id)
    return visit.render("run.html", "runs", fragments=("run",), run=found, log=log, is_open=found["ended"] is None)


@page
async def start(request: Request, visit: Visit) -> Response:
    form = await visit.form()
    kind = only(form, "kind")
    if kind not in RUN_KINDS:
        raise ApiError("bad_request", "kind is " + " or ".join(RUN_KINDS))
    begin = visit.service.start_scrape if kind == "scrape" else visit.service.start_training
    decision = await run_in_threadpool(begin, "in the console")
    visit.say_decision(decision)
    run_id = decision.details.get("run_id")
    return visit.redirect(f"runs/{run_id}" if decision.accepted and run_id else "runs")


@page
async def stop(request: Request, visit: Visit) -> Response:
    form = await visit.form()
    run_id = request.path_params["id"]
    if not RUN_ID.fullmatch(run_id):
        raise ApiError("not_found", "no such run")
    if only(form, "confirmed") != "yes":
        return visit.render(
            "confirm.html",
            "runs",
            question=f"Stop {run_id}? What it has done so far is not published.",
            action=f"runs/{run_id}/stop",
            yes="Stop it",
            back=f"runs/{run_id}",
        )
    visit.say_decision(await run_in_threadpool(visit.service.stop_run, run_id))
    return visit.redirect(f"runs/{run_id}")
