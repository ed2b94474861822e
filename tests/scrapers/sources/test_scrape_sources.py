"""How each source's payload becomes candidates; the payloads are those of its documentation, invented ids."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapers.candidate import MAX_API_DATA_BYTES, Candidate, Dropped, Page, canonical_url, clean, plain_text
from scrapers.errors import BlockedError, CursorError, QueryError, TransientError
from scrapers.http.response import Answer
from scrapers.sources import ALL_SOURCES, SOURCES
from scrapers.sources.source import ExhaustedError, PayloadError
from scrapers.status import KEYS
from scrapers.terms import TERMS
from utils.config.sources import Civitai, Openverse, Pexels, Source, Sources, Unsplash, Wikimedia, WikimediaAi

SETTINGS: dict[str, Source] = {
    "unsplash": Unsplash(),
    "pexels": Pexels(),
    "civitai": Civitai(),
    "openverse": Openverse(),
    "wikimedia": Wikimedia(),
    "wikimedia_ai": WikimediaAi(),
}
UNSPLASH: dict[str, Any] = {
    "id": "-z7_kLm2Xr4",
    "slug": "a-red-tram",
    "created_at": "2025-11-02T09:14:05Z",
    "width": 4000,
    "height": 6000,
    "color": None,
    "blur_hash": None,
    "description": None,
    "alt_description": "A red tram",
    "urls": {"raw": "https://images.unsplash.com/photo-1?ixid=M3w5&ixlib=rb-4.1.0"},
    "links": {
        "html": "https://unsplash.com/photos/a-red-tram-Qz7",
        "download_location": "https://api.unsplash.com/photos/-z7_kLm2Xr4/download?ixid=M3w5",
    },
    "sponsorship": None,
    "topic_submissions": {},
    "asset_type": "photo",
    "user": {
        "id": "eY1k",
        "username": "marta_lens",
        "name": "Marta Kowal",
        "bio": "secret bio",
        "links": {"html": "https://unsplash.com/@marta_lens"},
        "social": {"instagram_username": "secret_handle"},
    },
}
PEXELS: dict[str, Any] = {
    "id": 30412877,
    "width": 4160,
    "height": 6240,
    "url": "https://www.pexels.com/photo/red-tram-30412877/",
    "photographer": "Ilse 🚋 van Dam",
    "photographer_url": "https://www.pexels.com/@ilse-88120",
    "photographer_id": "88120",
    "avg_color": None,
    "src": {
        "original": "https://images.pexels.com/photos/30412877/pexels-photo-30412877.jpeg",
        "large2x": "https://images.pexels.com/photos/30412877/pexels-photo-30412877.jpeg?dpr=2&h=650&w=940",
        "portrait": "https://images.pexels.com/photos/30412877/pexels-photo-30412877.jpeg?fit=crop&h=1200&w=800",
    },
    "alt": "",
}
CIVITAI: dict[str, Any] = {
    "id": 118204417,
    "url": "https://image.civitai.com/x/7c1f/original=true/7c1f.jpeg",
    "hash": None,
    "width": 832,
    "height": 1216,
    "nsfwLevel": "None",
    "type": "image",
    "browsingLevel": 1,
    "createdAt": "2026-08-14T07:21:44.108Z",
    "postId": 26011893,
    "meta": {"prompt": "lighthouse", "seed": 2**60, "comfy": "x" * 500_000, "Model": "illu_v2"},
    "username": "harborlight",
    "baseModel": "Illustrious",
    "modelVersionIds": [1759168],
}
OPENVERSE: dict[str, Any] = {
    "id": "0f0e",
    "title": "Tram",
    "url": "https://live.staticflickr.com/1/2_3_b.jpg",
    "foreign_landing_url": "https://www.flickr.com/photos/x/2",
    "creator": "Ana",
    "creator_url": "https://www.flickr.com/photos/x",
    "license": "by-sa",
    "license_version": "2.0",
    "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
    "source": "flickr",
    "filetype": None,
    "width": None,
    "height": None,
    "mature": False,
    "attribution": '"Tram" by Ana is licensed under CC BY-SA 2.0.',
}
WIKIMEDIA: dict[str, Any] = {
    "pageid": 32885597,
    "ns": 6,
    "title": "File:Dovbush rocks 02.JPG",
    "imagerepository": "local",
    "imageinfo": [
        {
            "timestamp": "2026-05-20T20:55:12Z",
            "user": "Taras r",
            "size": 4270655,
            "width": 3648,
            "height": 2736,
            "url": "https://upload.wikimedia.org/wikipedia/commons/e/ea/Dovbush_rocks_02.JPG",
            "descriptionurl": "https://commons.wikimedia.org/wiki/File:Dovbush_rocks_02.JPG",
            "thumburl": "https://thumb.wikimedia.org/wikipedia/commons/thumb/e/ea/Dovbush_rocks_02.JPG/1920px-x.JPG",
            "sha1": "0" * 40,
            "mime": "image/jpeg",
            "commonmetadata": [{"name": "Make", "value": "SONY"}, {"name": "Model", "value": "DSC-W30"}],
            "extmetadata": {
                "Artist": {"value": '<a href="//commons.wikimedia.org/wiki/User:T" title="x">Taras &amp; r</a>'},
                "License": {"value": "cc-by-sa-4.0"},
                "LicenseShortName": {"value": "CC BY-SA 4.0"},
                "LicenseUrl": {"value": "https://creativecommons.org/licenses/by-sa/4.0"},
                "Categories": {"value": "Quality images|Rocks"},
            },
        }
    ],
}
WIKIMEDIA_AI = copy.deepcopy(WIKIMEDIA)
WIKIMEDIA_AI["imageinfo"][0] |= {"commonmetadata": None, "mime": "image/png"}
WIKIMEDIA_AI["imageinfo"][0]["extmetadata"] |= {
    "License": {"value": "pd"},
    "Categories": {"value": "PD-algorithm|Images generated by DALL-E 3"},
}
COMMONS_MORE = {"gcmcontinue": "file|4445|32763876", "continue": "gcmcontinue||"}
PAGES = {
    "wikimedia": lambda item: {"query": {"pages": [item]}, "continue": COMMONS_MORE},
    "wikimedia_ai": lambda item: {"query": {"pages": [item]}, "continue": COMMONS_MORE},
    "unsplash": lambda item: {"total": 10001, "total_pages": 0, "results": [item]},
    "pexels": lambda item: {"page": 1, "photos": [item], "next_page": "https://evil.example/?page=2"},
    "civitai": lambda item: {"items": [item], "metadata": {"nextCursor": "feed:1:2"}},
    "openverse": lambda item: {"page_count": 3, "results": [item]},
}
ITEMS = {
    "unsplash": UNSPLASH,
    "pexels": PEXELS,
    "civitai": CIVITAI,
    "openverse": OPENVERSE,
    "wikimedia": WIKIMEDIA,
    "wikimedia_ai": WIKIMEDIA_AI,
}


def read_page(name: str, payload: Any, query: str = "") -> Page:
    module = SOURCES[name]
    return module.read_page(payload, SETTINGS[name], module.first_cursor(query))


def read(name: str, **changes: Any) -> Candidate | Dropped:
    item = copy.deepcopy(ITEMS[name]) | changes
    return read_page(name, PAGES[name](item)).items[0]


def candidate(name: str, **changes: Any) -> Candidate:
    found = read(name, **changes)
    assert isinstance(found, Candidate)
    return found


def answer(status: int, body: Any = b"", **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer("https://api.example/x", status, httpx.Headers(named), data, datetime.now(UTC))


def test_every_source_has_settings_key_and_terms() -> None:
    assert list(ALL_SOURCES) == list(KEYS) == list(TERMS) == list(Sources.model_fields)


@pytest.mark.parametrize("name", SOURCES)
def test_attribution_is_complete_and_names_nobody_twice(name: str) -> None:
    found = candidate(name)
    assert {"platform", "photographer", "license", "url", "photographer_url", "license_url"} <= set(found.attribution)
    assert all(found.attribution.values())
    assert found.api_data["creator"] == found.creator and found.creator.startswith(f"{name}:")
    assert "secret" not in found.to_json()
    assert Candidate.from_json(found.to_json()) == found


@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=40)
@given(
    junk=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "id",
                        "urls",
                        "raw",
                        "user",
                        "src",
                        "original",
                        "meta",
                        "items",
                        "results",
                        "photos",
                        "type",
                        "browsingLevel",
                        "metadata",
                        "nextCursor",
                        "url",
                        "license",
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=15,
    )
)
def test_no_payload_breaks_a_source(name: str, junk: Any) -> None:
    for payload in (junk, PAGES[name](junk)):
        try:
            page = read_page(name, payload)
        except PayloadError:
            continue
        for item in page.items:
            assert isinstance(item, Dropped) or Candidate.from_json(item.to_json())


@pytest.mark.parametrize("name", SOURCES)
def test_one_odd_item_does_not_lose_the_page(name: str) -> None:
    payload = PAGES[name](copy.deepcopy(ITEMS[name]))
    lists = [*payload.values(), *payload.get("query", {}).values()]
    items = next(value for value in lists if isinstance(value, list))
    items[:0] = [None, 7, {}, {"id": None, "pageid": None}, {"id": "only-an-id", "pageid": 1}]
    found = read_page(name, payload)
    assert [type(item) for item in found.items] == [Dropped, Candidate] and found.nameless == 4


# Unsplash


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"asset_type": "illustration"}, "not_a_photo"),
        ({"urls": {"raw": "https://plus.unsplash.com/premium_photo-1"}}, "watermarked"),
        ({"premium": True}, "watermarked"),
        ({"topic_submissions": {"3d-renders": {"status": "approved"}}}, "render"),
        ({"sponsorship": {"tagline": "buy"}}, "sponsored"),
        ({"urls": {}}, "no_url"),
    ],
)
def test_unsplash_leaves_out_what_is_no_plain_photo(changes: dict[str, Any], why: str) -> None:
    assert read("unsplash", **changes) == Dropped("-z7_kLm2Xr4", why)


def test_unsplash_prefers_the_original_and_keeps_ixid() -> None:
    found = candidate("unsplash")
    assert [variant.name.partition("&")[0] for variant in found.variants] == ["raw", "raw"]
    assert found.variants[0].url == UNSPLASH["urls"]["raw"]
    assert parse_qs(urlsplit(found.variants[1].url).query)["ixid"] == ["M3w5"]
    assert found.track_url == UNSPLASH["links"]["download_location"]
    assert "utm_source" in found.attribution["url"] and "utm_medium=referral" in found.attribution["photographer_url"]


def test_unsplash_ends_at_the_first_empty_page_whatever_the_totals_say() -> None:
    module, settings = SOURCES["unsplash"], SETTINGS["unsplash"]
    assert module.read_page({"total_pages": 334, "results": []}, settings, "201").next_cursor is None
    assert module.read_page({"total_pages": 0, "results": [UNSPLASH]}, settings, "200").next_cursor == "201"
    assert module.read_page([UNSPLASH], settings, None).next_cursor == "2", "the feed is a plain list"


@pytest.mark.parametrize("status", [403, 429])
def test_unsplash_exhaustion_is_plain_text(status: int) -> None:
    with pytest.raises(ExhaustedError):
        SOURCES["unsplash"].judge(answer(status, b"Rate Limit Exceeded"))
    with pytest.raises(ExhaustedError):
        SOURCES["unsplash"].judge(answer(status, {"errors": ["x"]}, x_ratelimit_remaining="0"))
    SOURCES["unsplash"].judge(
        answer(403, {"errors": ["forbidden"]}, x_ratelimit_remaining="31")
    )  # for the common rules


def test_unsplash_gives_up_a_flagged_query() -> None:
    with pytest.raises(QueryError) as error:
        SOURCES["unsplash"].judge(answer(410, {"errors": ["spam"]}))
    assert error.value.for_good


def test_unsplash_counters_of_a_cached_answer_are_not_believed() -> None:
    module, counters = SOURCES["unsplash"], {"x_ratelimit_limit": "5000", "x_ratelimit_remaining": "4989"}
    assert [reading.remaining for reading in module.quota(answer(200, **counters))] == [4989]
    assert [reading.remaining for reading in module.quota(answer(200, age="0", **counters))] == [4989]
    assert module.quota(answer(200, age="2356", x_cache="MISS, HIT", **counters)) == ()
    assert module.quota(answer(200)) == ()


# Pexels


def test_pexels_takes_the_original_and_never_the_cropped_sizes() -> None:
    found = candidate("pexels")
    assert [variant.name for variant in found.variants] == ["original", "large2x"]
    assert found.creator == "pexels:88120" == candidate("pexels", photographer_id=88120).creator
    assert read("pexels", src={"portrait": "https://images.pexels.com/p"}) == Dropped("30412877", "no_url")


def test_pexels_counts_pages_itself_and_never_follows_next_page() -> None:
    module, settings = SOURCES["pexels"], SETTINGS["pexels"]
    assert module.read_page(PAGES["pexels"](PEXELS), settings, "4").next_cursor == "5"
    assert module.read_page({"photos": [PEXELS], "total_results": 8000}, settings, "4").next_cursor is None
    assert module.read_page({"photos": [], "next_page": "x"}, settings, "4").next_cursor is None
    assert module.page_url(settings, "", None) == "https://api.pexels.com/v1/curated?page=1&per_page=80"
    assert module.page_url(settings, "café & bar", "2").endswith(
        "/v1/search?query=caf%C3%A9+%26+bar&page=2&per_page=80"
    )


def test_pexels_sends_the_raw_key() -> None:
    assert SOURCES["pexels"].headers("abc") == {"Authorization": "abc"}


def test_pexels_429_is_the_quota_and_html_403_is_the_edge() -> None:
    with pytest.raises(ExhaustedError):
        SOURCES["pexels"].judge(answer(429, {"error": "too many"}))
    with pytest.raises(BlockedError, match="User-Agent"):
        SOURCES["pexels"].judge(answer(403, b"<!DOCTYPE html><html>blocked", content_type="text/html"))
    SOURCES["pexels"].judge(answer(401, {"status": 401, "code": "Unauthorized"}))  # for the common rules: the key


def test_pexels_reads_the_month_from_its_headers() -> None:
    headers = {"x_ratelimit_limit": "20000", "x_ratelimit_remaining": "19740", "x_ratelimit_reset": "1790000000"}
    (reading,) = SOURCES["pexels"].quota(answer(200, **headers))
    assert (reading.window, reading.quota, reading.remaining) == ("month", 20_000, 19_740)
    assert reading.resets == datetime.fromtimestamp(1790000000, UTC)
    assert SOURCES["pexels"].quota(answer(200, **{**headers, "x_ratelimit_reset": "9" * 30}))


# CivitAI


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"type": "video"}, "not_a_still"),
        ({"type": "audio"}, "not_a_still"),
        ({"browsingLevel": 0}, "rating"),
        ({"browsingLevel": 2}, "rating"),
        ({"browsingLevel": 3}, "rating"),
        ({"browsingLevel": None}, "rating"),
        ({"meta": None, "modelVersionIds": []}, "no_evidence"),
        ({"meta": {"Size": "1x1"}, "modelVersionIds": None}, "no_evidence"),
        ({"meta": {"prompt": "  "}, "modelVersionIds": []}, "no_evidence"),
        ({"meta": {"id": 1, "meta": None}, "modelVersionIds": []}, "no_evidence"),
        ({"url": None}, "no_url"),
    ],
)
def test_civitai_leaves_out_what_is_not_surely_a_safe_generated_still(changes: dict[str, Any], why: str) -> None:
    assert read("civitai", **changes) == Dropped("118204417", why)


@pytest.mark.parametrize(
    "changes",
    [
        {"meta": {"prompt": "x"}, "modelVersionIds": []},
        {"meta": {"id": 1, "meta": {"prompt": "x"}}, "modelVersionIds": []},
        {"meta": {"civitaiResources": [{"modelVersionId": 1}]}, "modelVersionIds": []},
        {"meta": None},
    ],
)
def test_civitai_takes_any_evidence_of_generation(changes: dict[str, Any]) -> None:
    assert isinstance(read("civitai", **changes), Candidate)


def test_civitai_keeps_generator_and_post_and_trims_the_rest() -> None:
    found = candidate("civitai")
    assert found.api_data["generator"] == "Illustrious"
    assert found.api_data["post"] == "civitai:26011893"
    assert candidate("civitai", baseModel="").api_data["generator"] == "illu_v2"
    assert len(json.dumps(found.api_data)) <= MAX_API_DATA_BYTES
    assert "comfy" not in found.api_data["meta"]
    assert found.api_data["meta"]["seed"] == str(2**60), "beyond what JSON readers keep exactly"


@pytest.mark.parametrize("username", [None, "unknown", ""])
def test_civitai_users_may_be_gone(username: str | None) -> None:
    found = candidate("civitai", username=username)
    assert found.creator is None and found.attribution["photographer"] == "unknown"


def test_civitai_crawls_by_cursor_and_never_by_page() -> None:
    module, settings = SOURCES["civitai"], SETTINGS["civitai"]
    for cursor in ("feed:1785951337225:91739281", "100|1744925337225", 'bdx:{"a": 1}', None):
        query = parse_qs(urlsplit(module.page_url(settings, "Flux.1 D", cursor)).query)
        assert "page" not in query and query.get("cursor", [None]) == [cursor]
        assert query["limit"] == ["200"] and query["nsfw"] == ["None"] and query["baseModels"] == ["Flux.1 D"]
    assert module.read_page({"items": [], "metadata": {"nextCursor": "x"}}, settings, None).next_cursor == "x"
    assert module.read_page({"items": [CIVITAI], "metadata": {}}, settings, None).next_cursor is None
    assert (
        module.read_page({"items": [CIVITAI], "metadata": {"nextCursor": "y" * 9999}}, settings, None).next_cursor
        is None
    )


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (answer(400, {"message": "This cursor can no longer be continued; start again without it"}), CursorError),
        (answer(400, {"error": "Invalid cursor: expected 2 value(s)", "code": "BAD_REQUEST"}), CursorError),
        (answer(400, {"error": {"name": "ZodError", "message": "[...]"}}), QueryError),
        (answer(429, {"error": "You've requested too many pages, please use cursors instead"}), QueryError),
        (answer(451, {"error": "not available", "code": "REGION_BLOCKED"}), BlockedError),
    ],
)
def test_civitai_errors_are_told_apart(given: Answer, error: type[Exception]) -> None:
    with pytest.raises(error):
        SOURCES["civitai"].judge(given)


# Openverse


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"license": "by-nc"}, "license"),
        ({"license": "by-nd"}, "license"),
        ({"license": None}, "license"),
        ({"mature": True}, "rating"),
        ({"category": "illustration"}, "not_a_photo"),
        ({"filetype": "svg"}, "file_type"),
        ({"url": None}, "no_url"),
    ],
)
def test_openverse_takes_open_licences_only(changes: dict[str, Any], why: str) -> None:
    assert read("openverse", **changes) == Dropped("0f0e", why)


def test_openverse_keeps_each_items_licence_and_stops_at_the_depth_limit() -> None:
    assert candidate("openverse").attribution["license"] == "CC BY-SA 2.0"
    assert candidate("openverse").attribution["text"].startswith('"Tram" by Ana')
    module, settings = SOURCES["openverse"], SETTINGS["openverse"]
    assert module.read_page({"page_count": 50, "results": [OPENVERSE]}, settings, "11").next_cursor == "12"
    assert module.read_page({"page_count": 50, "results": [OPENVERSE]}, settings, "12").next_cursor is None
    assert module.cursor_after("12") is None, "240 works are all that an anonymous caller gets"


# Wikimedia Commons


def commons(**changes: Any) -> Candidate | Dropped:
    """The photograph's item, with its details changed."""
    item = copy.deepcopy(WIKIMEDIA)
    extended = changes.pop("extmetadata", {})
    item["imageinfo"][0] |= changes
    item["imageinfo"][0]["extmetadata"] |= {key: {"value": value} for key, value in extended.items()}
    return read_page("wikimedia", PAGES["wikimedia"](item)).items[0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"commonmetadata": []}, "no_camera"),
        ({"commonmetadata": None}, "no_camera"),
        ({"extmetadata": {"Categories": "Quality images|AI-generated images"}}, "generated"),
        ({"extmetadata": {"Categories": "Images generated by Midjourney"}}, "generated"),
        ({"extmetadata": {"Categories": "AI-upscaled photographs"}}, "generated"),
        ({"extmetadata": {"License": "gfdl"}}, "license"),
        ({"extmetadata": {"License": ""}}, "license"),
        ({"extmetadata": {"NonFree": "true"}}, "license"),
        ({"mime": "image/svg+xml"}, "file_type"),
        ({"url": None}, "no_url"),
    ],
)
def test_commons_photographs_have_a_camera_a_free_licence_and_no_generator(changes: dict[str, Any], why: str) -> None:
    assert commons(**changes) == Dropped("32885597", why)


def test_commons_credits_the_author_and_prefers_the_original() -> None:
    found = commons()
    assert isinstance(found, Candidate)
    assert [variant.name for variant in found.variants] == ["original", "1920px"]
    assert found.attribution["photographer"] == "Taras & r" and found.attribution["license"] == "CC BY-SA 4.0"
    assert found.created == "2026-05-20T20:55:12Z" and found.size == (3648, 2736)
    taken = commons(commonmetadata=[], extmetadata={"Categories": "Taken with Sony DSC-W30"})
    assert isinstance(taken, Candidate), "a category by camera is as good"


@pytest.mark.parametrize(
    ("category", "generator"),
    [
        ("Images generated by DALL-E 3", "DALL-E 3"),
        ("Images generated by Midjourney by subject", "Midjourney"),
        ("Animals by Flux (text-to-image model)", "Flux"),
        ("Images generated by Image Creator by Microsoft Bing", "Bing Image Creator"),
        ("Images generated by GPT Image 2", "GPT Image"),
        ("Images generated by Shiny New Model", "Shiny New Model"),
        ("AI-generated cats", None),
        ("Rocks", None),
    ],
)
def test_commons_categories_name_the_generator(category: str, generator: str | None) -> None:
    item = copy.deepcopy(WIKIMEDIA_AI)
    item["imageinfo"][0]["extmetadata"]["Categories"] = {"value": f"PD-algorithm|{category}"}
    found = read_page("wikimedia_ai", PAGES["wikimedia_ai"](item), "AI-generated images").items[0]
    assert isinstance(found, Candidate) and found.generator == generator


def test_commons_tree_is_walked_below_and_what_is_no_generated_picture_is_left_out() -> None:
    module, settings = SOURCES["wikimedia_ai"], SETTINGS["wikimedia_ai"]
    names = ["Images generated by Grok", "AI-generated images", "Google Gemini retouched pictures", "AI-generated maps"]
    pages = [{"pageid": 100 + index, "ns": 14, "title": f"Category:{name}"} for index, name in enumerate(names)]
    first = module.read_page({"query": {"pages": pages}}, settings, module.first_cursor("AI-generated images"))
    assert first.items == () and first.next_cursor is not None
    asked = parse_qs(urlsplit(module.page_url(settings, "AI-generated images", first.next_cursor)).query)
    assert asked["gcmtitle"] == ["Category:Images generated by Grok"]
    item = copy.deepcopy(WIKIMEDIA_AI)
    item["imageinfo"][0]["extmetadata"]["Categories"] = {"value": "Rocks"}
    second = module.read_page({"query": {"pages": [item]}}, settings, first.next_cursor)
    assert isinstance(second.items[0], Candidate) and second.items[0].generator == "Grok", "the category's"
    assert second.next_cursor is None, "a category is visited once, and the others are no generated pictures"
    assert module.read_page({"batchcomplete": True}, settings, first.next_cursor).next_cursor is None


def test_commons_errors_come_with_status_200() -> None:
    module = SOURCES["wikimedia"]
    with pytest.raises(TransientError) as error:
        module.judge(answer(200, {"error": {"code": "maxlag"}}, mediawiki_api_error="maxlag", retry_after="5"))
    assert error.value.of_host and error.value.retry_after == 5
    with pytest.raises(CursorError):
        module.judge(answer(200, {"error": {"code": "badcontinue", "info": "Invalid continue param."}}))
    with pytest.raises(QueryError):
        module.judge(answer(200, {"error": {"code": "invalidcategory", "info": "x"}}))
    module.judge(answer(200, {"query": {"pages": []}}))


# what all of them share


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Ana\u202egpj.exe\u202c Li", "Anagpj.exe Li"),
        ("a\nb\tc\x1b[31m\x00d\x85", "a b c [31m d"),
        ("\u200eNoor\u200f \u2066x\u2069 \ufeff", "Noor x"),
        ("Zoë 🧑\u200d🎨 कर्\u200dम", "Zoë 🧑\u200d🎨 कर्\u200dम"),
        ("\ud800", "?"),
    ],
)
def test_names_hold_nothing_that_changes_how_others_are_shown(given: str, shown: str) -> None:
    assert plain_text(given) == shown
    assert candidate("pexels", photographer=given).attribution["photographer"] == shown


def test_the_same_picture_has_the_same_canonical_url() -> None:
    first = canonical_url("https://images.unsplash.com/photo-1?ixid=A&w=10&q=80#x")
    assert first == canonical_url("https://IMAGES.unsplash.com/photo-1?q=80&w=10&ixid=B&ixlib=rb")
    assert first != canonical_url("https://images.unsplash.com/photo-1?q=80&w=11")


def test_texts_are_cleaned_for_any_reader() -> None:
    dirty = {"a": "x\x00y\ud800", "b": float("nan"), "c": 2**63, "d": [float("inf"), True, None], 5: "k"}
    assert clean(dirty) == {"a": "xy?", "b": None, "c": str(2**63), "d": [None, True, None], "5": "k"}
