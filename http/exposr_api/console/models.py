"""Models: the versions over time, one version in detail, and moving what is in service."""

from __future__ import annotations

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.errors import ApiError
from exposr_api.console.overview import FIGURES, champion_of
from exposr_api.console.visit import Visit, only, page
from exposr_api.files import PATH_PART
from exposr_api.pages.rendering import HEADERS
from exposr_api.pages.words import figure
from exposr_api.protocols import Json

# the report brings its own style and pictures; it runs nothing, and only the console may frame it
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"


@page
async def models(request: Request, visit: Visit) -> Response:
    entries = list(reversed(visit.service.models.entries()))
    champion = champion_of(visit)
    return visit.render(
        "models.html",
        "models",
        fragments=("versions",),
        versions=[{"entry": entry, "figures": _figures(entry), "serves": _is(entry, champion)} for entry in entries],
        figures=FIGURES,
        champion=champion,
        rejection=visit.service.status().get("last_rejection"),
    )


@page
async def version(request: Request, visit: Visit) -> Response:
    entry = _entry(visit, request)
    card = await run_in_threadpool(visit.data.card, entry["model"], entry["version"]) or {}
    champion = champion_of(visit)
    return visit.render(
        "version.html",
        "models",
        entry=entry,
        figures=_figures(entry),
        names=FIGURES,
        serves=_is(entry, champion),
        gate=entry.get("gate") or card.get("gate") or {},
        evaluation=card.get("evaluation") or {},
        audit=card.get("audit") or {},
        card=card,
        has_report="report.html" in (entry.get("files") or {}),
    )


@page
async def report(request: Request, visit: Visit) -> Response:
    entry = _entry(visit, request)
    body = await run_in_threadpool(visit.data.report, entry["model"], entry["version"])
    if body is None:
        raise ApiError("not_found", "this version has no report")
    headers = {name: value for name, value in HEADERS.items() if name != "x-frame-options"}
    headers["content-security-policy"] = REPORT_POLICY
    return Response(body, 200, {**headers, "content-type": "text/html; charset=utf-8"})


@page
async def promote(request: Request, visit: Visit) -> Response:
    form = await visit.form()
    entry = _entry(visit, request)
    name = f"{entry['model']}/{entry['version']}"
    if only(form, "confirmed") != "yes":
        return _ask(visit, f"Put {name} in service?", f"models/{name}/promote", "Put in service", "models")
    visit.say_decision(await run_in_threadpool(visit.service.models.promote, entry["model"], entry["version"]))
    return visit.redirect("models")


@page
async def rollback(request: Request, visit: Visit) -> Response:
    form = await visit.form()
    champion = champion_of(visit)
    if champion is None:
        raise ApiError("not_found", "nothing is published")
    question = f"Roll back from {champion['model']}/{champion['version']} to the version before it?"
    if only(form, "confirmed") != "yes":
        return _ask(visit, question, "models/rollback", "Roll back", "models")
    visit.say_decision(await run_in_threadpool(visit.service.models.rollback, champion["model"]))
    return visit.redirect("models")


def _ask(visit: Visit, question: str, action: str, yes: str, back: str) -> Response:
    return visit.render("confirm.html", "models", question=question, action=action, yes=yes, back=back)


def _entry(visit: Visit, request: Request) -> Json:
    name, number = request.path_params["name"], request.path_params["version"]
    found = [e for e in visit.service.models.entries() if (e["model"], e["version"]) == (name, number)]
    if not found or not (PATH_PART.fullmatch(name) and PATH_PART.fullmatch(number)):
        raise ApiError("not_found", "no such version")
    return found[0]


def _is(entry: Json, champion: Json | None) -> bool:
    return champion is not None and all(entry[key] == champion[key] for key in ("model", "version"))


def _figures(entry: Json) -> dict[str, Any]:
    return {key: figure(entry, key) for key, *_ in FIGURES}
