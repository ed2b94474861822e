"""Pexels: photographs. 200 calls an hour, which no header tells, and 20,000 a month, which the headers do tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from scrapers.candidate import Candidate, Dropped, Page, Variant, size_or_none, text_or_none, trimmed
from scrapers.errors import BlockedError, QueryError
from scrapers.http.response import Answer
from scrapers.limits.budget import QuotaReading
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

PAGE_SIZE = 80  # the API's most
LICENSE_URL = "https://www.pexels.com/license/"
TERMS_URL = "https://www.pexels.com/terms-of-service/"


class Pexels(Defaults):
    name = "pexels"
    label: Label = "real"
    default_hourly: int | None = 200

    def headers(self, key: str | None) -> Mapping[str, str]:
        return {"Authorization": key or ""}  # the raw key, no scheme

    def page_url(self, settings: Source, query: str, cursor: str | None) -> str:
        # next_page is never followed: only its page number is new in it
        page = {"page": page_number(cursor), "per_page": PAGE_SIZE}
        if not query:
            return api_url(settings, "/v1/curated", page)
        return api_url(settings, "/v1/search", {"query": query, **page})

    def judge(self, answer: Answer) -> None:
        if answer.status == 429 and not answer.is_challenge():
            raise ExhaustedError("hour")  # carries no header: the month is known from earlier answers
        if answer.status in (401, 403) and answer.is_html():
            raise BlockedError(
                "edge", f"blocked by Pexels' edge (HTTP {answer.status}, HTML), not by the key: check User-Agent"
            )
        if answer.status in (400, 404):
            raise QueryError(f"refused by Pexels (HTTP {answer.status}): {answer.shown()}")

    def quota(self, answer: Answer) -> Sequence[QuotaReading]:
        limit, remaining = answer.int_header("x-ratelimit-limit"), answer.int_header("x-ratelimit-remaining")
        resets = answer.int_header("x-ratelimit-reset")
        if limit is None or remaining is None or resets is None or not answer.is_fresh():
            return ()
        return (QuotaReading("month", limit, remaining, datetime.fromtimestamp(min(max(resets, 0), 2**33), UTC)),)

    def read_page(self, payload: Any, settings: Source, cursor: str | None) -> Page:
        photos = payload.get("photos") if isinstance(payload, dict) else None
        if not isinstance(photos, list):
            raise PayloadError("Pexels: no list of photos")
        items, nameless = read_items(photos, _read_photo)
        # total_results is capped and inexact; on the last page next_page is missing
        more = bool(photos) and bool(payload.get("next_page"))
        return Page(items, page_after(cursor) if more else None, nameless)

    def cursor_after(self, cursor: str | None) -> str | None:
        return page_after(cursor)


def _read_photo(photo: Any) -> Candidate | Dropped | None:
    photo = as_object(photo)
    photo_id, src = text_or_none(photo.get("id")), as_object(photo.get("src"))
    if photo_id is None:
        return None
    # the cropped sizes are never used: they share exact dimensions, which a detector would learn
    variants = tuple(Variant(name, src[name]) for name in ("original", "large2x") if isinstance(src.get(name), str))
    if not variants:
        return Dropped(photo_id, "no_url")
    photographer_id = text_or_none(photo.get("photographer_id"))
    creator = f"pexels:{photographer_id}" if photographer_id else None
    return Candidate(
        source_id=photo_id,
        variants=variants,
        creator=creator,
        size=size_or_none(photo.get("width"), photo.get("height")),
        attribution={
            "platform": "Pexels",
            "photographer": text_or_none(photo.get("photographer")) or "unknown",
            "license": "Pexels License",
            "license_url": LICENSE_URL,
            "terms_url": TERMS_URL,
            "url": text_or_none(photo.get("url")) or f"https://www.pexels.com/photo/{photo_id}/",
            "photographer_url": text_or_none(photo.get("photographer_url")),
        },
        api_data=trimmed(
            {
                "id": photo_id,
                "creator": creator,
                **{key: photo.get(key) for key in ("width", "height", "avg_color", "alt")},
            },
            droppable=("alt",),
        ),
    )


SOURCE = Pexels()
