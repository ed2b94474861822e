"""The sandbox speaks the sources' language: their own clients understand it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.timeout(120)  # the first run installs the clients


def ids(photos: list[dict[str, Any]]) -> list[Any]:
    return [photo["id"] for photo in photos]


def test_unsplash_search_and_its_pages(seen: dict[str, Any]) -> None:
    first, second = seen["unsplash"]["search"], seen["unsplash"]["second"]
    assert first["status"] == second["status"] == 200
    assert first["data"]["total"] == int(first["headers"]["x-total"]) > 3
    assert len(first["data"]["results"]) == 3
    assert not set(ids(first["data"]["results"])) & set(ids(second["data"]["results"]))
    assert 'rel="next"' in first["headers"]["link"]


def test_unsplash_feed_is_an_array_newest_first(seen: dict[str, Any]) -> None:
    feed = seen["unsplash"]["feed"]
    assert len(feed["data"]) == 2
    assert feed["data"][0]["created_at"] >= feed["data"][1]["created_at"]
    assert feed["headers"]["x-per-page"] == "2"


def test_unsplash_random_is_an_array_only_with_count(seen: dict[str, Any]) -> None:
    assert len(seen["unsplash"]["random"]["data"]) == 2
    assert set(seen["unsplash"]["one"]["data"]) >= {"id", "urls", "user", "exif"}


def test_unsplash_photo_by_slug_and_download_tracking(seen: dict[str, Any]) -> None:
    searched = seen["unsplash"]["search"]["data"]["results"][0]
    assert seen["unsplash"]["photo"]["data"]["id"] == searched["id"]
    image = httpx.get(seen["unsplash"]["download"]["data"]["url"])
    assert image.headers["content-type"] == "image/jpeg"


def test_unsplash_errors_and_counters_reach_the_client(seen: dict[str, Any]) -> None:
    calls = seen["unsplash"]
    assert calls["missing"]["status"] == 404
    assert calls["missing"]["error"] == {"errors": ["Couldn't find Photo"]}
    assert calls["refused"] == {"status": 401, "error": {"errors": ["OAuth error: The access token is invalid"]}}
    spent = [int(calls[name]["headers"]["x-ratelimit-remaining"]) for name in ("search", "second", "feed", "random")]
    assert spent == [4999, 4998, 4997, 4996]


def test_pexels_search_curated_and_photo(seen: dict[str, Any]) -> None:
    calls = seen["pexels"]
    assert len(calls["search"]["photos"]) == 3
    assert calls["search"]["total_results"] > 3
    assert "/v1/search/?page=2" in calls["search"]["next_page"]
    assert "prev_page" not in calls["search"]
    assert len(calls["curated"]["photos"]) == 2
    assert calls["photo"] == calls["search"]["photos"][0]
    assert httpx.get(calls["photo"]["src"]["medium"]).headers["content-type"] == "image/jpeg"


def test_pexels_past_the_end_is_empty_and_has_no_next_page(seen: dict[str, Any]) -> None:
    assert seen["pexels"]["last"]["photos"] == []
    assert "next_page" not in seen["pexels"]["last"]


def test_pexels_errors_reach_the_client(seen: dict[str, Any]) -> None:
    assert "Not Found" in seen["pexels"]["missing"]
    assert "Unauthorized" in seen["pexels"]["refused"]


def test_the_pexels_client_asked_its_own_built_in_host(seen: dict[str, Any]) -> None:
    assert all(url.startswith("https://api.pexels.com/v1/") for url in seen["pexels"]["asked"])
