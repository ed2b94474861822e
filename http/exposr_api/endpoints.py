"""What each path answers. The table at the end is the API; openapi.py describes the same paths."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.errors import ApiError
from exposr_api.answers.negotiation import prefers_prometheus
from exposr_api.answers.responses import (
    JSON,
    encode_json,
    header_list,
    json_response,
    plain_response,
    revalidated_response,
)
from exposr_api.answers.status import StatusBody
from exposr_api.description.openapi import openapi_document
from exposr_api.feedback import get_feedback, post_feedback
from exposr_api.files import PATH_PART, serve_published_file
from exposr_api.observations import get_observations, post_observations
from exposr_api.protocols import NOT_FOUND, RUNNING, Decision, Service
from exposr_api.signin.pages import get_login, post_login, post_logout
from exposr_api.streams import EVENT_STREAM, ServerSentEvents

Handler: TypeAlias = Callable[[Request, Service], Awaitable[Response]]

RUN_KINDS = ("scrape", "train")
DEFAULT_RUNS, MAX_RUNS = 50, 1000
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
PEM = "application/x-pem-file"
NO_RUN = "no such run; GET /runs lists them"
NOTHING_PUBLISHED = "no version has been published yet; POST /train starts a training once there are enough images"


async def get_status(request: Request, service: Service) -> Response:
    body: StatusBody = request.app.state.status_body
    return plain_response(body.encode(service.status()), JSON)


async def get_health(request: Request, service: Service) -> Response:
    health = await run_in_threadpool(service.health)
    ready = health.status in ("ok", "degraded")
    parts = [{"name": part.name, "ok": part.ok, "reason": part.reason} for part in health.parts]
    body = {"status": health.status, "live": True, "ready": ready, "parts": parts}
    return json_response(body, 200 if ready else 503)


async def get_metrics(request: Request, service: Service) -> Response:
    accept = header_list(request, "accept")
    if prefers_prometheus(accept):
        body, media_type = await run_in_threadpool(service.prometheus, accept or "")
        return plain_response(body, media_type, headers={"vary": "accept"})
    return json_response(service.metrics(), headers={"vary": "accept"})


async def post_scrape(request: Request, service: Service) -> Response:
    return _started(await run_in_threadpool(service.start_scrape), "scrape")


async def post_train(request: Request, service: Service) -> Response:
    return _started(await run_in_threadpool(service.start_training), "training")


async def get_models(request: Request, service: Service) -> Response:
    return revalidated_response(request, encode_json({"models": list(service.models.entries())}))


async def get_latest(request: Request, service: Service) -> Response:
    latest = service.models.latest()
    if latest is None:
        raise ApiError("nothing_published", NOTHING_PUBLISHED)
    return revalidated_response(request, encode_json(latest))


async def get_pointer(request: Request, service: Service) -> Response:
    pointer = service.models.pointer()
    if pointer is None:
        raise ApiError("nothing_published", NOTHING_PUBLISHED)
    return revalidated_response(request, pointer)


async def get_key(request: Request, service: Service) -> Response:
    return revalidated_response(request, service.models.public_key(), PEM)


async def get_file(request: Request, service: Service) -> Response:
    return await serve_published_file(request, service.models)


async def post_promote(request: Request, service: Service) -> Response:
    name, version = request.path_params["name"], request.path_params["version"]
    if not (PATH_PART.fullmatch(name) and PATH_PART.fullmatch(version)):
        raise ApiError("not_found", "no such version; GET /models lists all")
    return _changed(await run_in_threadpool(service.models.promote, name, version))


async def post_rollback(request: Request, service: Service) -> Response:
    name = request.path_params["name"]
    if not PATH_PART.fullmatch(name):
        raise ApiError("not_found", "no such model; GET /models lists all")
    return _changed(await run_in_threadpool(service.models.rollback, name))


async def get_runs(request: Request, service: Service) -> Response:
    kind = request.query_params.get("kind")
    if kind is not None and kind not in RUN_KINDS:
        raise ApiError("bad_request", f"kind is {' or '.join(RUN_KINDS)}, or left out for both")
    limit = request.query_params.get("limit", str(DEFAULT_RUNS))
    if not re.fullmatch(r"[0-9]{1,6}", limit) or not 1 <= int(limit) <= MAX_RUNS:
        raise ApiError("bad_request", f"limit is a whole number from 1 to {MAX_RUNS}")
    runs = await run_in_threadpool(service.runs, kind, int(limit))
    return json_response({"runs": list(runs)})


async def get_run(request: Request, service: Service) -> Response:
    run_id = request.path_params["id"]
    run = await run_in_threadpool(service.run, run_id) if RUN_ID.fullmatch(run_id) else None
    if run is None:
        raise ApiError("not_found", NO_RUN)
    return json_response(run)


async def post_stop(request: Request, service: Service) -> Response:
    run_id = request.path_params["id"]
    if not RUN_ID.fullmatch(run_id):
        raise ApiError("not_found", NO_RUN)
    return _changed(await run_in_threadpool(service.stop_run, run_id), 202)


async def get_events(request: Request, service: Service) -> Response:
    if request.method == "HEAD":
        return plain_response(b"", EVENT_STREAM)
    first = ("status", service.status())
    return ServerSentEvents(service.subscribe(), first, request.app.state.open_streams)


async def get_openapi(request: Request, service: Service) -> Response:
    return revalidated_response(request, encode_json(openapi_document()))


def _started(decision: Decision, what: str) -> Response:
    """202, or 409 with the reason both in the guide's `status` and in the error form."""
    details = dict(decision.details)
    if decision.accepted:
        return json_response({**details, "status": f"{what} started"}, 202)
    status = f"{what} already running" if decision.code == RUNNING else decision.message
    return _refused(decision, status)


def _changed(decision: Decision, status: int = 200) -> Response:
    if decision.accepted:
        return json_response({**decision.details, "status": decision.message}, status)
    if decision.code == NOT_FOUND:
        raise ApiError("not_found", decision.message)
    return _refused(decision, decision.message)


def _refused(decision: Decision, status: str) -> Response:
    error: dict[str, Any] = {"code": decision.code, "message": decision.message}
    return json_response({**decision.details, "status": status, "error": error}, 409)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`access`: who may call. "key": an API key, or a session (which for a change needs its CSRF token); "session":
    people, who are sent to the sign-in form first. `body`: what becomes of the request's body."""

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    access: Literal["open", "key", "session"] = "key"
    body: Literal["none", "form", "upload"] = "none"

    @property
    def name(self) -> str:
        return self.handler.__name__


# fixed paths before patterns: the first that fits answers
ENDPOINTS = (
    Endpoint("GET", "/status", get_status, access="open"),
    Endpoint("GET", "/health", get_health, access="open"),
    Endpoint("GET", "/openapi.json", get_openapi, access="open"),
    Endpoint("GET", "/login", get_login, access="open"),
    Endpoint("POST", "/login", post_login, access="open", body="form"),
    Endpoint("POST", "/logout", post_logout, access="session", body="form"),
    Endpoint("GET", "/metrics", get_metrics),
    Endpoint("POST", "/scrape", post_scrape),
    Endpoint("POST", "/train", post_train),
    Endpoint("GET", "/feedback", get_feedback),
    Endpoint("POST", "/feedback", post_feedback, body="upload"),
    Endpoint("GET", "/observations", get_observations),
    Endpoint("POST", "/observations", post_observations, body="form"),
    Endpoint("GET", "/runs", get_runs),
    Endpoint("GET", "/runs/{id}", get_run),
    Endpoint("POST", "/runs/{id}/stop", post_stop),
    Endpoint("GET", "/events", get_events),
    Endpoint("GET", "/models", get_models),
    Endpoint("GET", "/models/latest", get_latest),
    Endpoint("GET", "/models/pointer", get_pointer),
    Endpoint("GET", "/models/key", get_key),
    Endpoint("POST", "/models/{name}/rollback", post_rollback),
    Endpoint("POST", "/models/{name}/{version}/promote", post_promote),
    Endpoint("GET", "/models/{name}/{version}/{file}", get_file),
)
