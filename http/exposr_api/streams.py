"""`GET /events`: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Why not sse-starlette: it starts tasks of its own and keeps global state for shutting down, while the daemon ends every
stream itself when it stops; what is left to write is the format, a few lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from exposr_api.answers.responses import PRIVATE, SAFE_HEADERS, encode_json, wait_for_disconnect
from exposr_api.protocols import EventStream, Json
from utils.logs import get_logger

log = get_logger(__name__)

HEARTBEAT_SECONDS = 15.0  # proxies close a silent connection after 30 to 60 s
SEND_TIMEOUT_SECONDS = 30.0
RECONNECT_MILLISECONDS = 3000
EVENT_STREAM = "text/event-stream"


class ServerSentEvents(Response):
    """Sends `first`, then all that `stream` yields, until either side ends. Closes the stream."""

    def __init__(
        self,
        stream: EventStream,
        first: tuple[str, Json],
        open_streams: set[EventStream],
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self.stream = stream
        self.first = first
        self.open_streams = open_streams
        self.heartbeat_seconds = heartbeat_seconds
        self.status_code = 200
        self.background = None
        # x-accel-buffering keeps proxies from collecting the stream before they pass it on
        own = {"content-type": EVENT_STREAM, "connection": "close", "x-accel-buffering": "no"}
        self.init_headers({**SAFE_HEADERS, **PRIVATE, **own})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.open_streams.add(self.stream)
        watch = asyncio.create_task(self._close_on_disconnect(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._send(send, f"retry: {RECONNECT_MILLISECONDS}\n\n".encode() + encode_event(*self.first))
            async for chunk in self._chunks():
                await self._send(send, chunk)
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            log.info("listener_stalled")
        finally:
            watch.cancel()
            self.stream.close()
            self.open_streams.discard(self.stream)

    async def _chunks(self) -> AsyncIterator[bytes]:
        events = aiter(self.stream)
        upcoming = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({upcoming}, timeout=self.heartbeat_seconds)
                if not done:
                    yield b": still here\n\n"
                    continue
                try:
                    name, data = upcoming.result()
                except StopAsyncIteration:
                    return
                yield encode_event(name, data)
                upcoming = asyncio.ensure_future(anext(events))
        finally:
            upcoming.cancel()

    async def _send(self, send: Send, chunk: bytes) -> None:
        async with asyncio.timeout(SEND_TIMEOUT_SECONDS):  # a listener that stopped reading
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _close_on_disconnect(self, receive: Receive) -> None:
        await wait_for_disconnect(receive)
        self.stream.close()


def encode_event(name: str, data: Json) -> bytes:
    """One event; JSON has no line breaks outside of strings and escapes those inside."""
    return b"event: " + name.encode() + b"\ndata: " + encode_json(data) + b"\n"
