"""One HTTP/1.1 connection: uvicorn's h11 protocol, with the limits and the manners it leaves to others.

- A request that cannot be parsed is answered in the API's error form, 431 when its head is too large, and what the
  client is still sending is read away for a moment: closing at once would reset the connection under the answer.
- A connection that sends no complete request for HEAD_SECONDS is closed, and there is a limit to their number: a
  daemon that runs out of file descriptors has worse troubles than a refused client.
- An app may have the kernel send a file (`zero_copy.py`).
"""

from __future__ import annotations

import asyncio
import functools
import io
import sys
from http import HTTPStatus
from typing import Any

import h11
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from exposr_api.answers.errors import ERROR_CODES, RETRY_SECONDS
from exposr_api.answers.responses import JSON, SAFE_HEADERS, encode_json
from exposr_api.transport.zero_copy import ZERO_COPY, FileSender
from utils.logs import get_logger

MAX_CONNECTIONS = 400
MAX_REFUSED = 50  # beside these: refused ones that are kept open for a moment, so that their client reads why
HEAD_BYTES = 64 * 1024  # request line and headers
HEAD_SECONDS = 30.0
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 << 20

log = get_logger(__name__)


class _Unseen:
    """Stands in for bytes that h11 has to count and does not look at."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length


class ApiConnection(H11Protocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.refused = False
        self.ignored_bytes = 0
        self.requests_seen: object = None
        self.head_timer: asyncio.TimerHandle | None = None
        self.file_sender: FileSender | None = None
        self.app = functools.partial(self._run, self.app)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._refuse("busy", "too many connections; close some, or ask again in a moment")
            return
        self.head_timer = self.loop.call_later(HEAD_SECONDS, self._check_progress)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.head_timer is not None:
            self.head_timer.cancel()
        if self.file_sender is not None:
            self.file_sender.abandon()
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

    async def _run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = self.cycle

        async def send_or_copy(message: Message) -> None:
            if message["type"] != ZERO_COPY:
                await send(message)
            else:
                await self._send_file(cycle, message["file"], message["offset"], message["count"])
                if not message.get("more_body", False):
                    await send({"type": "http.response.body", "body": b""})

        scope["extensions"] = {ZERO_COPY: {}}
        await app(scope, receive, send_or_copy)

    async def _send_file(self, cycle: RequestResponseCycle, file: io.FileIO, offset: int, count: int) -> None:
        """As part of an answer that has told its length."""
        self.transport.set_write_buffer_limits(0)
        await self.flow.drain()  # what was written before goes first
        self.transport.set_write_buffer_limits()
        if cycle.disconnected:
            return
        self.conn.send_with_data_passthrough(h11.Data(data=_Unseen(count)))  # type: ignore[arg-type]
        try:
            with FileSender(self.transport.get_extra_info("socket")) as self.file_sender:
                await self.file_sender.send(file.fileno(), offset, count)
        except (ConnectionError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                log.info("download_stalled", client=self.client[0] if self.client else "")
            cycle.disconnected = True
            self.transport.abort()
        finally:
            self.file_sender = None

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
        if len(self.connections) > MAX_CONNECTIONS + MAX_REFUSED:
            self.transport.close()
            return
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
