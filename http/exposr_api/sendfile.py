"""Sending a file from the page cache to the socket without a copy in this process.

The server's protocol (`connection.py`) puts a `SendFile` under `SENDFILE` into the ASGI scope's extensions. An app
calls it between `http.response.start` (with a content-length) and the last, empty `http.response.body`.
"""

from __future__ import annotations

import asyncio
import os
from typing import Protocol

import h11

SENDFILE = "exposr.sendfile"
SLICE_BYTES = 8 << 20  # what one turn hands to the kernel, and what is read ahead of it
SLICE_TIMEOUT_SECONDS = 300.0  # a reader slower than 28 kB/s is not worth the connection it holds


class SendFile(Protocol):
    async def __call__(self, descriptor: int, start: int, length: int) -> None:
        """Send `length` bytes of the open file from `start` on."""


class Passthrough(bytes):
    """Stands for `length` bytes of body in h11's accounting; the bytes themselves take the other way."""

    _length: int

    def __new__(cls, length: int) -> Passthrough:
        passthrough = super().__new__(cls)
        passthrough._length = length
        return passthrough

    def __len__(self) -> int:
        return self._length


async def send_file(
    connection: h11.Connection, transport: asyncio.Transport, descriptor: int, start: int, length: int
) -> None:
    """Raises ConnectionError when the reader has gone. Any failure, and a cancelled task, ends the connection."""
    loop = asyncio.get_running_loop()
    try:
        connection.send_with_data_passthrough(h11.Data(data=Passthrough(length)))
        # a duplicate: asyncio wants a file object, and closing that must not close the caller's descriptor
        with os.fdopen(os.dup(descriptor), "rb", buffering=0) as file:
            for position in range(start, start + length, SLICE_BYTES):
                count = min(SLICE_BYTES, start + length - position)
                # the kernel reads ahead on its own, so that sendfile does not hold up the event loop on a cold cache
                os.posix_fadvise(file.fileno(), position, 2 * SLICE_BYTES, os.POSIX_FADV_WILLNEED)
                async with asyncio.timeout(SLICE_TIMEOUT_SECONDS):
                    sent = await loop.sendfile(transport, file, position, count, fallback=False)
                if sent != count:
                    raise ConnectionError(f"sent {sent} of {count} bytes")
    except BaseException:
        transport.abort()
        raise
