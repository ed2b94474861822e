"""What happens, told to open pages: names of events only, since a page asks for what it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from exposr_api.console.visit import Visit, page
from exposr_api.protocols import EventStream, Json
from exposr_api.streams import ServerSentEvents

TOLD = ("counts", "run", "model")


class _Names:
    """The same stream without the data."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[tuple[str, Json]]:
        async for name, _ in self._stream:
            if name in TOLD:
                yield name, {}

    def close(self) -> None:
        self._stream.close()


@page
async def events(request: Request, visit: Visit) -> Response:
    open_streams: set[Any] = request.app.state.open_streams
    return ServerSentEvents(_Names(visit.service.subscribe()), ("hello", {}), open_streams)
