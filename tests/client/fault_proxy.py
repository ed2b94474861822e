"""A TCP proxy on loopback that damages what it forwards: cuts, delays, truncates, flips bits. For tests.

Each connection draws its faults from a seeded generator; `healthy_share` of them are left alone, so that work goes on.
Only the direction from the server to the client is damaged.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Self

CHUNK_BYTES = 16 * 1024
SETTLE_SECONDS = 0.02  # for asyncio to close what was aborted


@dataclass(frozen=True)
class Fault:
    """What happens after `after_bytes` were forwarded: reset, close (as if that were the end), flip or delay."""

    kind: str
    after_bytes: int


class FaultProxy:
    def __init__(
        self,
        target_port: int,
        *,
        seed: int = 0,
        healthy_share: float = 0.3,
        span_bytes: int = 200_000,
        delay: float = 0.05,
    ) -> None:
        self.target_port = target_port  # may be changed while it runs: the trainer came back elsewhere
        self.faults: Counter[str] = Counter()
        self.port = 0
        self._random = random.Random(seed)
        self._healthy_share = healthy_share
        self._span_bytes = span_bytes
        self._delay = delay
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._connection(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)
            task.add_done_callback(lambda _: writer.close())  # a task that is cancelled before it begins closes nothing

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.sleep(SETTLE_SECONDS)

    def _draw(self) -> Fault:
        if self._random.random() < self._healthy_share:
            return Fault("none", 0)
        # half of the faults hit the head of an answer or a small one
        span = self._span_bytes if self._random.random() < 0.5 else 2_000
        return Fault(self._random.choice(["reset", "close", "flip", "delay"]), self._random.randrange(span))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            try:
                server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            except OSError:
                return
            upstream = asyncio.create_task(self._forward(reader, server_writer))
            try:
                await self._damage(server_reader, writer, self._draw())
            finally:
                upstream.cancel()
                server_writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
            writer.write_eof()

    async def _damage(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        forwarded = 0
        pending = fault.kind != "none"
        while data := bytearray(await reader.read(CHUNK_BYTES)):
            if pending and forwarded + len(data) > fault.after_bytes:
                pending = False
                self.faults[fault.kind] += 1
                where = fault.after_bytes - forwarded
                if fault.kind == "flip":
                    data[where] ^= 1 << self._random.randrange(8)
                elif fault.kind == "delay":
                    await asyncio.sleep(self._delay)
                else:
                    writer.write(data[:where])
                    await writer.drain()
                    if fault.kind == "reset":
                        writer.transport.abort()
                    return
            forwarded += len(data)
            writer.write(data)
            await writer.drain()
