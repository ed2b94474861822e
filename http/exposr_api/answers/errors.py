"""Errors as the API tells them: `{"error": {"code": "...", "message": "..."}}`, where the message says what to do.

Every code is listed in ERROR_CODES (and, held by a test, in docs/api.md and openapi.json). What went wrong inside goes
to the log, never into an answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.responses import json_response
from utils.errors import ExposrError, RetryLaterError

ERROR_CODES = {
    "bad_request": (400, "A query value or the request itself is not understood."),
    "unauthorized": (401, "No key, or not one of the service's."),
    "forbidden": (403, "A form without its token, or one that another site sent."),
    "not_found": (404, "No such path, version, file or run."),
    "nothing_published": (404, "No version has been published yet."),
    "method_not_allowed": (405, "The path exists, the method does not; `Allow` lists what does."),
    "request_timeout": (408, "The request's body did not arrive in time."),
    "precondition_failed": (412, "`If-Match` names other bytes than the file has."),
    "too_large": (413, "The request's body is larger than anything the API reads."),
    "range_not_satisfiable": (416, "The range lies outside the file; `Content-Range` has its size."),
    "not_a_picture": (422, "The file is no picture that the service takes; the message says why."),
    "too_many_reports": (429, "As many reports as an hour allows; `Retry-After` says when to send the next."),
    "header_too_large": (431, "The request's headers are too large."),
    "internal_error": (500, "A fault in the service; its log has the details."),
    "version_damaged": (500, "A published file is missing or is not what was published."),
    "busy": (503, "Too many connections or listeners, or something is in use; `Retry-After` says when to ask again."),
}
RETRY_SECONDS = 5


class ApiError(Exception):
    """Ends the request with this answer."""

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.headers = headers


def error_response(
    code: str, message: str, headers: Mapping[str, str] | None = None, status: int | None = None
) -> Response:
    return json_response({"error": {"code": code, "message": message}}, status or ERROR_CODES[code][0], headers)


async def on_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error.code, error.message, error.headers)


async def on_http_error(request: Request, error: Exception) -> Response:
    """What the router itself refuses: 404 and 405."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = ", ".join(sorted(name.strip() for name in headers.get("Allow", "").split(",") if name.strip()))
        message = f"{request.method[:20]} is not possible here; use {allowed}"
        return error_response("method_not_allowed", message, {"allow": allowed})
    if error.status_code == 404:
        return error_response("not_found", "there is no such address; GET /openapi.json lists all")
    return error_response("bad_request", str(error.detail), headers, error.status_code)


async def on_service_error(request: Request, error: Exception) -> Response:
    """An error the service raised on purpose: its message is written for people."""
    assert isinstance(error, ExposrError)
    if isinstance(error, RetryLaterError):
        return error_response("busy", str(error), {"retry-after": str(RETRY_SECONDS)})
    return error_response("internal_error", str(error))


async def on_fault(request: Request, error: Exception) -> Response:
    """A bug, or a disk that fails: the server logs it, the caller learns only that it happened."""
    return error_response("internal_error", "something failed inside the service; its log says what. Try again later")
