"""Sources: which are asked, what they gave, what was refused, and collecting from one now."""

from __future__ import annotations

import re

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.errors import ApiError
from exposr_api.console.visit import Visit, only, page

NAME = re.compile(r"[a-z0-9_-]{1,40}")


@page
async def sources(request: Request, visit: Visit) -> Response:
    listed = await run_in_threadpool(visit.data.sources)
    status = visit.service.status()
    return visit.render(
        "sources.html",
        "sources",
        fragments=("sources",),
        sources=listed,
        is_collecting="scrape" in status.get("running", {}),
        plan=status.get("plan", {}).get("scrape"),
    )


@page
async def start_source(request: Request, visit: Visit) -> Response:
    form = await visit.form()
    name = only(form, "source")
    if not NAME.fullmatch(name):
        raise ApiError("bad_request", "no such source")
    decision = await run_in_threadpool(visit.data.start_source, name)
    visit.say_decision(decision)
    return visit.redirect(f"runs/{decision.details['run_id']}" if decision.accepted else "sources")
