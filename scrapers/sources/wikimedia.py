"""Wikimedia Commons: photographs by quality or camera, and its tree of generated pictures. Each with its own licence.

Queries are names of categories. Commons asks for one request at a time, a contact, and patience when it lags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

from scrapers.candidate import Candidate, Dropped, Page, Variant, plain_text, size_or_none, text_or_none, trimmed
from scrapers.errors import CursorError, QueryError, TransientError
from scrapers.http.response import Answer
from scrapers.http.retry import parse_retry_after
from scrapers.sources.category_tree import Place, name_generator, shows_generator, shows_modified
from scrapers.sources.source import Defaults, PayloadError, api_url, as_object, read_items
from utils.config.sources import Source
from utils.metadata import Label

PAGE_SIZE = 50  # as many as come with their details in one answer
PREVIEW_WIDTH = 1920  # one of the widths that Commons keeps ready; others are refused
LAG_SECONDS = 5  # its servers refuse politely while they lag more than this behind each other
FILES, CATEGORIES = 6, 14  # namespaces
FILE_TYPES = frozenset({"image/jpeg", "image/png", "image/webp"})
LICENSES = ("cc0", "cc-zero", "pd", "cc-by-", "cc-by-sa-")
BUSY = frozenset({"maxlag", "ratelimited", "readonly"})
TERMS_URL = "https://commons.wikimedia.org/wiki/Commons:Reusing_content_outside_Wikimedia"
USER_PAGE = "https://commons.wikimedia.org/wiki/User:"
DETAILS = "url|size|mime|sha1|user|timestamp|extmetadata|commonmetadata"
EXTENDED = "Artist|License|LicenseShortName|LicenseUrl|Categories|NonFree|DateTimeOriginal"


class Wikimedia(Defaults):
    """`photographs`: files of one category, with a camera's traces. Else: a tree of generated pictures."""

    tells_time = True

    def __init__(self, name: str, label: Label, root: str) -> None:
        self.name = name
        self.label = label
        self._root = root
        self._photographs = self.newest_first = label == "real"

    def headers(self, key: str | None) -> Mapping[str, str]:
        return {}

    def page_url(self, settings: Source, query: str, cursor: str | None) -> str:
        place = Place.read(cursor) or Place.start(query or self._root)
        wanted = {
            "action": "query",
            "format": "json",
            "formatversion": 2,
            "maxlag": LAG_SECONDS,
            "generator": "categorymembers",
            "gcmtitle": f"Category:{place.category}",
            # sorted by time, Commons ignores the type of members, but not their namespace
            "gcmtype": None if self._photographs else "file|subcat",
            "gcmnamespace": FILES if self._photographs else None,
            "gcmsort": "timestamp" if self._photographs else None,
            "gcmdir": "older" if self._photographs else None,
            "gcmlimit": PAGE_SIZE,
            "gcmcontinue": place.continues,
            "prop": "imageinfo",
            "iiprop": DETAILS,
            "iiextmetadatafilter": EXTENDED,
            "iiurlwidth": PREVIEW_WIDTH,
        }
        return api_url(settings, "/w/api.php", wanted)

    def judge(self, answer: Answer) -> None:
        code = answer.headers.get("mediawiki-api-error") or _error_code(answer)
        if code in BUSY:
            wait = parse_retry_after(answer.headers.get("retry-after"), answer.received)
            raise TransientError(str(code), f"Commons is busy ({code}): {answer.shown()}", wait, of_host=True)
        if code == "badcontinue":
            raise CursorError(f"Commons cannot go on with this cursor: {answer.shown()}")
        if code is not None:
            raise QueryError(f"refused by Commons ({code}): {answer.shown()}")

    def first_cursor(self, query: str) -> str | None:
        return Place.start(query or self._root).as_cursor()

    def read_page(self, payload: Any, settings: Source, cursor: str | None) -> Page:
        if not isinstance(payload, dict):
            raise PayloadError("Wikimedia Commons: no object")
        query = payload.get("query")
        found = as_object(query).get("pages", [])  # a category without members has no query at all
        if (query is not None and not isinstance(query, dict)) or not isinstance(found, list):
            raise PayloadError("Wikimedia Commons: no list of pages")
        place = Place.read(cursor)
        if place is None:
            raise PayloadError("Wikimedia Commons: a page of no category")
        files = [page for page in found if as_object(page).get("ns") != CATEGORIES]
        below = [] if self._photographs else [page for page in found if as_object(page).get("ns") == CATEGORIES]
        titles = [text_or_none(page.get("title")) for page in below]
        items, nameless = read_items(files, lambda page: self._read_file(page, place), id_key="pageid")
        more = text_or_none(as_object(payload.get("continue")).get("gcmcontinue"))
        return Page(items, place.following(titles, more), nameless)

    def cursor_after(self, cursor: str | None) -> str | None:
        place = None if self._photographs else Place.read(cursor)
        return place.following((), None) if place else None

    def _read_file(self, page: Any, place: Place) -> Candidate | Dropped | None:
        page = as_object(page)
        page_id = text_or_none(page.get("pageid"))
        if page_id is None:
            return None
        infos = page.get("imageinfo")
        info = as_object(infos[0]) if isinstance(infos, list) and infos else {}
        about = {key: _value(entry) for key, entry in as_object(info.get("extmetadata")).items()}
        categories = (about.get("Categories") or "").split("|")
        url = info.get("url")
        if not isinstance(url, str):
            return Dropped(page_id, "no_url")
        if info.get("mime") not in FILE_TYPES:
            return Dropped(page_id, "file_type")
        if about.get("NonFree") or not (about.get("License") or "").lower().startswith(LICENSES):
            return Dropped(page_id, "license")
        if why := self._mislabels(info, categories):
            return Dropped(page_id, why)
        generator = None if self._photographs else name_generator(categories) or place.generator
        return self._describe(page_id, page, info, about, generator)

    def _mislabels(self, info: Mapping[str, Any], categories: Sequence[str]) -> str | None:
        """Why a file is not significantly what its category says."""
        if not self._photographs:
            return "modified" if any(map(shows_modified, categories)) else None
        if any(map(shows_generator, categories)) or any(map(shows_modified, categories)):
            return "generated"
        traces = info.get("commonmetadata")
        names = {as_object(entry).get("name") for entry in traces} if isinstance(traces, list) else set()
        taken = any(category.startswith("Taken with ") for category in categories)
        return None if taken or names & {"Make", "Model"} else "no_camera"

    def _describe(
        self,
        page_id: str,
        page: Mapping[str, Any],
        info: Mapping[str, Any],
        about: Mapping[str, str],
        generator: str | None,
    ) -> Candidate:
        url, smaller = str(info["url"]), info.get("thumburl")
        user = text_or_none(info.get("user"))
        creator = f"{self.name}:{user}" if user else None
        described = text_or_none(info.get("descriptionurl"))
        variants = [Variant("original", url)]
        if isinstance(smaller, str) and smaller != url:
            variants.append(Variant(f"{PREVIEW_WIDTH}px", smaller))
        return Candidate(
            source_id=page_id,
            variants=tuple(variants),
            creator=creator,
            created=text_or_none(info.get("timestamp")),
            size=size_or_none(info.get("width"), info.get("height")),
            attribution={
                "platform": "Wikimedia Commons",
                "photographer": without_markup(about.get("Artist") or "") or user or "unknown",
                "license": text_or_none(about.get("LicenseShortName")) or "see the file's page",
                "license_url": text_or_none(about.get("LicenseUrl")) or described,
                "terms_url": TERMS_URL,
                "url": described or f"https://commons.wikimedia.org/?curid={page_id}",
                "photographer_url": f"https://commons.wikimedia.org/wiki/User:{user.replace(' ', '_')}"
                if user
                else None,
            },
            api_data=trimmed(
                {
                    "id": page_id,
                    "creator": creator,
                    "generator": generator,
                    **{key: info.get(key) for key in ("width", "height", "sha1", "timestamp", "mime")},
                    "title": page.get("title"),
                    "categories": (about.get("Categories") or "").split("|"),
                },
                droppable=("categories",),
            ),
        )


def _error_code(answer: Answer) -> str | None:
    """Errors come with status 200."""
    if b'"error"' not in answer.body[:4096]:
        return None
    payload = answer.json()
    return text_or_none(as_object(as_object(payload).get("error")).get("code")) if isinstance(payload, dict) else None


def _value(entry: Any) -> str:
    value = as_object(entry).get("value")
    return value if isinstance(value, str) else ""


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def without_markup(html: str) -> str:
    """The text of a small piece of HTML, on one line."""
    parser = _Text()
    parser.feed(html[:4000])
    parser.close()
    return plain_text("".join(parser.parts))


PHOTOGRAPHS = Wikimedia("wikimedia", "real", "Quality images")
GENERATED = Wikimedia("wikimedia_ai", "ai_generated", "AI-generated images by software")
