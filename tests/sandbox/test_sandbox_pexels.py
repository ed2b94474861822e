from __future__ import annotations

import io
import time
from collections.abc import Callable

import httpx
import pytest
from PIL import Image

Call = Callable[..., httpx.Response]
KEY = {"authorization": "sandbox"}


@pytest.mark.parametrize(
    "agent", ["", "python-httpx/0.28.1", "python-requests/2.32", "Python-urllib/3.11", "curl/8.5", "aiohttp/3"]
)
def test_library_agents_are_refused_with_html_though_the_key_is_good(http: httpx.Client, agent: str) -> None:
    answer = http.get("/pexels/v1/curated", headers={**KEY, "user-agent": agent})
    assert (answer.status_code, answer.headers["server"]) == (403, "cloudflare")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_only_the_raw_key_is_accepted(http: httpx.Client) -> None:
    assert http.get("/pexels/v1/curated", headers=KEY).status_code == 200
    for wrong in ({"authorization": "Bearer sandbox"}, {"authorization": "other"}, {}):
        assert http.get("/pexels/v1/curated", headers=wrong).status_code == 401


def test_good_answers_carry_the_month_and_a_429_carries_nothing(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(pexels={"hourly_limit": 1, "monthly_used": 259})
    good, refused = call("pexels", "/v1/curated"), call("pexels", "/v1/curated")
    assert (good.headers["x-ratelimit-limit"], good.headers["x-ratelimit-remaining"]) == ("20000", "19740")
    assert 0 < int(good.headers["x-ratelimit-reset"]) - time.time() <= 31 * 86_400
    assert refused.status_code == 429
    assert [name for name in refused.headers if "ratelimit" in name or name == "retry-after"] == []


def test_the_month_runs_out_too(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(pexels={"monthly_limit": 100, "monthly_used": 99})
    assert call("pexels", "/v1/curated").headers["x-ratelimit-remaining"] == "0"
    assert call("pexels", "/v1/curated").status_code == 429


def test_pages_have_neighbours_and_the_last_has_no_next(call: Call, http: httpx.Client) -> None:
    body = call("pexels", "/v1/search", query="tram", per_page=4).json()
    assert "/v1/search/?page=2&per_page=4&query=tram" in body["next_page"]
    seen = [photo["id"] for photo in body["photos"]]
    while "next_page" in body:
        body = http.get(body["next_page"], headers=KEY).json()
        seen += [photo["id"] for photo in body["photos"]]
    assert len(seen) == len(set(seen)) == body["total_results"]
    past = call("pexels", "/v1/search", query="tram", per_page=4, page=500).json()
    assert past["photos"] == []
    assert "next_page" not in past


def test_per_page_is_echoed_as_it_took_effect(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(pexels={"claimed_total": 8000})
    body = call("pexels", "/v1/search", query="tram", per_page=200).json()
    assert (body["per_page"], body["total_results"]) == (80, 8000)
    assert len(body["photos"]) < 80


def test_bad_parameters_and_unknown_photos(call: Call) -> None:
    assert call("pexels", "/v1/search").status_code == 400
    assert call("pexels", "/v1/search", query="x", per_page=0).status_code == 400
    assert call("pexels", "/v1/photos/1").status_code == 404


def test_queries_are_normalised(call: Call) -> None:
    assert (
        call("pexels", "/v1/search", query=" Red   TRAM ").json()["photos"]
        == call("pexels", "/v1/search", query="red tram").json()["photos"]
    )


def test_odd_items(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(pexels={"odd_items": True}, synthetic=300)
    photos = call("pexels", "/v1/curated", per_page=80).json()["photos"]
    assert {None, ""} <= {photo["alt"] for photo in photos}
    assert None in {photo["avg_color"] for photo in photos}
    assert {str, int} == {type(photo["photographer_id"]) for photo in photos}
    assert any("📷" in photo["photographer"] for photo in photos)


def test_wrong_extensions(call: Call, http: httpx.Client, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(pexels={"wrong_extensions": True})
    urls = [photo["src"]["original"] for photo in call("pexels", "/v1/curated", per_page=80).json()["photos"]]
    types = {(url.rpartition(".")[2], http.get(url).headers["content-type"]) for url in urls}
    assert {("png", "image/jpeg"), ("jpeg", "image/png")} <= types


def test_the_curated_head_moves_by_one_with_each_call(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(pexels={"shifting_feed": 3})
    heads = [call("pexels", "/v1/curated", per_page=2).json()["photos"] for _ in range(4)]
    assert heads[1][1] == heads[0][0]
    assert heads[2][1] == heads[1][0]
    assert heads[3] == heads[2]


def test_a_huge_original(call: Call, http: httpx.Client, set_sandbox: Callable[..., None]) -> None:
    before = {photo["id"] for photo in call("pexels", "/v1/curated", per_page=80).json()["photos"]}
    set_sandbox(pexels={"huge_original_bytes": 3_000_000})
    photos = call("pexels", "/v1/curated", per_page=80).json()["photos"]
    [huge] = [photo for photo in photos if photo["id"] not in before]
    assert len(http.get(huge["src"]["original"]).content) == 3_000_000
    assert len(http.get(huge["src"]["large"]).content) < 100_000


def test_variants_have_the_sizes_that_their_names_promise(call: Call, http: httpx.Client) -> None:
    source = call("pexels", "/v1/curated", per_page=1).json()["photos"][0]["src"]
    sizes = {}
    for name in ("large", "tiny", "portrait"):
        with Image.open(io.BytesIO(http.get(source[name]).content)) as image:
            sizes[name] = image.size
    assert sizes["tiny"] == (280, 200)
    assert sizes["portrait"] == (800, 1200)
    assert sizes["large"][1] <= 650
