"""Stand-in for https://civitai.com at /civitai: GET /api/v1/images with both generations of cursors."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from scrapers.sandbox.apis.civitai_query import ImageQuery, parse_query
from scrapers.sandbox.catalogue import COMPRESSED, Catalogue, Sandbox, handle, person
from scrapers.sandbox.faults import CHALLENGE_PAGE
from scrapers.sandbox.pictures import Picture, with_oddities
from scrapers.sandbox.settings import Civitai as Settings
from scrapers.sandbox.settings import SandboxSettings

PREFIX = "/civitai/api/v1"
CDN_ACCOUNT = "xG1nkqKTMzGDvpLrqFT7WA"
FIRST_ID = 90_000_000
EPOCH_SECONDS = 1_735_689_600
ODDITIES = ("video", "audio", "gif", "mp4-image", "mature", "no-meta", "no-prompt", "big-comfy")
WITHOUT_EVIDENCE = ("no-meta", "no-prompt")
TYPES = {"video": "video", "audio": "audio"}
EXTENSIONS = {"image": "jpeg", "video": "mp4", "audio": "mp3"}
LEVEL_NAMES = {1: "None", 2: "Soft", 4: "Mature", 8: "X", 16: "X", 32: "Blocked"}
REGION_TEXT = "Access to this service is not available in your region due to legal restrictions."
TOO_MANY_PAGES = "You've requested too many pages, please use cursors instead"
CURSOR_EXPIRED = "This cursor can no longer be continued; start again without it"
CURSOR_OTHER_FILTERS = "This cursor cannot be continued with these filters"
OLD_CURSOR = re.compile(r"([0-9]{1,9})\|([0-9]{1,15})")
NEW_CURSOR = re.compile(r"feed:([0-9]{1,15}):([0-9]{1,15})")


def image_id(picture: Picture) -> int:
    return FIRST_ID + picture.seconds - EPOCH_SECONDS


def image_uuid(picture: Picture) -> str:
    return str(uuid.UUID(hex=picture.key[:32]))


def build_catalogue(pictures: Sequence[Picture], settings: SandboxSettings) -> Catalogue:
    odd = ODDITIES if settings.civitai.foreign_items else ()
    return Catalogue(with_oddities(pictures, odd, "ai_generated"), lambda picture: str(image_id(picture)), image_uuid)


def routes(sandbox: Sandbox) -> list[Route]:
    return [Route(f"{PREFIX}/images", _Civitai(sandbox).images, middleware=COMPRESSED)]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a crawl stands: the index of the next item, and whether its empty page has been served."""

    index: int = 0
    empty_served: bool = False


class _Civitai:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._cursor_filters: dict[str, str] = {}
        self._refused: set[str] = set()
        self._cached: dict[str, tuple[float, bytes]] = {}

    async def images(self, request: Request) -> Response:
        settings = self._settings
        if settings.region_blocked:
            return JSONResponse({"error": REGION_TEXT, "code": "REGION_BLOCKED"}, 451)
        if settings.challenge:
            return HTMLResponse(CHALLENGE_PAGE, 403, headers={"cf-mitigated": "challenge", "server": "cloudflare"})
        anonymous = self._sandbox.key_kind(request) != "sandbox"
        if anonymous and (body := self._from_cache(str(request.url))):
            return Response(body, media_type="application/json")
        query = parse_query(request.query_params)
        if not isinstance(query, ImageQuery):
            # the site's own form: an object whose message is JSON in a string
            return JSONResponse({"error": {"name": "ZodError", "message": json.dumps(query, indent=2)}}, 400)
        response = self._answer(request, query)
        response.headers["access-control-allow-origin"] = "*"
        response.headers["x-handled-by"] = "sandbox"
        if anonymous and response.status_code == 200:
            response.headers["cache-control"] = "public, s-maxage=300, stale-while-revalidate=150"
            self._cached[str(request.url)] = (self._sandbox.clock.monotonic(), bytes(response.body))
        return response

    @property
    def _settings(self) -> Settings:
        return self._sandbox.settings.civitai

    def _from_cache(self, url: str) -> bytes | None:
        stored, body = self._cached.get(url, (0.0, b""))
        fresh = self._sandbox.clock.monotonic() - stored < self._settings.anonymous_cache_seconds
        return body if body and fresh else None

    def _answer(self, request: Request, query: ImageQuery) -> Response:
        found = self._matching(query)
        paged = query.page is not None and query.cursor is None
        if paged and (query.page or 1) * query.limit > 1000:
            return JSONResponse({"error": TOO_MANY_PAGES}, 429)
        position = Position()
        if query.cursor is not None:
            located = self._locate(query, found)
            if isinstance(located, Response):
                return located
            position = located
        shown, following = self._slice(found, position, query.limit)
        metadata: dict[str, Any] = {}
        if paged:
            metadata |= {"currentPage": query.page, "pageSize": query.limit}
        if following.index < len(found):
            cursor = self._cursor(found, following, query)
            metadata |= {"nextCursor": cursor, "nextPage": self._next_page(request, query, cursor)}
        items = [self._describe(request, picture, query) for picture in shown]
        # escaped to ASCII: prompts may hold lone surrogates, which have no UTF-8
        return Response(json.dumps({"items": items, "metadata": metadata}), media_type="application/json")

    def _matching(self, query: ImageQuery) -> list[Picture]:
        catalogue = self._sandbox.catalogues["civitai"]
        held_back = 0
        if self._settings.shifting_feed:
            held_back = max(0, self._settings.shifting_feed - self._sandbox.count_call("civitai images"))
        pictures: Sequence[Picture] = catalogue.pictures[held_back:]
        if query.sort == "Oldest":
            pictures = pictures[::-1]
        elif query.sort != "Newest":
            visible = set(pictures) if held_back else None
            pictures = [picture for picture in catalogue.ranked(query.sort) if visible is None or picture in visible]
        creators = self._sandbox.settings.creators
        return [
            picture
            for picture in pictures
            if _level(picture) & query.levels
            and query.type in (None, TYPES.get(picture.oddity, "image"))
            and query.username in (None, _username(picture, creators))
            and query.image_id in (None, image_id(picture))
            and (not query.base_models or picture.generator in query.base_models)
        ]

    def _slice(self, found: list[Picture], position: Position, limit: int) -> tuple[list[Picture], Position]:
        """The items of one page and where the next one starts."""
        if self._settings.empty_pages and not position.empty_served:
            return [], Position(position.index, empty_served=True)
        size = max(1, limit // 2) if self._settings.short_pages else limit
        end = position.index + size
        if (cycle := self._settings.cursor_cycle_pages) and end >= cycle * size:
            return found[position.index : end], Position(size)
        return found[position.index : end], Position(end)

    def _locate(self, query: ImageQuery, found: list[Picture]) -> Position | Response:
        cursor = query.cursor or ""
        if (page := self._settings.expire_cursor_at_page) and cursor not in self._refused:
            match = OLD_CURSOR.fullmatch(cursor) or NEW_CURSOR.fullmatch(cursor)
            index = self._index(cursor, found)
            if match and index >= (page - 1) * query.limit:
                self._refused.add(cursor)
                return JSONResponse({"message": CURSOR_EXPIRED}, 400)
        if self._settings.generation == "old":
            match = OLD_CURSOR.fullmatch(cursor)
            return Position(int(match[1]), bool(int(match[2]) % 2)) if match else Position()
        match = NEW_CURSOR.fullmatch(cursor)
        if match is None:
            return JSONResponse({"message": CURSOR_EXPIRED}, 400)
        if self._cursor_filters.get(cursor, query.fingerprint) != query.fingerprint:
            return JSONResponse({"message": CURSOR_OTHER_FILTERS}, 400)
        return Position(self._index(cursor, found), bool(int(match[1]) % 2))

    def _index(self, cursor: str, found: list[Picture]) -> int:
        """The index of the next item: an offset (old), or behind the item that the cursor names (new)."""
        if match := OLD_CURSOR.fullmatch(cursor):
            return int(match[1])
        match = NEW_CURSOR.fullmatch(cursor)
        last = int(match[2]) if match else 0
        return next((index + 1 for index, picture in enumerate(found) if image_id(picture) == last), 0)

    def _cursor(self, found: list[Picture], position: Position, query: ImageQuery) -> str:
        """An odd number of milliseconds marks that the empty page before these items has been served."""
        last = found[position.index - 1] if position.index else None
        milliseconds = (last.seconds if last else EPOCH_SECONDS) * 1000 + position.empty_served
        if self._settings.generation == "old":
            return f"{position.index}|{milliseconds}"
        cursor = f"feed:{milliseconds}:{image_id(last) if last else 0}"
        self._cursor_filters[cursor] = query.fingerprint
        return cursor

    def _next_page(self, request: Request, query: ImageQuery, cursor: str) -> str:
        """With `page` in the request, the link advances the page and not the cursor: the trap of the real one."""
        parameters = dict(request.query_params)
        if query.page is not None and query.cursor is None:
            parameters["page"] = str(query.page + 1)
        else:
            parameters["cursor"] = cursor
        return f"{self._sandbox.base(request)}{PREFIX}/images?{urlencode(parameters)}"

    def _describe(self, request: Request, picture: Picture, query: ImageQuery) -> dict[str, Any]:
        kind = TYPES.get(picture.oddity, "image")
        odd = picture.number("odd", 5) if self._settings.odd_items else -1
        level = 0 if odd == 3 else _level(picture)
        name = image_uuid(picture)
        image = f"{self._sandbox.base(request)}/images/civitai/{CDN_ACCOUNT}/{name}"
        versions = [1_000_000 + picture.number("version", 900_000)]
        item: dict[str, Any] = {
            "id": image_id(picture),
            "url": f"{image}/original=true/{name}.{EXTENSIONS[kind]}",
            "hash": None if odd == 0 else "U9B|QJ00?b_3%MxuRjof~qRj9FM{WBofayWB",
            "width": picture.width,
            "height": picture.height,
            "nsfwLevel": LEVEL_NAMES.get(level, "None"),
            "type": kind,
            "nsfw": level > 1,
            "browsingLevel": level,
            "createdAt": picture.created.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "postId": 20_000_000 + image_id(picture) - FIRST_ID,
            "stats": {
                "cryCount": 0,
                "laughCount": picture.number("laugh", 9),
                "likeCount": picture.number("like", 90),
                "dislikeCount": 0,
                "heartCount": picture.number("heart", 40),
                "commentCount": 0,
            },
            "meta": None,
            "username": None if odd == 1 else _username(picture, self._sandbox.settings.creators),
            "baseModel": picture.generator,
            "modelVersionIds": [] if picture.oddity in WITHOUT_EVIDENCE or odd == 4 else versions,
        }
        if odd == 2:
            del item["baseModel"]
        if self._settings.generation == "new":
            item["thumbnail"] = None
        if query.with_meta and picture.oddity != "no-meta":
            meta = self._meta(picture, versions, huge_seed=odd == 4)
            wrapped = self._settings.wrapped_meta and not query.flat_meta
            item["meta"] = {"id": item["id"], "meta": meta} if wrapped else meta
        return item

    def _meta(self, picture: Picture, versions: list[int], *, huge_seed: bool) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "Size": f"{picture.width}x{picture.height}",
            "seed": 2**60 + picture.number("seed", 2**32) if huge_seed else picture.number("seed", 2**32),
            "steps": 20 + picture.number("steps", 20),
            "sampler": "Euler a",
            "cfgScale": "5" if picture.number("cfg", 2) else 5,
        }
        if picture.oddity == "no-prompt":
            return meta
        meta |= {
            "Model": picture.generator,
            "prompt": f"{picture.title}, evening light",
            "negativePrompt": "lowres, watermark",
            "resources": [],
            "civitaiResources": [{"type": "checkpoint", "modelVersionId": versions[0]}],
        }
        if picture.oddity == "big-comfy":
            meta["comfy"] = json.dumps({"prompt": {"1": "x" * 500_000}, "extra": float("nan")})
            meta["prompt"] += " \x00 \ud800"
        return meta


def _username(picture: Picture, creators: int) -> str:
    number, first, _ = person(picture, creators)
    return handle(first, number, "_")


def _level(picture: Picture) -> int:
    return 8 if picture.oddity == "mature" else 1
