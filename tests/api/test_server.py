"""The real server: limits, manners, start and stop, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from pathlib import Path

import pytest
from api_double import AUTH, KEY, SmallService, exchange, head_of, is_open
from starlette.applications import Starlette
from starlette.testclient import TestClient

from exposr_api.transport import connection, zero_copy
from exposr_api.transport.server import ApiServer
from utils.errors import OperatorError

AUTH_LINE = f"Authorization: Bearer {KEY}\r\n".encode()
CLOSE = b"Host: x\r\nConnection: close\r\n"


def error_code(body: bytes) -> str:
    return str(json.loads(body)["error"]["code"])


def test_ten_megabytes_of_header_get_an_answer_in_the_error_form(server: ApiServer) -> None:
    for header in (b"X: " + b"a" * 10_000_000, b"Authorization: Bearer " + b"k" * 10_000_000):
        status, headers, body = head_of(exchange(server, b"GET /status HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n"))
        assert (status, headers["content-type"], error_code(body)) == (431, "application/json", "header_too_large")
    many = b"".join(b"X-%d: %s\r\n" % (number, b"v" * 1000) for number in range(10_000))
    assert head_of(exchange(server, b"GET /status HTTP/1.1\r\n" + many + b"\r\n"))[0] == 431
    assert head_of(exchange(server, b"GET /" + b"a" * 10_000_000 + b" HTTP/1.1\r\n\r\n"))[0] == 431
    assert head_of(exchange(server, b"GET /status HTTP/1.1\r\n" + CLOSE + b"\r\n"))[0] == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,  # a TLS handshake
        b"GET /sta tus HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /stat\xc3\xbcs HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /status HTTP/1.1\r\n\r\n",  # no Host
        b"GET /status HTTP/1.1\r\nHost: x\r\nA\x00B: c\r\n\r\n",
        b"GET /status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \x00\r\n\r\n",
        b"POST /train HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /train HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    ],
)
def test_what_is_not_http_is_answered_in_the_error_form(server: ApiServer, request_bytes: bytes) -> None:
    status, headers, body = head_of(exchange(server, request_bytes))
    assert (status, headers["connection"], error_code(body)) == (400, "close", "bad_request")
    assert headers["x-content-type-options"] == "nosniff"


def test_a_broken_chunk_after_the_answer_does_not_hurt_the_server(server: ApiServer) -> None:
    request = b"POST /train HTTP/1.1\r\nHost: x\r\n" + AUTH_LINE + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n"
    exchange(server, request)
    assert head_of(exchange(server, b"GET /status HTTP/1.1\r\n" + CLOSE + b"\r\n"))[0] == 200


def test_a_body_too_large_is_answered_while_it_is_still_being_sent(server: ApiServer) -> None:
    size = 20_000_000
    request = b"POST /train HTTP/1.1\r\n" + CLOSE + AUTH_LINE + b"Content-Length: %d\r\n\r\n" % size + b"x" * size
    status, _, body = head_of(exchange(server, request))
    assert (status, error_code(body)) == (413, "too_large")


def test_a_body_without_end_is_cut_off(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_BYTES", 1 << 20)
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as peer:
        peer.sendall(b"POST /train HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + AUTH_LINE + b"\r\n")
        with pytest.raises(OSError):  # reset, or a broken pipe
            for _ in range(10_000):
                peer.sendall(chunk)


def test_too_many_connections_are_refused_politely(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 5)
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(5)]
    for peer in idle:  # an answer on each proves that the server has taken it
        peer.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        assert peer.recv(65536).startswith(b"HTTP/1.1 200")
    status, headers, body = head_of(exchange(server, b"GET /status HTTP/1.1\r\n" + CLOSE + b"\r\n"))
    assert (status, headers["retry-after"], error_code(body)) == (503, "5", "busy")
    for peer in idle:
        peer.close()
    deadline = time.monotonic() + 30
    while head_of(exchange(server, b"GET /status HTTP/1.1\r\n" + CLOSE + b"\r\n"))[0] != 200:
        assert time.monotonic() < deadline


def test_a_connection_that_never_finishes_its_request_is_closed(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    address = ("127.0.0.1", server.port)
    with socket.create_connection(address, timeout=30) as silent, socket.create_connection(address, timeout=30) as slow:
        slow.sendall(b"GET /status HTTP/1.1\r\nX-Slow: ")
        assert silent.recv(1) == b""
        assert slow.recv(1) == b""


def test_answers_do_not_say_what_serves_them(server: ApiServer) -> None:
    _, headers, _ = head_of(exchange(server, b"GET /status HTTP/1.1\r\n" + CLOSE + b"\r\n"))
    assert "server" not in headers
    assert "date" in headers


def test_requests_on_one_connection_are_answered_in_turn(server: ApiServer) -> None:
    requests = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + b"GET /nothing HTTP/1.1\r\n" + CLOSE + b"\r\n"
    answers = exchange(server, requests)
    assert answers.count(b"HTTP/1.1 200 OK") == 20
    assert answers.count(b"HTTP/1.1 404 Not Found") == 1


def test_a_busy_port_is_said_at_once_and_by_whom(server: ApiServer, app: Starlette) -> None:
    with pytest.raises(OperatorError, match=rf"port {server.port} .* is taken.*api\.port"):
        ApiServer(app, "127.0.0.1", server.port)


def test_a_port_is_ours_as_soon_as_the_server_exists(app: Starlette) -> None:
    first = ApiServer(app, "127.0.0.1", 0)
    with pytest.raises(OperatorError, match="is taken"):
        ApiServer(app, "127.0.0.1", first.port)
    assert first.stop()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7", "a" * 300])
def test_an_address_that_is_not_ours_is_named(app: Starlette, host: str) -> None:
    with pytest.raises(OperatorError, match=r"api\.host"):
        ApiServer(app, host, 0)


def test_start_and_stop_leave_the_port_free(app: Starlette) -> None:
    first = ApiServer(app, "127.0.0.1", 0)
    first.start()
    assert first.is_alive()
    assert first.stop()
    assert not first.is_alive()
    assert first.stop()
    second = ApiServer(app, "127.0.0.1", first.port)
    second.start()
    assert second.address == f"http://127.0.0.1:{first.port}"
    assert second.stop()


def test_the_heartbeat_moves_while_the_server_lives(server: ApiServer) -> None:
    before = server.heartbeat()
    deadline = time.monotonic() + 30
    while server.heartbeat() == before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_server_that_dies_says_so(app: Starlette) -> None:
    server = ApiServer(app, "127.0.0.1", 0)
    server._server.config.callback_notify = _die  # what uvicorn awaits in its own loop
    server.start()
    server._thread.join(30)
    assert not server.is_alive()
    assert "out of luck" in server.failure
    assert server.stop()


async def _die() -> None:
    raise SystemExit("out of luck")


def test_stop_ends_event_streams_and_does_not_wait_for_a_stuck_reader(app: Starlette, service: SmallService) -> None:
    service.models.publish(b"w" * 30_000_000)
    server = ApiServer(app, "127.0.0.1", 0)
    server.start()
    peers = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(2)]
    for peer, path in zip(peers, (b"/events", b"/models/vit/v1/weights.pt"), strict=True):
        peer.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + AUTH_LINE + b"\r\n")
        assert peer.recv(12) == b"HTTP/1.1 200"
    assert server.stop()  # the reader of the weights never reads: its connection is cut
    while peers[0].recv(65536):
        pass
    for peer in peers:
        peer.close()


def start_download(server: ApiServer) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    peer.sendall(b"GET /models/vit/v1/weights.pt HTTP/1.1\r\nHost: x\r\n" + AUTH_LINE + b"\r\n")
    assert peer.recv(12) == b"HTTP/1.1 200"
    return peer


def wait_until_closed(file: Path) -> None:
    """Until this process has the file open no more."""
    deadline = time.monotonic() + 30
    while is_open(file):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_reader_that_leaves_costs_nothing_more(server: ApiServer, service: SmallService) -> None:
    service.models.publish(b"w" * 30_000_000)
    start_download(server).close()
    wait_until_closed(service.models.registry.models_path / "vit" / "v1" / "weights.pt")


def test_a_reader_that_takes_nothing_is_cut_off(
    server: ApiServer, service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zero_copy, "STALL_SECONDS", 0.2)
    service.models.publish(b"w" * 30_000_000)
    peer = start_download(server)
    wait_until_closed(service.models.registry.models_path / "vit" / "v1" / "weights.pt")
    peer.close()


def test_garbage_behind_a_request_cannot_get_into_its_answer(server: ApiServer, service: SmallService) -> None:
    service.models.publish(b"w" * 30_000_000)  # far more than the sockets hold: under way when the garbage comes
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as peer:
        request = b"GET /models/vit/v1/weights.pt HTTP/1.1\r\nHost: x\r\n" + AUTH_LINE
        peer.sendall(request + b"Transfer-Encoding: chunked\r\n\r\n")
        received = bytearray(peer.recv(65536))
        peer.sendall(b"this is no chunk\r\n")
        with contextlib.suppress(ConnectionResetError):
            while chunk := peer.recv(65536):
                received += chunk
    assert received.count(b"HTTP/1.1") == 1
    assert b"error" not in received


def test_many_threads_ask_at_once(server: ApiServer) -> None:
    failures: list[bytes] = []

    def ask() -> None:
        for _ in range(20):
            answer = exchange(server, b"GET /metrics HTTP/1.1\r\n" + CLOSE + AUTH_LINE + b"\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                failures.append(answer)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_in_process_client_sees_the_same_app(client: TestClient) -> None:
    assert client.get("/metrics", headers=AUTH).status_code == 200
