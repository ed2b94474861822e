from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import httpx
from PIL import Image

Call = Callable[..., httpx.Response]


def all_ids(call: Call, path: str, **parameters: Any) -> list[str]:
    """Crawl the pages until an empty one."""
    ids: list[str] = []
    for page in range(1, 20):
        body = call("unsplash", path, page=page, per_page=5, **parameters).json()
        photos = body["results"] if isinstance(body, dict) else body
        if not photos:
            return ids
        ids += [photo["id"] for photo in photos]
    raise AssertionError("the pages never end")


def test_search_and_feed_show_the_same_photos_once_each(call: Call) -> None:
    feed, search = all_ids(call, "/photos"), all_ids(call, "/search/photos", query="street")
    assert len(feed) == len(set(feed)) > 5
    assert set(search) == set(feed)
    assert feed != search


def test_per_page_is_clamped_silently_and_links_name_the_neighbours(call: Call) -> None:
    first = call("unsplash", "/photos", per_page=500)
    assert first.headers["x-per-page"] == "30"
    second = call("unsplash", "/photos", page=2, per_page=4)
    assert set(re.findall(r'rel="(\w+)"', second.headers["link"])) == {"first", "prev", "next", "last"}


def test_exhaustion_is_a_plain_text_403_without_reset_header(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(unsplash={"hourly_limit": 2})
    assert [call("unsplash", "/photos").headers["x-ratelimit-remaining"] for _ in range(2)] == ["1", "0"]
    refused = call("unsplash", "/photos")
    assert (refused.status_code, refused.text) == (403, "Rate Limit Exceeded\n")
    assert refused.headers["content-type"].startswith("text/plain")
    assert not {"x-ratelimit-reset", "retry-after"} & set(refused.headers)
    set_sandbox(unsplash={"exhausted_status": 429})
    assert call("unsplash", "/photos").status_code == 429


def test_cached_answers_carry_the_counters_of_another_call(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(unsplash={"stale_headers": True})
    answers = [call("unsplash", "/photos") for _ in range(4)]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["4999", "4991", "4997", "4991"]
    assert ["age" in answer.headers for answer in answers] == [False, True, False, True]


def test_random_is_one_object_or_an_array_by_count(call: Call) -> None:
    assert isinstance(call("unsplash", "/photos/random").json(), dict)
    assert len(call("unsplash", "/photos/random", count=1).json()) == 1
    assert len(call("unsplash", "/photos/random", count=7).json()) == 7
    assert call("unsplash", "/photos/random", count=31).status_code == 400
    missing = call("unsplash", "/photos/random", username="nobody")
    assert (missing.status_code, missing.json()) == (404, {"errors": ["Couldn't find User"]})


def test_search_beyond_the_horizon_is_empty_with_zero_pages(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(unsplash={"horizon_items": 4, "inexact_totals": True})
    inside = call("unsplash", "/search/photos", query="x", page=2, per_page=2)
    beyond = call("unsplash", "/search/photos", query="x", page=3, per_page=2)
    assert inside.json()["total_pages"] > 2
    assert beyond.status_code == 200
    assert (beyond.json()["results"], beyond.json()["total_pages"]) == ([], 0)
    assert int(inside.headers["x-total"]) == inside.json()["total"] + 1


def test_a_sponsored_photo_heads_every_page_and_displaces_none(call: Call, set_sandbox: Callable[..., None]) -> None:
    usual = set(all_ids(call, "/search/photos", query="dog"))
    set_sandbox(unsplash={"sponsored_first": True})
    pages = [
        call("unsplash", "/search/photos", query="dog", page=page, per_page=4).json()["results"] for page in (1, 2)
    ]
    assert pages[0][0]["id"] == pages[1][0]["id"]
    assert pages[0][0]["sponsorship"] and not pages[0][1]["sponsorship"]
    assert [len(page) for page in pages] == [4, 4]
    assert set(all_ids(call, "/search/photos", query="dog")) == usual | {pages[0][0]["id"]}


def test_odd_and_foreign_items(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(unsplash={"odd_items": True, "foreign_items": True}, synthetic=600)
    photos = [photo for page in range(1, 8) for photo in call("unsplash", "/photos", page=page, per_page=30).json()]
    assert any(photo["id"].startswith("-") for photo in photos)
    assert any(photo["color"] is None and photo["user"]["last_name"] is None for photo in photos)
    assert {photo["asset_type"] for photo in photos} == {"photo", "illustration"}
    assert sum(photo["urls"]["raw"].startswith("https://plus.unsplash.com/") for photo in photos) == 1
    assert sum("3d-renders" in photo["topic_submissions"] for photo in photos) == 1


def test_download_tracking_has_a_query_needs_the_key_and_costs_quota(call: Call, http: httpx.Client) -> None:
    answer = call("unsplash", "/photos", per_page=1)
    location = answer.json()[0]["links"]["download_location"]
    assert "?ixid=" in location
    assert http.get(location).status_code == 401
    tracked = http.get(location, headers={"authorization": "Client-ID sandbox"})
    assert tracked.json()["url"].startswith(str(http.base_url))
    assert int(tracked.headers["x-ratelimit-remaining"]) == int(answer.headers["x-ratelimit-remaining"]) - 1


def test_errors_have_the_sources_form(call: Call, http: httpx.Client) -> None:
    assert call("unsplash", "/search/photos").json() == {"errors": ["query is missing"]}
    assert call("unsplash", "/search/photos", query="spam").status_code == 410
    assert call("unsplash", "/photos/nothing").json() == {"errors": ["Couldn't find Photo"]}
    assert http.get("/unsplash/photos", headers={"authorization": "Client-ID wrong"}).status_code == 401
    assert http.get("/unsplash/photos", params={"client_id": "sandbox"}).status_code == 200


def test_a_known_etag_is_answered_with_304_and_still_counts(call: Call, http: httpx.Client) -> None:
    first = call("unsplash", "/search/photos", query="x")
    assert first.headers["etag"].startswith('W/"')
    headers = {"authorization": "Client-ID sandbox", "if-none-match": first.headers["etag"]}
    second = http.get("/unsplash/search/photos", params={"query": "x"}, headers=headers)
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["x-ratelimit-remaining"] == "4998"


def test_image_urls_have_no_extension_and_honour_size_quality_and_format(call: Call, http: httpx.Client) -> None:
    photo = call("unsplash", "/photos", per_page=1).json()[0]
    raw = photo["urls"]["raw"]
    assert "." not in raw.partition("?")[0].rpartition("/")[2]
    with Image.open(io.BytesIO(http.get(raw).content)) as image:
        assert image.size == (photo["width"], photo["height"])
    small, best, worst = (
        http.get(f"{raw}&{more}") for more in ("w=40&fm=png", "w=100&q=95&fm=jpg", "w=100&q=20&fm=jpg")
    )
    with Image.open(io.BytesIO(small.content)) as image:
        assert (image.format, image.width) == ("PNG", 40)
    assert small.headers["content-type"] == "image/png"
    assert len(best.content) > len(worst.content)
    with Image.open(io.BytesIO(http.get(f"{raw}&w=5000&fit=max&fm=jpg").content)) as image:
        assert image.width == photo["width"]
    assert http.get("/images/unsplash/photo-1-000000000000").status_code == 404
