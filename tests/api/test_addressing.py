"""Where a request was sent to: prefixes, proxies, absolute targets, and the request that could be two."""

from __future__ import annotations

import socket

import pytest
from api_double import AUTH, KEY, SmallService, exchange, head_of
from starlette.testclient import TestClient

from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.transport.server import ApiServer

CLOSE = b"Host: x\r\nConnection: close\r\n\r\n"


def client_of(service: SmallService, address: str = "127.0.0.1", **settings: object) -> TestClient:
    app = create_app(service, Keys([KEY]), **settings)  # type: ignore[arg-type]
    return TestClient(app, follow_redirects=False, client=(address, 50000))


@pytest.mark.parametrize("path", ["/status", "/trainer/status"])
def test_a_prefix_may_be_taken_off_by_the_proxy_or_not(service: SmallService, path: str) -> None:
    client = client_of(service, root_path="/trainer")
    assert client.get(path).status_code == 200
    assert client.get(path.replace("status", "runs"), headers=AUTH).status_code == 200


def test_without_a_setting_every_address_of_a_page_is_relative(service: SmallService) -> None:
    """A proxy that takes the prefix off and says nothing: a browser at /trainer/login must stay below /trainer/."""
    client = client_of(service)
    page = client.get("/login").text
    assert 'action="./login"' in page
    assert not [part for part in ('="/', "='/", "url(/") if part in page]
    assert client.get("/openapi.json").json()["servers"] == [{"url": "."}]


@pytest.mark.parametrize(("address", "status"), [("10.1.1.1", 200), ("192.0.2.1", 404)])
def test_only_a_trusted_proxy_names_the_prefix(service: SmallService, address: str, status: int) -> None:
    client = client_of(service, address, trusted_proxies=["10.0.0.0/8"])
    answer = client.get("/trainer/status", headers={"x-forwarded-prefix": "/trainer"})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "prefix", ["//evil.example", "/a/../b", "/a b", "a", "/\x7f", "/" + "a" * 500, "/a\\b", "/%2e"]
)
def test_a_prefix_that_is_none_is_ignored(service: SmallService, prefix: str) -> None:
    client = client_of(service, "10.1.1.1", trusted_proxies=["10.1.1.1"])
    answer = client.get("/status", headers={"x-forwarded-prefix": prefix})
    assert answer.status_code == 200


@pytest.mark.parametrize("target", [b"http://trainer.example/status", b"HTTP://x:8001/status", b"https://x/status?y=1"])
def test_an_absolute_target_is_the_path_in_it(server: ApiServer, target: bytes) -> None:
    assert head_of(exchange(server, b"GET " + target + b" HTTP/1.1\r\n" + CLOSE))[0] == 200


def test_an_absolute_target_without_a_path_is_the_root(server: ApiServer) -> None:
    status, _, _ = head_of(exchange(server, b"GET http://trainer.example HTTP/1.1\r\n" + CLOSE))
    assert status in (200, 303)
    assert head_of(exchange(server, b"GET http://trainer.example/runs HTTP/1.1\r\n" + CLOSE))[0] == 401


def test_a_request_with_length_and_chunks_is_the_last_one_of_its_connection(server: ApiServer) -> None:
    request = (
        b"POST /train HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    smuggled = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request + smuggled)
        received = bytearray()
        while chunk := connection.recv(65536):  # ends: the server closes
            received += chunk
    status, headers, _ = head_of(bytes(received))
    assert (status, headers["connection"]) == (202, "close")
    assert received.count(b"HTTP/1.1") == 1
