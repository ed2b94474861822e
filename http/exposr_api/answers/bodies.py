"""Bodies of requests, within limits of size and time: read away, or handed on to who parses them."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from exposr_api.answers.errors import ApiError

MAX_BODY_BYTES = 64 * 1024  # of a form, and of a body that is ignored
MAX_DISCARDED_BYTES = 32 << 20  # of a body that is too large: who is still sending may never read an early answer
BODY_SECONDS = 20.0
UPLOAD_SECONDS = 120.0


async def read_away(request: Request) -> None:
    """Read an ignored body, so that the next request on the connection starts where it should."""
    declared = request.headers.get("content-length", "")
    expected = int(declared) if declared.isdecimal() else 0
    is_waiting = "expect" in request.headers  # asks first, and sends nothing when the answer is no
    if expected > MAX_DISCARDED_BYTES or (is_waiting and expected > MAX_BODY_BYTES):
        raise _too_large(MAX_BODY_BYTES)
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
        raise _too_large(MAX_BODY_BYTES)


def within_limits(request: Request, max_bytes: int = MAX_BODY_BYTES, seconds: float = BODY_SECONDS) -> Request:
    """The same request; reading its body raises ApiError once it is larger, or takes longer."""
    return Request(request.scope, _BoundedReceive(request.receive, max_bytes, seconds))


class _BoundedReceive:
    def __init__(self, receive: Receive, max_bytes: int, seconds: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._received = 0
        self._deadline: float | None = asyncio.get_running_loop().time() + seconds

    async def __call__(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise ApiError("request_timeout", "the request's body took too long") from None
        if message["type"] == "http.disconnect":
            if self._deadline is not None:
                raise ApiError("bad_request", "the request's body was cut off")
            return message
        self._received += len(message.get("body", b""))
        if self._received > self._max_bytes:
            raise _too_large(self._max_bytes)
        if not message.get("more_body", False):
            self._deadline = None  # from here on only the end of the connection is waited for
        return message


def _too_large(limit: int) -> ApiError:
    return ApiError("too_large", f"the request's body is too large; more than {limit} bytes are refused")
