"""What the console answers, without a browser: who may see it, what may be named, and that no text becomes markup."""

from __future__ import annotations

import contextlib
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from console_kit import HOSTILE, PAGES, sign_in, token_of

from exposr_api.console.routes import CONSOLE
from service_process import ServiceProcess

LIMIT_BYTES = 300_000  # of a page before its thumbnails
SHA256 = re.compile(r"thumbnails/small/([0-9a-f]{64})")


def any_picture(client: httpx.Client) -> str:
    return SHA256.findall(client.get("/console/pictures").text)[0]


def all_pages(client: httpx.Client) -> list[str]:
    pictures = SHA256.findall(client.get("/console/pictures").text)
    return [*PAGES, *(f"pictures/{sha256}" for sha256 in pictures)]


def test_every_page_answers_small_and_under_a_policy_that_lets_nothing_in(client: httpx.Client) -> None:
    for path in all_pages(client):
        answer = client.get(f"/console/{path}")
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        static = re.findall(r'(?:src|href)="([^"]*/static/[^"]*)"', answer.text)
        loaded = sum(len(client.get(httpx.URL(f"/console/{path}").join(name).path).content) for name in static)
        assert len(answer.content) + loaded < LIMIT_BYTES, path


class Elements(HTMLParser):
    """What a browser would make of a page: its elements and their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_no_stored_text_becomes_markup_or_a_link_that_runs(client: httpx.Client) -> None:
    seen = 0
    for path in all_pages(client):
        text = client.get(f"/console/{path}").text
        seen += text.count("&lt;script&gt;alert(1)")
        for tag, attributes in Elements(text).found:
            assert tag != "i", path
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (path, attributes)
            if tag == "script":
                assert "/console/static/" in f"/console/{attributes['src']}", path
            assert not re.match(r"\s*(javascript|data):", attributes.get("href") or ""), path
            assert (attributes.get("src") or "./").startswith("."), path
    assert seen > 5  # it is shown, as text


def test_every_address_in_a_page_is_relative(client: httpx.Client) -> None:
    for path in all_pages(client):
        text = client.get(f"/console/{path}").text
        for address in re.findall(r'(?:href|src|action|hx-get|hx-post|data-stream)="([^"]*)"', text):
            assert re.match(r"(\.\.?/|#)", address), (path, address)


@pytest.mark.parametrize("endpoint", CONSOLE, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_without_a_session_nothing_is_shown_or_done(service: ServiceProcess, endpoint) -> None:  # type: ignore[no-untyped-def]
    if endpoint.access == "open":
        return
    path = re.sub(r"{\w+}", "a", endpoint.path)
    answer = httpx.request(endpoint.method, service.url + path, trust_env=False)
    assert answer.status_code in (303, 401)
    if answer.status_code == 303:
        assert "login" in answer.headers["location"]
    assert answer.text == ""


@pytest.mark.parametrize("endpoint", [each for each in CONSOLE if each.method == "POST"], ids=lambda each: each.path)
def test_a_form_from_elsewhere_does_nothing(client: httpx.Client, endpoint) -> None:  # type: ignore[no-untyped-def]
    path = endpoint.path.format(sha256=any_picture(client), name="vit", version="v1", id="x")
    for data in ({}, {"csrf_token": "0" * 64}):
        sent = {**data, "label": "real", "decision": "undo", "kind": "train", "source": "pexels", "confirmed": "yes"}
        assert client.post(path, data=sent).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "thumbnails/small/../../../etc/passwd",
        "thumbnails/small/..%2f..%2f..%2fetc%2fpasswd",
        "thumbnails/small/" + "0" * 64,
        "thumbnails/small/" + "A" * 64,
        "thumbnails/..%2f/" + "0" * 64,
        "thumbnails/huge/" + "0" * 64,
        "pictures/..%2f..%2fetc%2fpasswd",
        "pictures/" + "0" * 63 + "%0a",
        "static/..%2f..%2fapp.py",
        "static/LICENSES.txt",
        "static/%2e%2e",
        "models/..%2f..%2fstate/keys",
        "models/vit/..%2fv1",
        "models/vit/v9/report",
        "runs/..%2f..%2fkeys",
    ],
)
def test_no_name_leads_out_of_what_is_shown(client: httpx.Client, path: str) -> None:
    assert client.get(f"/console/{path}").status_code == 404


def test_a_person_is_told_what_is_wrong_on_a_page(client: httpx.Client) -> None:
    answer = client.get("/console/runs/none", headers={"accept": "text/html,*/*"})
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text
    assert client.get("/console/runs/none").json()["error"]["code"] == "not_found"


def test_an_error_is_a_page_for_a_person_and_json_for_a_program(client: httpx.Client, service: ServiceProcess) -> None:
    person = {"accept": "text/html,*/*"}
    for path in ("/no/such/page", "/console/pictures/..%2f..%2fetc", "/console/models/vit/v9/report"):
        page = client.get(path, headers=person)
        assert (page.status_code, "<h1>Not found</h1>" in page.text) == (404, True), path
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        assert all(
            re.match(r"(\.\.?/|#)", address) for address in re.findall(r'(?:href|src|action)="([^"]*)"', page.text)
        )
        assert client.get(path).json()["error"]["code"] == "not_found"
        assert client.get(path, headers={**person, "hx-request": "true"}).json()["error"]["code"] == "not_found"
    out_of_date = client.post("/console/queue", data={"csrf_token": "0" * 64}, headers=person)
    assert (out_of_date.status_code, "<h1>Forbidden</h1>" in out_of_date.text) == (403, True)
    assert client.get("/runs/none", headers=person).json()["error"]["code"] == "not_found"  # a call of the API
    stranger = httpx.get(f"{service.url}/no/such/page", headers=person, trust_env=False)
    assert "<nav" not in stranger.text


def test_a_label_that_somebody_has_changed_meanwhile_is_asked_about_again(
    client: httpx.Client, service: ServiceProcess
) -> None:
    sha256 = next(each for each in SHA256.findall(client.get("/console/pictures?label=real").text))
    path = f"/console/pictures/{sha256}"
    [shown] = re.findall(r'name="shown" value="([^"]*)"', client.get(path).text)
    assert shown == "real folder"
    token = token_of(client)
    with contextlib.closing(sign_in(service.url)) as other:
        assert other.post(f"{path}/label", data={"csrf_token": token_of(other), "label": "real"}).status_code == 303
    late = {"csrf_token": token, "label": "ai_generated", "shown": shown}
    client.post(f"{path}/label", data=late)
    page = client.get(path).text
    assert "Somebody has changed this label meanwhile" in page
    assert re.findall(r'name="shown" value="([^"]*)"', page) == ["real person"]


@pytest.mark.parametrize("query", ["after=..%2f", "after=%3Cscript%3E", "after=" + "A" * 5000])
def test_a_cursor_that_is_not_ours_is_refused(client: httpx.Client, query: str) -> None:
    assert client.get(f"/console/pictures?{query}").status_code == 400


def test_what_a_query_says_is_shown_as_text_at_most(client: httpx.Client) -> None:
    for name in ("label", "source", "generator", "since", "until", "part"):
        answer = client.get("/console/pictures", params={name: HOSTILE})
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text


def test_a_thumbnail_is_a_fresh_picture_and_a_file_that_is_html_has_none(
    client: httpx.Client, service: ServiceProcess
) -> None:
    answer = client.get(f"/console/thumbnails/small/{any_picture(client)}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content[:4] == b"RIFF"
    no_picture = hashlib.sha256(next((service.data / "real").glob("no*")).read_bytes()).hexdigest()
    assert client.get(f"/console/thumbnails/small/{no_picture}").status_code == 404
    assert client.get(f"/console/pictures/{no_picture}").status_code == 404


def test_the_report_may_be_framed_by_us_alone_and_can_run_nothing(client: httpx.Client) -> None:
    answer = client.get("/console/models/vit/v2/report")
    assert "Report of v2" in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.endswith("frame-ancestors 'self'; sandbox")
    assert "script-src" not in policy
    assert "sandbox" in re.findall(r"<iframe[^>]*>", client.get("/console/models/vit/v2").text)[0]


def test_a_wish_is_asked_about_before_it_is_done_without_scripts(client: httpx.Client, service: ServiceProcess) -> None:
    token = token_of(client)
    asked = client.post("/console/models/vit/v1/promote", data={"csrf_token": token})
    assert asked.status_code == 200
    assert "Put vit/v1 in service?" in asked.text
    assert service.get("/models/latest")["model_version"] == "v2"
    done = client.post("/console/models/vit/v1/promote", data={"csrf_token": token, "confirmed": "yes"})
    assert done.status_code == 303
    assert service.get("/models/latest")["model_version"] == "v1"
    assert "vit/v1 is in service" in client.get("/console/models").text
    back = client.post("/console/models/rollback", data={"csrf_token": token, "confirmed": "yes"})
    assert back.status_code == 303
    assert service.get("/models/latest")["model_version"] == "v2"


def test_the_most_novel_pictures_are_found_and_one_says_how_novel_it_is(client: httpx.Client) -> None:
    every = SHA256.findall(client.get("/console/pictures").text)
    sorted_by_novelty = SHA256.findall(client.get("/console/pictures?novelty=unfamiliar+first").text)
    assert sorted_by_novelty == sorted(every, reverse=True)  # as the fixture wrote them
    unfamiliar = SHA256.findall(client.get("/console/pictures?novelty=only+unfamiliar").text)
    assert unfamiliar == sorted_by_novelty[: len(unfamiliar)]
    assert 0 < len(unfamiliar) < len(every)
    assert ">unfamiliar<" in client.get(f"/console/pictures/{unfamiliar[0]}").text
    assert ">unfamiliar<" not in client.get(f"/console/pictures/{sorted_by_novelty[-1]}").text


def test_the_drift_plot_marks_when_a_version_came_into_service(client: httpx.Client, service: ServiceProcess) -> None:
    for way in ("vit/v1/promote", "vit/rollback"):
        assert service.post(f"/models/{way}").status_code == 200
    page = client.get("/console/field").text
    [marks] = re.findall(r'data-marks="([^"]*)"', page)
    days = [float(x) for x in re.findall(r'data-x="([\d.]+)"><th', page)]
    assert days == sorted(days, reverse=True)
    assert len(days) == 3
    found = [(mark["name"], mark["x"]) for mark in json.loads(html.unescape(marks))]
    assert [name for name, _ in found][-2:] == ["vit/v1", "vit/v2"]
    assert days[0] - 1.5 <= found[-1][1] <= days[0] + 1
    assert "Came into service: vit/v1" in page


def test_a_part_of_a_page_is_only_that_part(client: httpx.Client) -> None:
    part = client.get("/console/?fragment=counts").text
    assert part.lstrip().startswith("<section")
    assert "<html" not in part
    assert "<html" in client.get("/console/?fragment=../base").text  # no such part: the whole page


def test_licences_of_what_is_brought_along_are_there() -> None:
    text = (Path(__file__).parents[2] / "http/exposr_api/pages/static/LICENSES.txt").read_text()
    assert "Zero-Clause BSD" in text
    assert "Leon Sorokin" in text
