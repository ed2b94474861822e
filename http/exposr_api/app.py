"""The API as one Starlette app: `create_app(service, keys)`.

An endpoint is a coroutine that takes the request and the service. What holds for all of them (key or session, CSRF
token, size of the body, error form) is done around it, here, and nowhere else.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exposr_api.answers.bodies import MAX_BODY_BYTES, UPLOAD_SECONDS, read_away, within_limits
from exposr_api.answers.errors import ApiError, on_api_error, on_fault, on_http_error, on_service_error
from exposr_api.answers.status import StatusBody
from exposr_api.auth import Keys, Refusals, bearer_token
from exposr_api.console.protocols import ConsoleData
from exposr_api.console.routes import CONSOLE
from exposr_api.endpoints import ENDPOINTS, Endpoint
from exposr_api.error_pages import with_page
from exposr_api.protocols import EventStream, Service
from exposr_api.signin.csrf import require_csrf_token
from exposr_api.signin.pages import redirect_to_login
from exposr_api.signin.session import Session, Sessions, session_of
from exposr_api.signin.tries import Tries
from exposr_api.transport.addressing import Addressing
from utils.clock import Clock, SystemClock
from utils.errors import ExposrError

FORM_OVERHEAD_BYTES = 64 * 1024  # what a multipart body may have beside its file
DEFAULT_UPLOAD_BYTES = 60_000_000


def create_app(
    service: Service,
    keys: Keys,
    clock: Clock | None = None,
    *,
    sessions: Sessions | None = None,
    root_path: str = "",
    trusted_proxies: Sequence[str] = (),
    max_upload_bytes: int = DEFAULT_UPLOAD_BYTES,
    console: ConsoleData | None = None,
    endpoints: Iterable[Endpoint] = (*ENDPOINTS, *CONSOLE),
) -> Starlette:
    """The whole API over `service`, and the pages over `console`, protected by `keys`.

    Without `sessions` a restart signs everybody out.
    """
    clock = clock or SystemClock()
    app = Starlette(
        routes=[_route(endpoint) for endpoint in endpoints],
        middleware=[Middleware(Addressing, root_path=root_path, trusted=trusted_proxies)],
        exception_handlers={
            ApiError: with_page(on_api_error),
            HTTPException: with_page(on_http_error),
            ExposrError: with_page(on_service_error),
            Exception: with_page(on_fault),
        },
    )
    app.router.redirect_slashes = False  # a redirect would repeat the Host header that the caller sent
    app.state.service = service
    app.state.console = console
    app.state.console_messages = {}
    app.state.status_body = StatusBody()
    app.state.keys = keys
    app.state.sessions = sessions or Sessions(keys, clock=clock)
    app.state.tries = Tries(clock)
    app.state.refusals = Refusals(clock)
    app.state.max_upload_bytes = max_upload_bytes
    open_streams: set[EventStream] = set()
    app.state.open_streams = open_streams
    return app


def _route(endpoint: Endpoint) -> Route:
    return Route(endpoint.path, functools.partial(_answer, endpoint), methods=[endpoint.method], name=endpoint.name)


async def _answer(endpoint: Endpoint, request: Request) -> Response:
    session = session_of(request) if endpoint.access != "open" else None
    if endpoint.access == "key":
        session = _require_key_or(session, request)
    elif endpoint.access == "session" and session is None:
        return redirect_to_login(request)
    if request.scope["path"].endswith("\n"):  # the router's `$` also matches before a last line break
        raise HTTPException(404)
    if endpoint.method == "POST":
        request = await _with_body(endpoint, request)
        if session is not None:
            await require_csrf_token(request, session, in_form=endpoint.body != "none")
    return await endpoint.handler(request, request.app.state.service)


def _require_key_or(session: Session | None, request: Request) -> Session | None:
    """Who comes with a key needs no session, and no CSRF token: no browser sends that header by itself."""
    keys: Keys = request.app.state.keys
    token = bearer_token(request.scope)
    if token is not None and keys.accepts(token):
        return None
    if session is not None and "authorization" not in request.headers:
        return session
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


async def _with_body(endpoint: Endpoint, request: Request) -> Request:
    if endpoint.body == "none":
        await read_away(request)
        return request
    if endpoint.body == "form":
        return within_limits(request, MAX_BODY_BYTES)
    return within_limits(request, request.app.state.max_upload_bytes + FORM_OVERHEAD_BYTES, UPLOAD_SECONDS)
