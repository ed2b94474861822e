"""Openverse: openly licensed photographs, with each item's own licence. Needs no key: 20 calls a minute, 200 a day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scrapers.candidate import Candidate, Dropped, Page, Variant, size_or_none, text_or_none, trimmed
from scrapers.errors import QueryError
from scrapers.http.response import Answer
from scrapers.sources.source import (
    Defaults,
    ExhaustedError,
    PayloadError,
    api_url,
    as_object,
    page_after,
    page_number,
    read_items,
)
from utils.config.sources import Source
from utils.metadata import Label

PAGE_SIZE = 20  # an anonymous caller's most
LAST_PAGE = 12  # an anonymous caller's depth limit is 240 works
LICENSES = {"cc0": "CC0", "pdm": "Public Domain Mark", "by": "CC BY", "by-sa": "CC BY-SA"}
TERMS_URL = "https://docs.openverse.org/terms_of_service.html"


class Openverse(Defaults):
    name = "openverse"
    label: Label = "real"
    rules = 2

    def headers(self, key: str | None) -> Mapping[str, str]:
        return {}

    def page_url(self, settings: Source, query: str, cursor: str | None) -> str:
        wanted = {"q": query or "photograph", "license": ",".join(LICENSES), "category": "photograph"}
        paging = {"page": page_number(cursor), "page_size": PAGE_SIZE, "mature": "false"}
        return api_url(settings, "/v1/images/", {**wanted, **paging})

    def judge(self, answer: Answer) -> None:
        # without Retry-After it is the day's limit; with it, the common rules wait as long as it says
        if answer.status == 429 and "retry-after" not in answer.headers and not answer.is_challenge():
            raise ExhaustedError("day")
        if answer.status in (400, 404, 422):
            raise QueryError(f"refused by Openverse (HTTP {answer.status}): {answer.shown()}")

    def read_page(self, payload: Any, settings: Source, cursor: str | None) -> Page:
        found = payload.get("results") if isinstance(payload, dict) else None
        if not isinstance(found, list):
            raise PayloadError("Openverse: no list of results")
        items, nameless = read_items(found, _read_item)
        page, pages = page_number(cursor), payload.get("page_count")
        more = bool(found) and page < min(LAST_PAGE, pages if isinstance(pages, int) else LAST_PAGE)
        return Page(items, page_after(cursor) if more else None, nameless)

    def cursor_after(self, cursor: str | None) -> str | None:
        return page_after(cursor) if page_number(cursor) < LAST_PAGE else None


def _read_item(item: Any) -> Candidate | Dropped | None:
    item = as_object(item)
    item_id, url = text_or_none(item.get("id")), item.get("url")
    if item_id is None:
        return None
    license_code = (text_or_none(item.get("license")) or "").lower()
    if license_code not in LICENSES:
        return Dropped(item_id, "license")
    if item.get("mature") is True:
        return Dropped(item_id, "rating")
    if item.get("category") not in (None, "photograph"):
        return Dropped(item_id, "not_a_photo")
    if text_or_none(item.get("filetype")) in ("svg", "gif", "tif", "tiff"):
        return Dropped(item_id, "file_type")
    if not isinstance(url, str):
        return Dropped(item_id, "no_url")
    provider = text_or_none(item.get("source")) or text_or_none(item.get("provider")) or "unknown"
    creator_name = text_or_none(item.get("creator"))
    creator_key = text_or_none(item.get("creator_url")) or creator_name
    creator = f"openverse:{provider}:{creator_key}" if creator_key else None
    version = text_or_none(item.get("license_version"))
    return Candidate(
        source_id=item_id,
        variants=(Variant("original", url),),
        creator=creator,
        size=size_or_none(item.get("width"), item.get("height")),
        attribution={
            "platform": f"Openverse ({provider})",
            "photographer": creator_name or "unknown",
            "license": " ".join(part for part in (LICENSES[license_code], version) if part),
            "license_url": text_or_none(item.get("license_url")),
            "terms_url": TERMS_URL,
            "url": text_or_none(item.get("foreign_landing_url")),
            "photographer_url": text_or_none(item.get("creator_url")),
            "text": text_or_none(item.get("attribution")),
        },
        api_data=trimmed(
            {
                "id": item_id,
                "creator": creator,
                **{
                    key: item.get(key)
                    for key in ("title", "provider", "source", "filetype", "filesize", "width", "height")
                },
            },
            droppable=("title",),
        ),
    )


SOURCE = Openverse()
