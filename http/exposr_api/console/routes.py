"""The console's addresses, in one table. All need a session but the files of the pages' own look."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from exposr_api.console import field, live, media, models, overview, pictures, queue, runs, sources
from exposr_api.endpoints import Endpoint
from exposr_api.pages.rendering import redirect
from exposr_api.protocols import Service


async def to_console(request: Request, service: Service) -> Response:
    """`/` and `/console` lead to the overview."""
    return redirect(request, "")


CONSOLE = (
    Endpoint("GET", "/", to_console, access="open"),
    Endpoint("GET", "/console", to_console, access="open"),
    Endpoint("GET", "/console/", overview.overview, access="session"),
    Endpoint("GET", "/console/pictures", pictures.gallery, access="session"),
    Endpoint("GET", "/console/pictures/{sha256}", pictures.picture, access="session"),
    Endpoint("POST", "/console/pictures/{sha256}/label", pictures.label_picture, access="session", body="form"),
    Endpoint("GET", "/console/problems", pictures.problems, access="session"),
    Endpoint("GET", "/console/queue", queue.queue, access="session"),
    Endpoint("POST", "/console/queue", queue.decide, access="session", body="form"),
    Endpoint("GET", "/console/models", models.models, access="session"),
    Endpoint("POST", "/console/models/rollback", models.rollback, access="session", body="form"),
    Endpoint("GET", "/console/models/{name}/{version}", models.version, access="session"),
    Endpoint("GET", "/console/models/{name}/{version}/report", models.report, access="session"),
    Endpoint("POST", "/console/models/{name}/{version}/promote", models.promote, access="session", body="form"),
    Endpoint("GET", "/console/runs", runs.runs, access="session"),
    Endpoint("POST", "/console/runs", runs.start, access="session", body="form"),
    Endpoint("GET", "/console/runs/{id}", runs.run, access="session"),
    Endpoint("POST", "/console/runs/{id}/stop", runs.stop, access="session", body="form"),
    Endpoint("GET", "/console/sources", sources.sources, access="session"),
    Endpoint("POST", "/console/sources", sources.start_source, access="session", body="form"),
    Endpoint("GET", "/console/field", field.field, access="session"),
    Endpoint("GET", "/console/events", live.events, access="session"),
    Endpoint("GET", "/console/thumbnails/{size}/{sha256}", media.thumbnail, access="session"),
    Endpoint("GET", "/console/static/{name}", media.static, access="open"),
)
