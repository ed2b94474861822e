from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Call = Callable[..., httpx.Response]
IMAGES = "/api/v1/images"


def crawl(call: Call, limit: int = 7, most: int = 60, **parameters: Any) -> list[dict[str, Any]]:
    """The pages from the first to the one without a next cursor, or `most` of them."""
    pages: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while len(pages) < most:
        pages.append(call("civitai", IMAGES, limit=limit, sort="Newest", **cursor, **parameters).json())
        if "nextCursor" not in pages[-1]["metadata"]:
            break
        cursor = {"cursor": pages[-1]["metadata"]["nextCursor"]}
    return pages


def ids(pages: list[dict[str, Any]]) -> list[int]:
    return [item["id"] for page in pages for item in page["items"]]


@pytest.mark.parametrize("generation", ["old", "new"])
def test_a_crawl_sees_every_picture_once_and_ends_with_empty_metadata(
    call: Call, set_sandbox: Callable[..., None], generation: str
) -> None:
    set_sandbox(civitai={"generation": generation})
    pages = crawl(call)
    assert len(ids(pages)) == len(set(ids(pages))) == 30
    assert ids(pages) == sorted(ids(pages), reverse=True)
    assert pages[-1]["metadata"] == {}
    assert pages[0]["metadata"]["nextCursor"].startswith("feed:" if generation == "new" else "7|")


def test_offset_cursors_repeat_items_when_new_ones_arrive(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(civitai={"generation": "old", "shifting_feed": 4})
    seen = ids(crawl(call))
    assert len(seen) > len(set(seen))


@pytest.mark.parametrize("generation", ["old", "new"])
def test_short_and_empty_pages_have_a_next_cursor(
    call: Call, set_sandbox: Callable[..., None], generation: str
) -> None:
    set_sandbox(civitai={"generation": generation, "short_pages": True, "empty_pages": True})
    pages = crawl(call, limit=10)
    sizes = [len(page["items"]) for page in pages]
    assert sizes == [0, 5] * 6
    assert len(set(ids(pages))) == 30


def test_page_is_ignored_but_advances_the_link_until_it_is_refused(call: Call) -> None:
    first, third = call("civitai", IMAGES, limit=10, page=1).json(), call("civitai", IMAGES, limit=10, page=3).json()
    assert first["items"] == third["items"]
    assert "page=4" in third["metadata"]["nextPage"]
    assert (third["metadata"]["currentPage"], third["metadata"]["pageSize"]) == (3, 10)
    refused = call("civitai", IMAGES, limit=200, page=6)
    assert (refused.status_code, "use cursors instead" in refused.json()["error"]) == (429, True)


def test_cursors_that_cannot_be_continued(call: Call, set_sandbox: Callable[..., None]) -> None:
    cursor = crawl(call, most=1)[0]["metadata"]["nextCursor"]
    other = call("civitai", IMAGES, limit=7, sort="Newest", type="image", cursor=cursor)
    assert (other.status_code, other.json()["message"]) == (400, "This cursor cannot be continued with these filters")
    garbage = call("civitai", IMAGES, cursor="feed:x")
    assert (garbage.status_code, "start again" in garbage.json()["message"]) == (400, True)
    set_sandbox(civitai={"generation": "old"})
    assert (
        call("civitai", IMAGES, limit=7, cursor="garbage").json()["items"]
        == call("civitai", IMAGES, limit=7).json()["items"]
    )


def test_a_cursor_expires_once(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(civitai={"expire_cursor_at_page": 3})
    answers = []
    cursor = ""
    for _ in range(2):
        page = call("civitai", IMAGES, limit=7, sort="Newest", **({"cursor": cursor} if cursor else {}))
        answers.append(page.status_code)
        cursor = page.json()["metadata"]["nextCursor"]
    answers += [call("civitai", IMAGES, limit=7, sort="Newest", cursor=cursor).status_code for _ in range(2)]
    assert answers == [200, 200, 400, 200]


@pytest.mark.parametrize("generation", ["old", "new"])
def test_a_cursor_cycle_never_ends(call: Call, set_sandbox: Callable[..., None], generation: str) -> None:
    set_sandbox(civitai={"generation": generation, "cursor_cycle_pages": 3})
    cursors = [page["metadata"]["nextCursor"] for page in crawl(call, most=9)]
    assert len(cursors) == 9
    assert len(set(cursors)) == 2


def test_foreign_items_and_what_their_urls_serve(
    call: Call, http: httpx.Client, set_sandbox: Callable[..., None]
) -> None:
    set_sandbox(civitai={"foreign_items": True})
    pages = crawl(call, limit=200, withMeta="true", nsfw="X")
    items = [item for page in pages for item in page["items"]]
    assert {item["type"] for item in items} == {"image", "video", "audio"}
    heads = {http.get(item["url"]).content[:8] for item in items if item["type"] == "image"}
    assert any(head.startswith(b"GIF8") for head in heads)
    assert any(head[4:8] == b"ftyp" for head in heads)
    assert [item["browsingLevel"] for item in items if item["browsingLevel"] != 1] == [8]
    metas = [item["meta"] for item in items]
    assert None in metas
    assert any(meta and not meta.get("prompt") for meta in metas)
    assert max(len(meta.get("comfy", "")) for meta in metas if meta) > 500_000
    assert {item["type"] for page in crawl(call, limit=200, type="image") for item in page["items"]} == {"image"}


def test_originals_are_the_bytes_whatever_url_and_content_type_say(
    call: Call, http: httpx.Client, set_sandbox: Callable[..., None]
) -> None:
    items = [item for page in crawl(call, limit=200) for item in page["items"]]
    answers = [http.get(item["url"]) for item in items]
    assert all(item["url"].endswith(".jpeg") for item in items)
    kinds = {(answer.content[:4], answer.headers["content-type"]) for answer in answers}
    assert (b"\x89PNG", "text/plain") in kinds or (b"\x89PNG", "application/octet-stream") in kinds
    small = http.get(items[0]["url"].replace("original=true", "width=64"))
    assert (small.headers["content-type"], small.content[:2]) == ("image/jpeg", b"\xff\xd8")


def test_generators_come_from_folder_or_file_name(call: Call) -> None:
    items = [item for page in crawl(call, withMeta="true") for item in page["items"]]
    assert {item["baseModel"] for item in items} == {"FLUX.1", "z image turbo"}
    assert all(item["meta"]["Model"] == item["baseModel"] and item["meta"]["prompt"] for item in items)
    only = crawl(call, baseModels="FLUX.1")
    assert {item["baseModel"] for page in only for item in page["items"]} == {"FLUX.1"}


def test_meta_is_null_unless_asked_for_and_may_be_wrapped(call: Call, set_sandbox: Callable[..., None]) -> None:
    assert {item["meta"] for page in crawl(call) for item in page["items"]} == {None}
    set_sandbox(civitai={"wrapped_meta": True})
    wrapped = call("civitai", IMAGES, limit=1, withMeta="true").json()["items"][0]
    assert set(wrapped["meta"]) == {"id", "meta"}
    flat = call("civitai", IMAGES, limit=1, withMeta="true", flatMeta="yes").json()["items"][0]
    assert flat["meta"] == wrapped["meta"]["meta"]


def test_odd_items(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(civitai={"odd_items": True})
    items = [item for page in crawl(call, withMeta="true") for item in page["items"]]
    assert None in {item["hash"] for item in items}
    assert None in {item["username"] for item in items}
    assert any("baseModel" not in item for item in items)
    assert 0 in {item["browsingLevel"] for item in items}
    assert [] in [item["modelVersionIds"] for item in items]
    assert max(item["meta"]["seed"] for item in items) > 2**53


@pytest.mark.parametrize(
    "parameters",
    [{"limit": 500}, {"limit": "many"}, {"sort": "newest"}, {"withMeta": "maybe"}, {"type": "photo"}, {"nsfw": "bad"}],
)
def test_bad_parameters_give_an_error_object_whose_message_is_json(call: Call, parameters: dict[str, Any]) -> None:
    answer = call("civitai", IMAGES, **parameters)
    error = answer.json()["error"]
    assert (answer.status_code, error["name"]) == (400, "ZodError")
    assert json.loads(error["message"])[0]["path"] == list(parameters)


def test_an_anonymous_answer_is_repeated_from_cache_and_a_wrong_key_is_anonymous(
    call: Call, http: httpx.Client, set_sandbox: Callable[..., None]
) -> None:
    set_sandbox(civitai={"anonymous_cache_seconds": 300, "shifting_feed": 5})
    anonymous = [http.get(f"/civitai{IMAGES}?limit=2&sort=Newest").json() for _ in range(2)]
    wrong = http.get(f"/civitai{IMAGES}?limit=2&sort=Newest", headers={"authorization": "Bearer other"})
    assert anonymous[0] == anonymous[1] == wrong.json()
    assert call("civitai", IMAGES, limit=2, sort="Newest").json() != anonymous[0]


def test_region_block_and_challenge(call: Call, set_sandbox: Callable[..., None]) -> None:
    set_sandbox(civitai={"region_blocked": True})
    blocked = call("civitai", IMAGES)
    assert (blocked.status_code, blocked.json()["code"]) == (451, "REGION_BLOCKED")
    set_sandbox(civitai={"region_blocked": False, "challenge": True})
    challenged = call("civitai", IMAGES)
    assert (challenged.status_code, challenged.headers["cf-mitigated"]) == (403, "challenge")
    assert "_cf_chl_opt" in challenged.text
