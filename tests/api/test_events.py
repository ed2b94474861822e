"""Server-sent events, from the daemon's threads to a listener's socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from api_double import AUTH, KEY, SmallService
from starlette.testclient import TestClient

from exposr_api import endpoints
from exposr_api.events import EventHub
from exposr_api.streams import ServerSentEvents, encode_event
from exposr_api.transport.server import ApiServer


class Reader:
    """Reads an event stream line by line from a raw socket."""

    def __init__(self, server: ApiServer) -> None:
        self.peer = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        self.peer.sendall(f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        self.stream = self.peer.makefile("rb")
        self.status = int(self.stream.readline().split()[1])
        self.headers = {}
        while line := self.stream.readline().strip():
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value

    def event(self) -> tuple[str, dict[str, object]]:
        """The next event; comments, chunk sizes and blank lines are passed over."""
        name = ""
        while line := self.stream.readline():
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                return name, json.loads(line[6:])
        raise EOFError

    def close(self) -> None:
        self.stream.close()
        self.peer.close()


@pytest.fixture
def reader(server: ApiServer) -> Iterator[Reader]:
    reader = Reader(server)
    yield reader
    reader.close()


def wait_for_clients(service: SmallService, count: int) -> None:
    deadline = time.monotonic() + 30
    while service.hub.clients != count:
        assert time.monotonic() < deadline, service.hub.clients
        time.sleep(0.005)


def test_a_listener_first_sees_the_status_and_then_what_happens(reader: Reader, service: SmallService) -> None:
    assert (reader.status, reader.headers["content-type"]) == (200, "text/event-stream")
    assert reader.headers["cache-control"] == "no-store"
    name, data = reader.event()
    assert (name, data["uptime"]) == ("status", 3600.0)
    service.hub.publish("counts", {"total": 52, "text": "line\nbreak\r\u2028"})
    assert reader.event() == ("counts", {"total": 52, "text": "line\nbreak\r\u2028"})


def test_events_from_many_threads_arrive_complete_and_in_each_ones_order(reader: Reader, service: SmallService) -> None:
    reader.event()

    def publish(thread: int) -> None:
        for number in range(40):
            service.hub.publish("run", {"thread": thread, "number": number})

    threads = [threading.Thread(target=publish, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    seen: dict[int, list[int]] = {thread: [] for thread in range(4)}
    for _ in range(160):
        data = reader.event()[1]
        seen[int(str(data["thread"]))].append(int(str(data["number"])))
    assert all(numbers == list(range(40)) for numbers in seen.values())
    for thread in threads:
        thread.join()


def test_a_listener_that_leaves_is_forgotten(server: ApiServer, service: SmallService) -> None:
    readers = [Reader(server) for _ in range(3)]
    wait_for_clients(service, 3)
    for reader in readers:
        reader.close()
    wait_for_clients(service, 0)


def test_one_listener_too_many_is_told_to_come_back(server: ApiServer, service: SmallService) -> None:
    readers = [Reader(server) for _ in range(3)]
    wait_for_clients(service, 3)
    late = Reader(server)
    assert (late.status, late.headers["retry-after"]) == (503, "5")
    for reader in (*readers, late):
        reader.close()


def test_the_streams_end_when_the_hub_closes(server: ApiServer, reader: Reader, service: SmallService) -> None:
    reader.event()
    service.hub.close()
    with pytest.raises(EOFError):
        reader.event()
    late = Reader(server)
    assert late.status == 503
    late.close()


def test_a_silent_stream_carries_heartbeats(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def beat_fast(*arguments: object) -> ServerSentEvents:
        return ServerSentEvents(*arguments, heartbeat_seconds=0.02)  # type: ignore[arg-type]

    monkeypatch.setattr(endpoints, "ServerSentEvents", beat_fast)
    reader = Reader(server)
    beats = 0
    while beats < 3:
        beats += reader.stream.readline().startswith(b":")
    reader.close()


def test_a_fault_before_the_stream_begins_leaves_no_listener(client: TestClient, service: SmallService) -> None:
    service.fault = ValueError("status failed")
    assert client.get("/events", headers=AUTH).status_code == 500
    assert service.hub.clients == 0


def test_head_opens_no_stream(client: TestClient, service: SmallService) -> None:
    assert client.head("/events", headers=AUTH).headers["content-type"] == "text/event-stream"
    assert service.hub.clients == 0


def test_a_listener_that_does_not_keep_up_loses_the_oldest() -> None:
    async def scenario() -> list[int]:
        hub = EventHub(max_clients=1, queue_events=10)
        listener = hub.subscribe()
        for number in range(1000):
            hub.publish("run", {"number": number})
        seen = []
        async for _, data in listener:
            seen.append(data["number"])
            if len(seen) == 10:
                listener.close()
        return seen

    assert asyncio.run(scenario()) == list(range(990, 1000))


def test_publishing_after_the_loop_has_ended_does_no_harm() -> None:
    hub = EventHub()

    async def subscribe() -> None:
        hub.subscribe()

    asyncio.run(subscribe())
    hub.publish("counts", {})
    hub.close()


def test_a_waiting_listener_can_be_cancelled_without_losing_an_event() -> None:
    async def scenario() -> str:
        hub = EventHub()
        listener = hub.subscribe()
        waiting = asyncio.ensure_future(anext(aiter(listener)))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        hub.publish("model", {})
        return (await anext(aiter(listener)))[0]

    assert asyncio.run(scenario()) == "model"


def test_an_event_is_one_block_of_lines() -> None:
    assert encode_event("run", {"a": "b\n\nc"}) == b'event: run\ndata: {"a":"b\\n\\nc"}\n\n'
