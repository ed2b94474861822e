"""Files that the kernel sends: no byte passes through Python, so a download costs next to no processor time here.

ASGI calls it zero-copy send. uvicorn has no such thing, so `connection.py` offers it with the sender below:

    await send({"type": ZERO_COPY, "file": file, "offset": 0, "count": 1000, "more_body": False})
"""

from __future__ import annotations

import asyncio
import os
import socket
from types import TracebackType
from typing import Self

from starlette.concurrency import run_in_threadpool

ZERO_COPY = "http.response.zerocopysend"  # https://asgi.readthedocs.io/en/stable/extensions.html#zero-copy-send
TURN_BYTES = 8 << 20  # in one call at most, so that a stop has little to wait for
STALL_SECONDS = 60.0


class FileSender:
    """Sends files over a connected, non-blocking socket that a transport of asyncio keeps reading from."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected.dup()  # the event loop watches a descriptor for one owner only
        self._writable: asyncio.Future[None] | None = None
        self._gone = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    async def send(self, file: int, offset: int, count: int) -> None:
        """`count` bytes of the open `file` from `offset` on.

        Raises ConnectionError when the peer has gone, TimeoutError when it takes nothing for STALL_SECONDS, and
        OSError when the file cannot be read or ends too early.
        """
        while count:
            async with asyncio.timeout(STALL_SECONDS):
                await self._wait_until_writable()
            if self._gone:
                raise ConnectionAbortedError
            # in a thread: what is not in the page cache is read from the disk first, and nobody else should wait for it
            sent = await run_in_threadpool(self._send_some, file, offset, min(count, TURN_BYTES))
            offset += sent
            count -= sent

    def abandon(self) -> None:
        """The connection is gone: `send` ends now."""
        self._gone = True
        self._wake()

    async def _wait_until_writable(self) -> None:
        if self._gone:
            return
        loop = asyncio.get_running_loop()
        self._writable = loop.create_future()
        loop.add_writer(self._socket, self._wake)
        try:
            await self._writable
        finally:
            loop.remove_writer(self._socket)

    def _wake(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _send_some(self, file: int, offset: int, count: int) -> int:
        try:
            sent = os.sendfile(self._socket.fileno(), file, offset, count)
        except BlockingIOError:
            return 0
        if not sent:
            raise OSError(f"a published file lost its last {count} bytes while it was sent")
        return sent
