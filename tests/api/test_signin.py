"""Signing in: one form, one cookie, and everything that must not work with either."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from api_double import AUTH, KEY, SmallService
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from exposr_api.answers.responses import json_response
from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.endpoints import ENDPOINTS, Endpoint
from exposr_api.links import link
from exposr_api.protocols import Service
from exposr_api.signin.session import COOKIE, Sessions, session_of
from exposr_api.signin.signed_out import SignedOut
from exposr_api.signin.tries import MAX_TRIES, WINDOW_SECONDS
from fake_clock import FakeClock

OTHER_KEY = "another_api_key"
SECRET = b"a secret of this test, long enough"
Make = Callable[..., TestClient]


async def get_page(request: Request, service: Service) -> Response:
    session = session_of(request)
    assert session is not None
    return json_response({"token": session.csrf_token, "to_root": link(request, "")})


async def post_change(request: Request, service: Service) -> Response:
    form = await request.form()
    return json_response({"value": str(form.get("value", ""))})


PAGES = (
    Endpoint("GET", "/page", get_page, access="session"),
    Endpoint("GET", "/deep/page", get_page, access="session"),
    Endpoint("POST", "/page", post_change, access="session", body="form"),
)


@pytest.fixture
def keys() -> Keys:
    return Keys([KEY, OTHER_KEY], SECRET)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sessions.json"


@pytest.fixture
def make(service: SmallService, keys: Keys, fake_clock: FakeClock, file: Path) -> Iterator[Make]:
    """Browsers of one service."""
    app = create_app(
        service,
        keys,
        fake_clock,
        sessions=Sessions(keys, SECRET, fake_clock, hours=24, signed_out=SignedOut(file)),
        trusted_proxies=["10.0.0.0/8"],
        endpoints=(*PAGES, *ENDPOINTS),
    )
    yield lambda address="192.0.2.1": _client(app, address)


def _client(app: Starlette, address: str) -> TestClient:
    return TestClient(app, follow_redirects=False, client=(address, 50000))


def form_token(client: TestClient) -> str:
    found = re.search(r'name="csrf_token" value="(\w+)"', client.get("/login").text)
    assert found is not None
    return found[1]


def sign_in(client: TestClient, key: str = KEY, **fields: str) -> Response:
    answer: Response = client.post("/login", data={"csrf_token": form_token(client), "key": key, **fields})  # type: ignore[assignment]
    return answer


def token_of(client: TestClient) -> str:
    token: str = client.get("/page").json()["token"]
    return token


def test_a_page_sends_to_the_form_and_the_form_back_to_the_page(make: Make) -> None:
    client = make()
    refused = client.get("/deep/page?label=real&x=1")
    assert (refused.status_code, refused.headers["location"]) == (
        303,
        "../login?next=deep%2Fpage%3Flabel%3Dreal%26x%3D1",
    )
    page = client.get("/login", params={"next": "deep/page?label=real&x=1"}).text
    assert 'value="deep/page?label=real&amp;x=1"' in page
    answer = sign_in(client, next="deep/page?label=real&x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "./deep/page?label=real&x=1")
    assert client.get("/deep/page").json()["to_root"] == "../"
    assert client.get("/login").headers["location"] == "./"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(make: Make) -> None:
    cookie = sign_in(make()).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie  # the service itself speaks plain HTTP
    assert "path" not in cookie  # a browser takes the folder of /login, whatever prefix a proxy puts before it
    assert KEY not in cookie


@pytest.mark.parametrize(("proxy", "is_secure"), [("10.1.2.3", True), ("192.0.2.1", False)])
def test_only_a_trusted_proxy_may_say_that_the_browser_uses_tls(make: Make, proxy: str, is_secure: bool) -> None:
    client = make(proxy)
    client.headers["x-forwarded-proto"] = "https"
    answer = client.get("/login")
    assert ("secure" in answer.headers["set-cookie"].lower()) is is_secure


@pytest.mark.parametrize("key", ["", " ", "wrong", KEY[:-1], KEY + "x", KEY.upper(), f"{KEY} {KEY}", "ключ", "\x00"])
def test_a_wrong_key_is_refused_in_the_form(make: Make, key: str) -> None:
    client = make()
    answer = sign_in(client, key)
    assert answer.status_code == 403
    assert "not a key" in answer.text  # type: ignore[attr-defined]
    assert client.get("/page").status_code == 303


def test_tries_are_limited_by_address_and_for_a_time(make: Make, fake_clock: FakeClock) -> None:
    client = make("192.0.2.7")
    for _ in range(MAX_TRIES):
        assert sign_in(client, "wrong").status_code == 403
    refused = sign_in(client, KEY)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= WINDOW_SECONDS
    assert sign_in(make("192.0.2.8")).status_code == 303
    fake_clock.pass_time(WINDOW_SECONDS + 1)
    assert sign_in(client).status_code == 303


def test_who_has_a_network_of_addresses_has_no_more_tries(make: Make) -> None:
    for number in range(MAX_TRIES):
        assert sign_in(make(f"2001:db8::{number}"), "wrong").status_code == 403
    assert sign_in(make("2001:db8::ffff")).status_code == 429
    assert sign_in(make("2001:db8:0:1::1")).status_code == 303


def test_an_untrusted_address_cannot_borrow_another_one(make: Make) -> None:
    for number in range(MAX_TRIES):
        client = make("192.0.2.9")
        client.headers["x-forwarded-for"] = f"198.51.100.{number}"
        assert sign_in(client, "wrong").status_code == 403
    assert sign_in(make("192.0.2.9")).status_code == 429


def test_session_fixation_the_cookie_from_before_sign_in_stays_worth_nothing(make: Make) -> None:
    attacker, victim = make(), make()
    attacker.get("/login")
    planted = attacker.cookies[COOKIE]
    victim.cookies.set(COOKIE, planted)
    assert sign_in(victim).status_code == 303
    assert victim.get("/page").status_code == 200
    assert attacker.cookies[COOKIE] == planted
    assert attacker.get("/page").status_code == 303
    assert planted not in {cookie.value for cookie in victim.cookies.jar if cookie.domain}


def test_a_form_that_is_sent_twice_signs_in(make: Make) -> None:
    client = make()
    form = {"csrf_token": form_token(client), "key": KEY}
    before = client.cookies[COOKIE]
    assert client.post("/login", data=form).status_code == 303
    again = make()  # the second click was sent before the first answer came
    again.cookies.set(COOKIE, before)
    assert again.post("/login", data=form).status_code == 303


def test_a_forged_cookie_is_none(make: Make, keys: Keys, fake_clock: FakeClock) -> None:
    client = make()
    sign_in(client)
    good = client.cookies[COOKIE]
    elsewhere = Sessions(keys, b"another secret, which the attacker made", fake_clock)
    forged = [
        elsewhere.write(elsewhere.signed_in(KEY.encode())),
        good[:-9] + ("A" if good[-9] != "A" else "B") + good[-8:],
        good.replace(".", "", 1),
        good.split(".")[0],
        "." + good.split(".")[-1],
        "W10." + good.split(".")[-1],
        "null",
        "x" * 4000,
    ]
    for value in forged:
        other = make()
        other.cookies.set(COOKIE, value)
        assert other.get("/page").status_code == 303, value
        assert other.get("/runs").status_code == 401, value
        assert other.post("/train", headers={"x-csrf-token": "x"}).status_code == 401, value


def test_a_session_ends_with_its_time(make: Make, fake_clock: FakeClock) -> None:
    client = make()
    sign_in(client)
    fake_clock.pass_time(timedelta(hours=24).total_seconds() - 5)
    assert client.get("/page").status_code == 200
    fake_clock.pass_time(10)
    assert client.get("/page").status_code == 303


def test_a_session_outlives_a_restart(service: SmallService, make: Make, fake_clock: FakeClock, file: Path) -> None:
    client = make()
    sign_in(client)
    again = Keys([OTHER_KEY, KEY], SECRET)
    sessions = Sessions(again, SECRET, fake_clock, signed_out=SignedOut(file))
    restarted = create_app(service, again, fake_clock, sessions=sessions, endpoints=PAGES)
    after = _client(restarted, "192.0.2.1")
    after.cookies.set(COOKIE, client.cookies[COOKIE])
    assert after.get("/page").status_code == 200


def test_who_has_signed_out_stays_so_after_a_restart(keys: Keys, fake_clock: FakeClock, file: Path) -> None:
    before = Sessions(keys, SECRET, fake_clock, hours=24, signed_out=SignedOut(file))
    stays, goes = before.signed_in(KEY.encode()), before.signed_in(KEY.encode())
    before.end(goes)
    after = Sessions(keys, SECRET, fake_clock, hours=24, signed_out=SignedOut(file))
    assert after.read(before.write(stays)) == stays
    assert after.read(before.write(goes)) is None
    assert file.stat().st_mode & 0o077 == 0
    fake_clock.pass_time(25 * 3600)
    after.end(after.signed_in(KEY.encode()))
    assert goes.id not in file.read_text()  # its time is over: nothing has to be remembered


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b'{"epoch": "e"}', b'{"ended": {"a": "x"}, "epoch": "e"}', b"\xff"]
)
def test_where_nobody_knows_who_has_signed_out_everybody_has(
    keys: Keys, fake_clock: FakeClock, file: Path, content: bytes | None
) -> None:
    before = Sessions(keys, SECRET, fake_clock, signed_out=SignedOut(file))
    cookie = before.write(before.signed_in(KEY.encode()))
    file.unlink() if content is None else file.write_bytes(content)
    after = Sessions(keys, SECRET, fake_clock, signed_out=SignedOut(file))
    assert after.read(cookie) is None
    assert after.read(after.write(after.signed_in(KEY.encode()))) is not None


def test_a_disk_that_takes_no_sign_out_ends_all_sessions_at_the_restart(
    keys: Keys, fake_clock: FakeClock, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Sessions(keys, SECRET, fake_clock, signed_out=SignedOut(file))
    stays, goes = before.signed_in(KEY.encode()), before.signed_in(KEY.encode())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        before.end(goes)
    assert before.read(before.write(goes)) is None
    assert before.read(before.write(stays)) == stays
    after = Sessions(keys, SECRET, fake_clock, signed_out=SignedOut(file))
    assert after.read(before.write(goes)) is None


def _full(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_changing_the_key_signs_out_everybody_who_used_it(make: Make, keys: Keys) -> None:
    first, second = make(), make()
    sign_in(first, KEY)
    sign_in(second, OTHER_KEY)
    assert keys.replace(["a new key", OTHER_KEY]) == (1, 1)
    assert first.get("/page").status_code == 303
    assert second.get("/page").status_code == 200
    assert sign_in(make(), KEY).status_code == 403


def test_signing_out_ends_the_session_and_every_copy_of_its_cookie(make: Make) -> None:
    client, thief = make(), make()
    sign_in(client)
    thief.cookies.set(COOKIE, client.cookies[COOKIE])
    assert thief.get("/page").status_code == 200
    assert client.post("/logout").status_code == 403  # another site could send this one
    answer = client.post("/logout", data={"csrf_token": token_of(client)})
    assert (answer.status_code, answer.headers["location"]) == (303, "./login")
    assert thief.get("/page").status_code == 303
    assert client.get("/page").status_code == 303


def test_csrf_a_change_needs_the_token_of_its_own_session(make: Make) -> None:
    client, other = make(), make()
    sign_in(client)
    sign_in(other)
    good, foreign = token_of(client), token_of(other)
    for token in ("", "x", foreign, good[:-1], good.upper(), "ü"):
        data = {"csrf_token": token, "value": "7"}
        assert client.post("/page", data=data).status_code == 403, token
        headers = {"x-csrf-token": token.encode()}
        assert client.post("/page", data={"value": "7"}, headers=headers).status_code == 403, token
        assert client.post("/train", headers=headers).status_code == 403, token
    assert client.post("/page", data={"value": "7"}).status_code == 403
    assert client.post("/train").json()["error"]["code"] == "forbidden"
    assert client.post("/page", data={"csrf_token": good, "value": "7"}).json() == {"value": "7"}
    assert client.post("/page", data={"value": "7"}, headers={"x-csrf-token": good}).json() == {"value": "7"}
    assert client.post("/train", headers={"x-csrf-token": good}).status_code == 202


def test_csrf_another_site_is_refused_whatever_it_knows(make: Make) -> None:
    client = make()
    sign_in(client)
    good = token_of(client)
    for site in ("cross-site", "same-site"):
        headers = {"sec-fetch-site": site, "x-csrf-token": good}
        assert client.post("/train", headers=headers).status_code == 403
    assert client.post("/train", headers={"sec-fetch-site": "same-origin", "x-csrf-token": good}).status_code == 202


def test_csrf_the_sign_in_form_is_protected_as_well(make: Make) -> None:
    assert make().post("/login", data={"key": KEY}).status_code == 403
    client = make()
    form_token(client)
    assert client.post("/login", data={"key": KEY}).status_code == 403
    assert client.post("/login", data={"key": KEY, "csrf_token": form_token(make())}).status_code == 403
    assert client.get("/page").status_code == 303


def test_a_session_does_for_the_api_what_a_key_does(make: Make) -> None:
    client = make()
    assert client.get("/runs").status_code == 401
    sign_in(client)
    assert client.get("/runs").status_code == 200
    assert client.get("/runs", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_a_key_needs_neither_session_nor_token(make: Make) -> None:
    client = make()
    assert client.post("/train", headers=AUTH).status_code == 202
    assert client.get("/page", headers=AUTH).status_code == 303  # pages are for people


def test_htmx_is_told_to_load_the_form_whole(make: Make) -> None:
    answer = make().get("/deep/page", headers={"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "../login")
    for shown, target in (
        ("https://host/trainer/console/queue?by=folder", "../login?next=console%2Fqueue%3Fby%3Dfolder"),
        ("https://elsewhere.example/a", "../login"),
        ("https://host/console//elsewhere.example", "../login?next=console%2F%2Felsewhere.example"),
    ):
        answer = make().get("/deep/page", headers={"hx-request": "true", "hx-current-url": shown})
        assert answer.headers["hx-redirect"] == target


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "\tpage",
        "x" * 600,
    ],
)
def test_the_way_back_never_leaves_the_service(make: Make, wanted: str) -> None:
    client = make()
    answer = sign_in(client, next=wanted)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("./")
    assert not re.match(r"\./[/\\]", answer.headers["location"])


def test_what_comes_from_outside_is_escaped_in_the_form(make: Make) -> None:
    page = make().get("/login", params={"next": '"><script>alert(1)</script>'}).text
    assert "<script" not in page


def test_the_form_cannot_be_framed_and_brings_nothing_from_elsewhere(make: Make) -> None:
    policy = make().get("/login").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_form_that_is_too_large_is_refused(make: Make) -> None:
    client = make()
    answer = client.post("/login", data={"csrf_token": form_token(client), "key": "x" * 70_000})
    assert answer.status_code == 413
