"""One HTTP/1.1 connection: uvicorn's h11 protocol, with the limits and the manners it leaves to others.

- A request that cannot be parsed is answered in the API's error form, 431 when its head is too large, and what the
  client is still sending is read away for a moment: closing at once would reset the connection under the answer.
- A connection that sends no complete request for HEAD_SECONDS is closed, and there is a limit to their number: a
  daemon that runs out of file descriptors has worse troubles than a refused client.
"""

from __future__ import annotations

import asyncio
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from exposr_api.answers.errors import ERROR_CODES, RETRY_SECONDS
from exposr_api.answers.responses import JSON, SAFE_HEADERS, encode_json

MAX_CONNECTIONS = 400
HEAD_BYTES = 64 * 1024  # request line and headers
HEAD_SECONDS = 30.0
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 << 20


class ApiConnection(H11Protocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.refused = False
        self.ignored_bytes = 0
        self.requests_seen: object = None
        self.head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse("busy", "too many connections; close some, or ask again in a moment")
            return
        self.head_timer = self.loop.call_later(HEAD_SECONDS, self._check_progress)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # what follows a refusal, or the body of a request that has been answered, is read and dropped, up to a limit
        if self.refused or (self.cycle is not None and self.cycle.response_complete and self.cycle.more_body):
            self.ignored_bytes += len(data)
            if self.ignored_bytes > LINGER_BYTES:
                self.transport.abort()
                return
        if not self.refused:
            super().data_received(data)

    def shutdown(self) -> None:
        if self.refused:
            self.transport.abort()
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn while it handles the parser's error, which says whether the head was too large."""
        error = sys.exception()
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            self._refuse("header_too_large", f"the request line and its headers may have {HEAD_BYTES} bytes together")
        else:
            self._refuse("bad_request", "this is not a valid HTTP/1.1 request")

    def _refuse(self, code: str, message: str) -> None:
        self.refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            # what is wrong is the body of a request that is being answered: that answer ends here
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.abort()
                return
        status = HTTPStatus(ERROR_CODES[code][0])
        body = encode_json({"error": {"code": code, "message": message}})
        headers = {"content-type": JSON, "content-length": str(len(body)), "connection": "close", **SAFE_HEADERS}
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["retry-after"] = str(RETRY_SECONDS)
        head = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
        self.transport.write("\r\n".join([*head, "", ""]).encode("ascii") + body)
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _check_progress(self) -> None:
        """Close when since the last look no request has arrived and none is being answered."""
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.requests_seen is self.cycle:
            self.transport.close()
            return
        self.requests_seen = self.cycle
        self.head_timer = self.loop.call_later(HEAD_SECONDS, self._check_progress)
