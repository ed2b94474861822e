"""Every answer the API gives is made here, so that each carries the same few safe headers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive

from exposr_api.answers.conditional import matches_any

JSON = "application/json"
SAFE_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
PRIVATE = {"cache-control": "no-store"}
REVALIDATE = {"cache-control": "private, no-cache"}


def encode_json(value: Any) -> bytes:
    """Compact UTF-8. A lone surrogate, which occurs in names from outside, becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def plain_response(
    body: bytes, media_type: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(body, status, {"content-type": media_type, **SAFE_HEADERS, **PRIVATE, **(headers or {})})


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return plain_response(encode_json(value), JSON, status, headers)


def revalidated_response(request: Request, body: bytes, media_type: str = JSON) -> Response:
    """A body that may change at any time: 304 when the caller has these very bytes already."""
    etag = f'"{hashlib.sha256(body).hexdigest()}"'
    headers = {**REVALIDATE, "etag": etag}
    if matches_any(header_list(request, "if-none-match"), etag):
        return not_modified(headers)
    return plain_response(body, media_type, headers=headers)


def header_list(request: Request, name: str) -> str | None:
    """A header whose value is a list, which may be spread over several lines; None without it."""
    return ", ".join(request.headers.getlist(name)) if name in request.headers else None


def not_modified(headers: Mapping[str, str]) -> Response:
    return Response(status_code=304, headers={**SAFE_HEADERS, **headers})


async def wait_for_disconnect(receive: Receive) -> None:
    """Returns when the client has gone; the server drops silently what is sent to it afterwards."""
    while (await receive())["type"] != "http.disconnect":
        pass
