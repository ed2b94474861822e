"""Field: what Exposr-Cores see, whether it has moved away from validation, and what was reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.console.visit import Visit, page

SHOWN_REPORTS = 30
DAY_SECONDS = 86_400
VERDICTS = ("ai_generated", "real", "uncertain")


@page
async def field(request: Request, visit: Visit) -> Response:
    summary = await run_in_threadpool(visit.service.observations.summary)
    reports = await run_in_threadpool(visit.service.feedback.newest, SHOWN_REPORTS)
    return visit.render(
        "field.html",
        "field",
        drift=summary["drift"],
        days=[
            {**day, "x": day_number(day["day"]) + 0.5, "shares": verdict_shares(day)}
            for day in reversed(summary["days"])
        ],
        marks=version_marks(summary),
        scores=score_shares(summary),
        reports=reports,
    )


def day_number(day: str) -> int:
    """Days since 1970-01-01: what the plot's axis counts."""
    return (date.fromisoformat(day) - date(1970, 1, 1)).days


def version_marks(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where a version came into service within the days of the plot: `x` in days as `day_number` counts, `name`."""
    if not summary["days"]:
        return []
    first = day_number(summary["days"][0]["day"])
    marks = []
    for move in summary["in_service"]:
        try:
            moment = datetime.fromisoformat(move["since"])
        except ValueError:  # a registry may have been edited by hand
            continue
        x = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / DAY_SECONDS
        if x >= first:
            marks.append({"x": round(x, 4), "name": f"{move['model']}/{move['version']}", "since": move["since"]})
    return marks


def verdict_shares(day: Mapping[str, Any]) -> dict[str, float | None]:
    """Of the pictures of a day, by verdict."""
    number = sum(day["verdicts"].values())
    return {name: day["verdicts"].get(name, 0) / number if number else None for name in VERDICTS}


def score_shares(summary: Mapping[str, Any]) -> list[dict[str, float | None]]:
    """Share of pictures by probability given, in the field and in validation, of the version in service alone."""
    validation = summary.get("validation") or {}
    name = (validation.get("model"), validation.get("version"))
    seen: list[int] = []
    for day in summary["days"]:
        if (day["model"], day["version"]) == name:
            seen = [one + other for one, other in zip(seen or [0] * len(day["scores"]), day["scores"], strict=True)]
    before = validation.get("scores") or []
    bins = max(len(seen), len(before))
    field, known = _shares(seen, bins), _shares(before, bins)
    return [{"at": (place + 0.5) / bins, "field": field[place], "validation": known[place]} for place in range(bins)]


def _shares(counts: Sequence[int], bins: int) -> list[float | None]:
    number = sum(counts)
    return [count / number for count in counts] if number and len(counts) == bins else [None] * bins
