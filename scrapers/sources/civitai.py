"""CivitAI: generated pictures. Cursors of two generations, no quota headers, items that are not what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scrapers.candidate import Candidate, Dropped, Page, Variant, size_or_none, text_or_none, trimmed
from scrapers.errors import BlockedError, CursorError, QueryError
from scrapers.http.response import Answer
from scrapers.sources.source import Defaults, PayloadError, api_url, as_object, read_items
from utils.config.sources import Source
from utils.metadata import Label

PAGE_SIZE = 200  # the API's most; more is an error, not a clamp
TERMS_URL = "https://civitai.com/content/tos"
SAFE_LEVEL = 1  # PG: browsingLevel is a bit mask, 0 is unrated
MAX_CURSOR = 2_000
UNKNOWN_USERS = frozenset({"unknown", "[deleted]"})
META_KEYS = ("prompt", "negativePrompt", "seed", "steps", "sampler", "cfgScale", "Size", "Model", "Version", "engine")


class Civitai(Defaults):
    name = "civitai"
    label: Label = "ai_generated"
    tells_time = True

    def headers(self, key: str | None) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def page_url(self, settings: Source, query: str, cursor: str | None) -> str:
        # `page` is never sent: outside of a few look-ups it returns the first page again and again
        wanted = {"type": "image", "sort": "Newest", "period": "AllTime", "limit": PAGE_SIZE, "nsfw": "None"}
        extra = {"withMeta": "true", "flatMeta": "true", "baseModels": query or None, "cursor": cursor}
        return api_url(settings, "/api/v1/images", {**wanted, **extra})

    def judge(self, answer: Answer) -> None:
        said = answer.shown()
        if answer.status == 429 and "too many pages" in said:
            raise QueryError(f"CivitAI wants a cursor: {said}")
        if answer.status == 451:
            raise BlockedError("region", f"CivitAI does not serve this region (HTTP 451): {said}")
        if answer.status == 400 and "cursor" in said.lower():
            raise CursorError(f"CivitAI cannot go on with this cursor: {said}")
        if answer.status in (400, 404):
            raise QueryError(f"refused by CivitAI (HTTP {answer.status}): {said}", for_good=answer.status == 400)

    def read_page(self, payload: Any, settings: Source, cursor: str | None) -> Page:
        found = payload.get("items") if isinstance(payload, dict) else None
        if not isinstance(found, list):
            raise PayloadError("CivitAI: no list of items")
        items, nameless = read_items(found, _read_item)
        # a page may be short or empty and still have a next one; nextPage may hold a token and is not used
        return Page(items, _read_cursor(as_object(payload.get("metadata")).get("nextCursor")), nameless)


def _read_cursor(value: Any) -> str | None:
    """Opaque, but a text (older ones: a number) that fits into a URL; anything else ends the crawl."""
    cursor = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    return cursor if 0 < len(cursor) <= MAX_CURSOR and cursor.isprintable() else None


def _read_item(item: Any) -> Candidate | Dropped | None:
    item = as_object(item)
    item_id, url = text_or_none(item.get("id")), item.get("url")
    if item_id is None:
        return None
    if item.get("type") not in (None, "image"):
        return Dropped(item_id, "not_a_still")
    if item.get("browsingLevel") != SAFE_LEVEL:
        return Dropped(item_id, "rating")
    meta = _unwrap(item.get("meta"))
    if not _has_evidence(item, meta):
        return Dropped(item_id, "no_evidence")
    if not isinstance(url, str):
        return Dropped(item_id, "no_url")
    username, post = text_or_none(item.get("username")), text_or_none(item.get("postId"))
    known = username is not None and username.lower() not in UNKNOWN_USERS
    creator = f"civitai:{username}" if known else None
    page = f"https://civitai.com/images/{item_id}"
    return Candidate(
        source_id=item_id,
        variants=(Variant("original", url),),
        creator=creator,
        created=text_or_none(item.get("createdAt")),
        size=size_or_none(item.get("width"), item.get("height")),
        attribution={
            "platform": "CivitAI",
            "photographer": username if known else "unknown",
            "license": "CivitAI user content",
            "license_url": TERMS_URL,
            "terms_url": TERMS_URL,
            "url": page,
            "photographer_url": f"https://civitai.com/user/{username}" if known else None,
        },
        api_data=trimmed(
            {
                "id": item_id,
                "creator": creator,
                "post": f"civitai:{post}" if post else None,
                "generator": _name_generator(item, meta),
                **{key: item.get(key) for key in ("width", "height", "createdAt", "baseModel", "browsingLevel")},
                "modelVersionIds": _numbers(item.get("modelVersionIds")),
                "meta": {key: meta[key] for key in META_KEYS if key in meta},
            },
            droppable=("modelVersionIds", "meta"),
        ),
    )


def _unwrap(meta: Any) -> dict[str, Any]:
    """`meta` is flat, or {"id", "meta"} on another path of the site; either may be null."""
    meta = as_object(meta)
    return as_object(meta["meta"]) if set(meta) == {"id", "meta"} else meta


def _has_evidence(item: Mapping[str, Any], meta: Mapping[str, Any]) -> bool:
    """The site's own test for "made with a generator", and linked models; photos and screenshots fail it."""
    prompt = meta.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return True
    resources = meta.get("civitaiResources")
    return bool(isinstance(resources, list) and resources) or bool(_numbers(item.get("modelVersionIds")))


def _name_generator(item: Mapping[str, Any], meta: Mapping[str, Any]) -> str | None:
    """The base model's family; where it is missing, the checkpoint's name."""
    named = (item.get("baseModel"), meta.get("baseModel"), meta.get("Model"), meta.get("engine"))
    return next((text for value in named if (text := text_or_none(value))), None)


def _numbers(value: Any) -> list[int]:
    found = value if isinstance(value, list) else []
    return [number for number in found if isinstance(number, int) and not isinstance(number, bool)][:50]


SOURCE = Civitai()
