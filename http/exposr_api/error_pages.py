"""Errors for people: the same answer as a page, where a browser has asked for one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.links import route_path
from exposr_api.pages.rendering import render
from exposr_api.signin.session import session_of

ErrorHandler: TypeAlias = Callable[[Request, Exception], Awaitable[Response]]

PAGES = ("/console/", "/login", "/logout")
KEPT_HEADERS = ("retry-after", "allow")


def with_page(handler: ErrorHandler) -> ErrorHandler:
    """Answers as `handler` does; a browser gets it as a page. Programs, and parts of pages, get the JSON."""

    async def answer(request: Request, error: Exception) -> Response:
        response = await handler(request, error)
        if not _is_for_a_person(request, error):
            return response
        told = json.loads(bytes(response.body))["error"]
        page = render(request, "error.html", response.status_code, session=session_of(request), error=told)
        page.headers.update({name: response.headers[name] for name in KEPT_HEADERS if name in response.headers})
        return page

    return answer


def _is_for_a_person(request: Request, error: Exception) -> bool:
    if "text/html" not in request.headers.get("accept", "") or "hx-request" in request.headers:
        return False
    return isinstance(error, HTTPException) or route_path(request).startswith(PAGES)
