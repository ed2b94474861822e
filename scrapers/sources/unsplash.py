"""Unsplash: photographs. 50 calls an hour for a demo application, 5,000 for a production one; each use is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from scrapers.candidate import Candidate, Dropped, Page, Variant, size_or_none, text_or_none, trimmed
from scrapers.errors import QueryError
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

PAGE_SIZE = 30  # the API's most; larger values are clamped silently
CREDIT = {"utm_source": "exposr_trainer", "utm_medium": "referral"}  # the API guidelines ask for it on every link
LICENSE_URL = "https://unsplash.com/license"
TERMS_URL = "https://unsplash.com/api-terms"
RENDER_TOPICS = frozenset({"3d-renders", "3d"})
SMALLER = {"w": "2400", "fit": "max", "fm": "jpg", "q": "95"}  # when the original is beyond our limits; never enlarges


class Unsplash(Defaults):
    name = "unsplash"
    label: Label = "real"
    tells_time = True
    default_hourly: int | None = 50

    def headers(self, key: str | None) -> Mapping[str, str]:
        return {"Authorization": f"Client-ID {key}", "Accept-Version": "v1"}

    def page_url(self, settings: Source, query: str, cursor: str | None) -> str:
        page = page_number(cursor)
        if not query:
            return api_url(settings, "/photos", {"page": page, "per_page": PAGE_SIZE})
        wanted = {"query": query, "page": page, "per_page": PAGE_SIZE, "order_by": "latest", "content_filter": "high"}
        return api_url(settings, "/search/photos", wanted)

    def judge(self, answer: Answer) -> None:
        # exhaustion is plain text; the vendor once said 429 for it
        used_up = answer.body[:64].decode("utf-8", "replace").strip().lower().startswith("rate limit exceeded")
        if answer.status in (403, 429) and (used_up or answer.headers.get("x-ratelimit-remaining") == "0"):
            raise ExhaustedError("hour")
        if answer.status == 410:
            raise QueryError(f"flagged by Unsplash: {answer.shown()}", for_good=True)
        if answer.status in (400, 404, 422):
            raise QueryError(f"refused by Unsplash (HTTP {answer.status}): {answer.shown()}")

    def quota(self, answer: Answer) -> Sequence[QuotaReading]:
        limit, remaining = answer.int_header("x-ratelimit-limit"), answer.int_header("x-ratelimit-remaining")
        if limit is None or remaining is None or not answer.is_fresh():
            return ()
        return (QuotaReading("hour", limit, remaining),)

    def read_page(self, payload: Any, settings: Source, cursor: str | None) -> Page:
        photos = payload.get("results") if isinstance(payload, dict) else payload
        if not isinstance(photos, list):
            raise PayloadError("Unsplash: neither a list of photos nor an object with results")
        items, nameless = read_items(photos, lambda photo: _read_photo(photo, settings))
        # total_pages is capped, inexact and 0 on deep pages: only an empty page is the end
        return Page(items, page_after(cursor) if photos else None, nameless)

    def cursor_after(self, cursor: str | None) -> str | None:
        return page_after(cursor)


def _read_photo(photo: Any, settings: Source) -> Candidate | Dropped | None:
    photo = as_object(photo)
    photo_id, raw = text_or_none(photo.get("id")), as_object(photo.get("urls")).get("raw")
    if photo_id is None:
        return None
    if photo.get("asset_type") not in (None, "photo"):
        return Dropped(photo_id, "not_a_photo")
    if not isinstance(raw, str):
        return Dropped(photo_id, "no_url")
    if photo.get("premium") or photo.get("plus") or "//plus.unsplash.com/" in raw:
        return Dropped(photo_id, "watermarked")
    if RENDER_TOPICS & set(as_object(photo.get("topic_submissions"))):
        return Dropped(photo_id, "render")
    if photo.get("sponsorship") is not None:
        return Dropped(photo_id, "sponsored")
    user, links = as_object(photo.get("user")), as_object(photo.get("links"))
    user_id = text_or_none(user.get("id")) or text_or_none(user.get("username"))
    creator = f"unsplash:{user_id}" if user_id else None
    track = links.get("download_location")
    return Candidate(
        source_id=photo_id,
        variants=(Variant("raw", raw), Variant("raw&" + urlencode(SMALLER), _with(raw, SMALLER))),
        creator=creator,
        created=text_or_none(photo.get("created_at")),
        size=size_or_none(photo.get("width"), photo.get("height")),
        track_url=track if isinstance(track, str) else api_url(settings, f"/photos/{photo_id}/download", {}),
        attribution={
            "platform": "Unsplash",
            "photographer": text_or_none(user.get("name")) or text_or_none(user.get("username")) or "unknown",
            "license": "Unsplash License",
            "license_url": LICENSE_URL,
            "terms_url": TERMS_URL,
            "url": _credited(links.get("html")) or f"https://unsplash.com/photos/{photo_id}",
            "photographer_url": _credited(as_object(user.get("links")).get("html")),
        },
        api_data=trimmed(
            {
                "id": photo_id,
                "creator": creator,
                **{key: photo.get(key) for key in ("slug", "created_at", "width", "height", "color", "blur_hash")},
                **{key: photo.get(key) for key in ("description", "alt_description", "asset_type")},
                "exif": as_object(photo.get("exif")) or None,
            },
            droppable=("description", "alt_description", "exif"),
        ),
    )


def _with(url: str, parameters: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def _credited(url: Any) -> str | None:
    return _with(url, CREDIT) if isinstance(url, str) and url else None


SOURCE = Unsplash()
