"""Stand-in for https://api.unsplash.com at /unsplash: feed, search, random, single photo, download tracking."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from scrapers.sandbox.catalogue import COMPRESSED, Catalogue, Sandbox, handle, has_orientation, person, whole_number
from scrapers.sandbox.pictures import NEWEST, Picture, drawn_picture, with_oddities
from scrapers.sandbox.settings import SandboxSettings
from scrapers.sandbox.settings import Unsplash as Settings

PREFIX = "/unsplash"
MAX_PER_PAGE = 30
MAX_TOTAL = 10_000
ODDITIES = ("premium", "illustration", "render")
VARIANTS = {
    "full": "crop=entropy&cs=srgb&fm=jpg&q=85",
    "regular": "crop=entropy&cs=tinysrgb&fit=max&fm=jpg&q=80&w=1080",
    "small": "crop=entropy&cs=tinysrgb&fit=max&fm=jpg&q=80&w=400",
    "thumb": "crop=entropy&cs=tinysrgb&fit=max&fm=jpg&q=80&w=200",
}
CACHE_CONTROL = "max-age=86400,stale-if-error=3600,stale-while-revalidate=60"


def photo_id(picture: Picture) -> str:
    """Eleven characters of [A-Za-z0-9_-]; some start with `-`."""
    return base64.urlsafe_b64encode(bytes.fromhex(picture.key)).decode()[:11]


def image_name(picture: Picture) -> str:
    return f"photo-{picture.seconds * 1000}-{picture.key[:12]}"


def build_catalogue(pictures: Sequence[Picture], settings: SandboxSettings) -> Catalogue:
    odd = ODDITIES if settings.unsplash.foreign_items else ()
    advert = drawn_picture("odd-sponsored", "real", NEWEST, "sponsored")
    return Catalogue(with_oddities(pictures, odd, "real"), photo_id, image_name, extras=[advert])


def routes(sandbox: Sandbox) -> list[Route]:
    api = _Unsplash(sandbox)
    return [
        Route(f"{PREFIX}/photos", api.feed, middleware=COMPRESSED),
        Route(f"{PREFIX}/search/photos", api.search, middleware=COMPRESSED),
        Route(f"{PREFIX}/photos/random", api.random, middleware=COMPRESSED),
        Route(f"{PREFIX}/photos/{{photo_id}}", api.photo, middleware=COMPRESSED),
        Route(f"{PREFIX}/photos/{{photo_id}}/download", api.download, middleware=COMPRESSED),
    ]


class _Unsplash:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def feed(self, request: Request) -> Response:
        return self._guarded(request, lambda: self._page(request, self._catalogue.pictures, as_search=False))

    async def search(self, request: Request) -> Response:
        def answer() -> Response:
            query = request.query_params.get("query", "").strip()
            if not query:
                return _errors(400, "query is missing")
            if query.lower() in self._settings.flagged_queries:
                return _errors(410, "This search has been disabled")
            latest = request.query_params.get("order_by") == "latest"
            found = self._catalogue.pictures if latest else self._catalogue.ranked(query)
            wanted = request.query_params.get("orientation")
            found = tuple(picture for picture in found if has_orientation(picture, wanted))
            return self._page(request, found, as_search=True)

        return self._guarded(request, answer)

    async def random(self, request: Request) -> Response:
        def answer() -> Response:
            count = whole_number(request, "count", 1)
            if count is None or not 1 <= count <= MAX_PER_PAGE:
                return _errors(400, "count must be between 1 and 30")
            if "username" in request.query_params:
                return _errors(404, "Couldn't find User")
            order = self._catalogue.ranked(f"random {self._sandbox.count_call('unsplash random')}")
            if not order:
                return _errors(404, "No photos found.")
            photos = [self._describe(request, picture, full=True) for picture in order[:count]]
            body = photos if "count" in request.query_params else photos[0]
            return JSONResponse(body, headers={"cache-control": "private,max-age=0"})

        return self._guarded(request, answer)

    async def photo(self, request: Request) -> Response:
        def answer() -> Response:
            picture = self._find(request)
            if picture is None:
                return _errors(404, "Couldn't find Photo")
            return JSONResponse(self._describe(request, picture, full=True))

        return self._guarded(request, answer)

    async def download(self, request: Request) -> Response:
        def answer() -> Response:
            picture = self._find(request)
            if picture is None:
                return _errors(404, "Couldn't find Photo")
            return JSONResponse({"url": f"{self._image(request, picture)}?ixid={_ixid(picture)}&{VARIANTS['full']}"})

        return self._guarded(request, answer)

    @property
    def _catalogue(self) -> Catalogue:
        return self._sandbox.catalogues["unsplash"]

    @property
    def _settings(self) -> Settings:
        return self._sandbox.settings.unsplash

    def _find(self, request: Request) -> Picture | None:
        return self._catalogue.by_id.get(request.path_params["photo_id"][-11:])

    def _guarded(self, request: Request, answer: Callable[[], Response]) -> Response:
        """Key, then quota, then the answer with the counters in its headers."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key if scheme in ("Client-ID", "Bearer") else request.query_params.get("client_id", "")
        if key != self._sandbox.settings.key:
            return _errors(401, "OAuth error: The access token is invalid")
        settings = self._settings
        remaining = settings.hourly_limit - self._sandbox.quotas.use(f"unsplash {key}", settings.window_seconds)
        if remaining < 0:
            counters = {"x-ratelimit-limit": str(settings.hourly_limit), "x-ratelimit-remaining": "0"}
            return PlainTextResponse("Rate Limit Exceeded\n", settings.exhausted_status, headers=counters)
        response = answer()
        response.headers["x-ratelimit-limit"] = str(settings.hourly_limit)
        response.headers["x-ratelimit-remaining"] = str(remaining)
        response.headers["x-unsplash-version"] = "v1"
        if settings.stale_headers and self._sandbox.count_call("unsplash answers") % 2 == 0:
            response.headers["x-ratelimit-remaining"] = str(settings.hourly_limit - 9)
            response.headers["age"] = "2356"
            response.headers["x-cache"] = "MISS, HIT"
        return response

    def _page(self, request: Request, pictures: Sequence[Picture], *, as_search: bool) -> Response:
        page, per_page = whole_number(request, "page", 1), whole_number(request, "per_page", 10)
        if page is None or per_page is None or page < 1 or per_page < 1:
            return _errors(400, "page and per_page must be positive numbers")
        per_page = min(per_page, MAX_PER_PAGE)
        adverts = self._catalogue.extras if as_search and self._settings.sponsored_first else ()
        size = max(1, per_page - len(adverts))
        total = min(len(pictures), MAX_TOTAL)
        pages = -(-total // size)
        reachable = pictures[: self._settings.horizon_items] if as_search else pictures
        shown = reachable[(page - 1) * size : page * size]
        photos = [self._describe(request, picture) for picture in (*(adverts if shown else ()), *shown)]
        beyond = (page - 1) * size >= len(reachable)
        body: Any = photos
        if as_search:
            body = {"total": total, "total_pages": 0 if beyond else pages, "results": photos}
        headers = {
            "x-total": str(total + (1 if as_search and self._settings.inexact_totals else 0)),
            "x-per-page": str(per_page),
            "cache-control": CACHE_CONTROL,
        }
        if link := _link_header(request, self._sandbox.base(request), page, pages):
            headers["link"] = link
        rendered = JSONResponse(body, headers=headers)
        etag = f'W/"{hashlib.md5(rendered.body, usedforsecurity=False).hexdigest()}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={**headers, "etag": etag})
        rendered.headers["etag"] = etag
        return rendered

    def _image(self, request: Request, picture: Picture) -> str:
        if picture.oddity == "premium":
            return f"https://plus.unsplash.com/premium_{image_name(picture)}"
        return f"{self._sandbox.base(request)}/images/unsplash/{image_name(picture)}"

    def _describe(self, request: Request, picture: Picture, *, full: bool = False) -> dict[str, Any]:
        base = self._sandbox.base(request)
        identifier = photo_id(picture)
        image = self._image(request, picture)
        ixid = _ixid(picture)
        api = f"{base}{PREFIX}/photos/{identifier}"
        bare = self._settings.odd_items and picture.number("odd", 3) == 0
        created = picture.created.strftime("%Y-%m-%dT%H:%M:%SZ")
        slug = "-".join([*picture.title.lower().split()[:8], identifier])
        described: dict[str, Any] = {
            "id": identifier,
            "slug": slug,
            "created_at": created,
            "updated_at": created,
            "promoted_at": None if picture.number("promoted", 2) else created,
            "width": picture.width,
            "height": picture.height,
            "color": None if bare else f"#{picture.key[12:18]}",
            "blur_hash": None if bare else "LGF5]+Yk^6#M@-5c,1J5@[or[Q6.",
            "description": None,
            "alt_description": None if bare else picture.title,
            "breadcrumbs": [],
            "urls": {
                "raw": f"{image}?ixid={ixid}&ixlib=rb-4.1.0",
                **{name: f"{image}?{parameters}&ixid={ixid}&ixlib=rb-4.1.0" for name, parameters in VARIANTS.items()},
                "small_s3": f"https://s3.us-west-2.amazonaws.com/images.unsplash.com/small/{image_name(picture)}",
            },
            "links": {
                "self": f"{base}{PREFIX}/photos/{slug}",
                "html": f"https://unsplash.com/photos/{slug}",
                "download": f"https://unsplash.com/photos/{identifier}/download?ixid={ixid}",
                "download_location": f"{api}/download?ixid={ixid}",
            },
            "likes": picture.number("likes", 500),
            "liked_by_user": False,
            "current_user_collections": [],
            "sponsorship": {"tagline": "Made for you"} if picture.oddity == "sponsored" else None,
            "topic_submissions": {"3d-renders": {"status": "approved"}} if picture.oddity == "render" else {},
            "asset_type": "illustration" if picture.oddity == "illustration" else "photo",
            "user": self._user(base, picture, bare=bare),
        }
        if picture.oddity == "premium":
            described |= {"premium": True, "plus": True}
        return described | (_full_record(picture) if full else {})

    def _user(self, base: str, picture: Picture, *, bare: bool) -> dict[str, Any]:
        number, first, last = person(picture, self._sandbox.settings.creators)
        username = handle(first, number, "_")
        portrait = "https://images.unsplash.com/placeholder-avatars/extra-large.jpg"
        return {
            "id": f"u{number:010d}",
            "updated_at": "2026-06-01T10:00:00Z",
            "username": username,
            "name": first if bare else f"{first} {last}",
            "first_name": first,
            "last_name": None if bare else last,
            "bio": None,
            "location": None,
            "portfolio_url": None,
            "links": {
                "self": f"{base}{PREFIX}/users/{username}",
                "html": f"https://unsplash.com/@{username}",
                "photos": f"{base}{PREFIX}/users/{username}/photos",
            },
            "profile_image": {
                size: f"{portrait}?w={side}" for size, side in (("small", 32), ("medium", 64), ("large", 128))
            },
            "total_collections": 0,
            "total_photos": 42,
            "social": {"instagram_username": None, "portfolio_url": None, "twitter_username": None},
        }


def _full_record(picture: Picture) -> dict[str, Any]:
    nothing = dict.fromkeys(("name", "make", "model", "exposure_time", "aperture", "focal_length", "iso"))
    return {
        "exif": nothing,
        "location": {"name": None, "city": None, "country": None, "position": {"latitude": 0.0, "longitude": 0.0}},
        "tags": [{"type": "search", "title": word.lower()} for word in picture.title.split()[:5]],
        "public_domain": False,
        "views": picture.number("views", 1_000_000),
        "downloads": picture.number("downloads", 10_000),
    }


def _ixid(picture: Picture) -> str:
    return base64.urlsafe_b64encode(json.dumps([picture.key[:16]]).encode()).decode().rstrip("=")


def _link_header(request: Request, base: str, page: int, pages: int) -> str:
    targets = {"first": 1 if page > 1 else 0, "prev": page - 1, "last": pages if page < pages else 0}
    targets["next"] = page + 1 if page < pages else 0
    links = []
    for relation, target in targets.items():
        if target > 0:
            parameters = {**dict(request.query_params), "page": target}
            parameters.pop("client_id", None)
            links.append(f'<{base}{request.url.path}?{urlencode(parameters)}>; rel="{relation}"')
    return ", ".join(links)


def _errors(status: int, *messages: str) -> JSONResponse:
    return JSONResponse({"errors": list(messages)}, status)
