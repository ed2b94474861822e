"""Files that the kernel sends, over real sockets: exact bytes, in order with everything else on the connection."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest
from api_double import AUTH, KEY, WEIGHTS, SmallService

from exposr_api.transport.server import ApiServer

PATH = "/models/vit/v1/weights.pt"
LARGE = os.urandom(1 << 20) * 24  # more than the sockets of both sides hold


@pytest.fixture
def kept(server: ApiServer) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    yield connection
    connection.close()


def get(connection: http.client.HTTPConnection, path: str, **headers: str) -> tuple[int, bytes]:
    connection.request("GET", path, headers={**AUTH, **headers})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_files_and_other_answers_follow_each_other_on_one_connection(
    kept: http.client.HTTPConnection, service: SmallService
) -> None:
    service.models.publish()
    assert get(kept, PATH) == (200, WEIGHTS)
    first_socket = kept.sock
    assert get(kept, PATH, Range="bytes=100000-1000000") == (206, WEIGHTS[100_000:1_000_001])
    assert get(kept, PATH, Range="bytes=-7") == (206, b"the end")
    assert json.loads(get(kept, "/status")[1])["dataset_counts"]["total"] == 51
    assert get(kept, PATH) == (200, WEIGHTS)
    assert kept.sock is first_socket


def test_requests_sent_ahead_are_answered_in_turn(server: ApiServer, service: SmallService) -> None:
    service.models.publish(LARGE)
    one = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as peer:
        peer.sendall(f"{one}\r\n{one}Range: bytes=0-9\r\n\r\n{one}Connection: close\r\n\r\n".encode())
        received = bytearray()
        while chunk := peer.recv(1 << 20):
            received += chunk
    heads_removed = bytes(received).replace(b"\r\n\r\n", b"\r\n\r\n|").split(b"HTTP/1.1 20")
    assert [part.partition(b"\r\n\r\n|")[2] for part in heads_removed[1:]] == [LARGE, LARGE[:10], LARGE]


def test_eight_readers_at_once_get_the_same_bytes(server: ApiServer, service: SmallService) -> None:
    service.models.publish(LARGE)
    got: list[bool] = []

    def read() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        got.append(get(connection, PATH) == (200, LARGE))
        connection.close()

    readers = [threading.Thread(target=read) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert got == [True] * 8


def test_a_file_that_is_cut_while_it_is_sent_ends_the_connection(server: ApiServer, service: SmallService) -> None:
    service.models.publish(LARGE)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", PATH, headers=AUTH)
    answer = connection.getresponse()
    os.truncate(service.models.registry.models_path / "vit" / "v1" / "weights.pt", 1000)
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()
