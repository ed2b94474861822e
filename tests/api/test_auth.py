"""Keys: what lets a caller in, and the many things that do not."""

from __future__ import annotations

import pytest
from api_double import AUTH, KEY, SmallService, exchange, head_of
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.endpoints import ENDPOINTS
from exposr_api.transport.server import ApiServer
from fake_clock import FakeClock

PROTECTED = [endpoint for endpoint in ENDPOINTS if endpoint.access == "key"]
OPEN = {"/status", "/health", "/openapi.json"}
WRONG_HEADERS: list[dict[str, str | bytes]] = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer "},
    {"Authorization": "Bearer wrong"},
    {"Authorization": f"Bearer {KEY[:-1]}"},
    {"Authorization": f"Bearer {KEY}x"},
    {"Authorization": f"Bearer {KEY.upper()}"},
    {"Authorization": f"Bearer {KEY} {KEY}"},
    {"Authorization": f"Bearer,{KEY}"},
    {"Authorization": KEY},
    {"Authorization": f"Basic {KEY}"},
    {"Authorization": f"Token {KEY}"},
    {"Authorization": f'Bearer "{KEY}"'},
    {"Authorization": b"Bearer \xff\xfe\x80"},
    {"Authorization": b"\xc3\x28"},
    {"X-API-Key": KEY},
    {"Cookie": f"key={KEY}"},
    {"Proxy-Authorization": f"Bearer {KEY}"},
]


def test_only_what_the_design_leaves_open_is_open() -> None:
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.access == "open"} <= OPEN | {"/", "/login"}


@pytest.mark.parametrize("endpoint", PROTECTED, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_protected_endpoint_refuses_everything_but_the_key(client: TestClient, endpoint: object) -> None:
    assert endpoint in PROTECTED
    path = endpoint.path.format(id="r1", name="vit", version="v1", file="weights.pt")  # type: ignore[attr-defined]
    method = endpoint.method  # type: ignore[attr-defined]
    for headers in WRONG_HEADERS:
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 401, headers
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.json()["error"]["code"] == "unauthorized"
        assert KEY not in answer.text
    for query in (f"?key={KEY}", f"?api_key={KEY}", f"?access_token={KEY}"):
        assert client.request(method, path + query).status_code == 401


def test_the_key_lets_in_however_the_scheme_is_written(client: TestClient) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert client.get("/metrics", headers={"Authorization": f"{scheme} {KEY}"}).status_code == 200


def test_two_authorization_headers_are_none(server: ApiServer) -> None:
    line = f"Authorization: Bearer {KEY}\r\n".encode()
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + line
    assert head_of(exchange(server, request + b"\r\n"))[0] == 200
    assert head_of(exchange(server, request + line + b"\r\n"))[0] == 401


def test_without_any_key_nobody_is_let_in(service: SmallService) -> None:
    for keys in (Keys([]), Keys([""]), Keys(["  "])):
        with TestClient(create_app(service, keys)) as client:
            for headers in (*WRONG_HEADERS, AUTH):
                assert client.get("/metrics", headers=headers).status_code == 401


def test_each_of_several_keys_works(service: SmallService) -> None:
    with TestClient(create_app(service, Keys(["first", "second", "third"]))) as client:
        for key in ("first", "second", "third"):
            assert client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        assert client.get("/metrics", headers={"Authorization": "Bearer fourth"}).status_code == 401


@settings(deadline=None)
@given(key=st.text(min_size=1).filter(str.strip), token=st.binary())
def test_a_token_is_accepted_exactly_when_it_is_the_key(key: str, token: bytes) -> None:
    keys = Keys([key.encode("utf-8", "replace")])
    assert keys.accepts(key.encode("utf-8", "replace"))
    assert keys.accepts(token) == (token == key.encode("utf-8", "replace"))


def test_keys_never_show_themselves() -> None:
    assert KEY not in repr(Keys([KEY])) + str(vars(type(Keys([KEY]))))


def test_refused_keys_are_told_once_a_minute_with_their_number_and_never_shown(
    service: SmallService, fake_clock: FakeClock
) -> None:
    app = create_app(service, Keys([KEY]), fake_clock)
    with capture_logs() as logged, TestClient(app) as client:
        for _ in range(5):
            client.get("/metrics", headers={"Authorization": "Bearer wrong-key"})
        client.get("/metrics")  # no key at all is no news
        fake_clock.pass_time(61)
        client.get("/runs", headers={"Authorization": "Bearer wrong-key"})
    told = [line for line in logged if line["event"] == "api_key_refused"]
    assert [(line["times"], line["path"]) for line in told] == [(1, "/metrics"), (5, "/runs")]
    assert "wrong-key" not in str(logged)
