"""The dashboard: one page that brings all it needs and lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.testclient import TestClient

from exposr_api.endpoints import ENDPOINTS


def test_the_page_needs_no_key_and_says_nothing_by_itself(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "51" not in re.sub(r"<(style|script)>.*?</\1>", "", answer.text, flags=re.DOTALL)


def test_only_its_own_style_and_script_may_run(client: TestClient) -> None:
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind in ("style", "script"):
        [text] = re.findall(rf"<{kind}>(.*?)</{kind}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_nothing_comes_from_elsewhere_and_no_text_becomes_markup(client: TestClient) -> None:
    page = client.get("/").text
    assert not re.search(r"https?://|//[a-z]|src=|@import|url\(", re.sub(r"^// .*$", "", page, flags=re.MULTILINE))
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|\son\w+=|style=", page)


def test_it_calls_only_what_the_api_has(client: TestClient) -> None:
    paths = {endpoint.path for endpoint in ENDPOINTS}
    called = set(re.findall(r'(?:ask|answer|wish|data-post=)\(?"(/[a-z/]*)', client.get("/").text))
    assert {"/status", "/health", "/events", "/runs", "/models", "/models/latest"} <= called
    assert {path for path in called if not path.endswith("/")} <= paths


def test_an_unchanged_page_is_not_sent_again(client: TestClient) -> None:
    etag = client.get("/").headers["etag"]
    assert client.get("/", headers={"If-None-Match": etag}).status_code == 304
