"""The API as one Starlette app: `create_app(service, keys)`.

An endpoint is a coroutine that takes the request and the service. What holds for all of them (key, size of the body,
error form, headers) is done around it, here, and nowhere else.
"""

from __future__ import annotations

import asyncio
import functools

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from exposr_api.answers.errors import ApiError, on_api_error, on_fault, on_http_error, on_service_error
from exposr_api.auth import Keys, Refusals, bearer_token
from exposr_api.endpoints import ENDPOINTS, Endpoint
from exposr_api.protocols import EventStream, Service
from utils.clock import Clock, SystemClock
from utils.errors import ExposrError

MAX_BODY_BYTES = 64 * 1024  # bodies are read and ignored; none has a meaning
MAX_DISCARDED_BYTES = 32 << 20  # of a body that is too large: who is still sending may never read an early answer
BODY_SECONDS = 20.0


def create_app(service: Service, keys: Keys, clock: Clock | None = None) -> Starlette:
    """The whole API over `service`, protected by `keys`."""
    app = Starlette(
        routes=[_route(endpoint) for endpoint in ENDPOINTS],
        exception_handlers={
            ApiError: on_api_error,
            HTTPException: on_http_error,
            ExposrError: on_service_error,
            Exception: on_fault,
        },
    )
    app.router.redirect_slashes = False  # a redirect would repeat the Host header that the caller sent
    app.state.service = service
    app.state.keys = keys
    app.state.refusals = Refusals(clock or SystemClock())
    open_streams: set[EventStream] = set()
    app.state.open_streams = open_streams
    return app


def _route(endpoint: Endpoint) -> Route:
    return Route(endpoint.path, functools.partial(_answer, endpoint), methods=[endpoint.method], name=endpoint.name)


async def _answer(endpoint: Endpoint, request: Request) -> Response:
    if endpoint.needs_key:
        _check_key(request)
    if request.scope["path"].endswith("\n"):  # the router's `$` also matches before a last line break
        raise HTTPException(404)
    if request.method == "POST":
        await _ignore_body(request)
    return await endpoint.handler(request, request.app.state.service)


def _check_key(request: Request) -> None:
    keys: Keys = request.app.state.keys
    token = bearer_token(request.scope)
    if token is not None and keys.accepts(token):
        return
    how = "send the header `Authorization: Bearer KEY`"
    if token is None:
        raise ApiError(
            "unauthorized", f"this needs an API key: {how}", {"www-authenticate": 'Bearer realm="exposr-trainer"'}
        )
    request.app.state.refusals.note(request.scope)
    raise ApiError(
        "unauthorized",
        f"this is not a key of this service: {how} with the key the operator gave you",
        {"www-authenticate": 'Bearer realm="exposr-trainer", error="invalid_token"'},
    )


async def _ignore_body(request: Request) -> None:
    """Read the body away, so that the next request on the connection starts where it should."""
    declared = request.headers.get("content-length", "")
    expected = int(declared) if declared.isdecimal() else 0
    is_waiting = "expect" in request.headers  # asks first, and sends nothing when the answer is no
    if expected > MAX_DISCARDED_BYTES or (is_waiting and expected > MAX_BODY_BYTES):
        raise _too_large()
    received = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                received += len(chunk)
                if received > MAX_DISCARDED_BYTES:
                    break
    except ClientDisconnect:
        raise ApiError("bad_request", "the request's body was cut off") from None
    except TimeoutError:
        raise ApiError("request_timeout", "the request's body took too long; send none") from None
    if received > MAX_BODY_BYTES:
        raise _too_large()


def _too_large() -> ApiError:
    return ApiError("too_large", f"send no body; more than {MAX_BODY_BYTES} bytes are refused")
