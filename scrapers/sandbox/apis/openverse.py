"""Stand-in for https://api.openverse.org at /openverse: image search and single image, keyless or with a token."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from scrapers.sandbox.catalogue import COMPRESSED, Catalogue, Sandbox, person, whole_number
from scrapers.sandbox.pictures import Picture, with_oddities
from scrapers.sandbox.settings import SandboxSettings

PREFIX = "/openverse/v1"
DAY_SECONDS = 24 * 3600.0
ANONYMOUS_PAGE_SIZE, REGISTERED_PAGE_SIZE = 20, 500
MAX_PAGES = 20
ANONYMOUS_WORKS = 240
MAX_RESULTS = 10_000
LICENSES = (("cc0", "1.0"), ("by", "2.0"), ("by-sa", "4.0"), ("pdm", "1.0"), ("by", "4.0"))
FILE_TYPES = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/avif": "avif"}
ODDITIES = ("noncommercial", "svg", "unsized")


def image_uuid(picture: Picture) -> str:
    return str(uuid.UUID(hex=picture.key[:32]))


def build_catalogue(pictures: Sequence[Picture], settings: SandboxSettings) -> Catalogue:
    odd = ODDITIES if settings.openverse.foreign_items else ()
    return Catalogue(with_oddities(pictures, odd, "real"), image_uuid, image_uuid)


def routes(sandbox: Sandbox) -> list[Route]:
    api = _Openverse(sandbox)
    return [
        Route(f"{PREFIX}/images", api.search, middleware=COMPRESSED),
        Route(f"{PREFIX}/images/{{image_id}}", api.image, middleware=COMPRESSED),
        Route(f"{PREFIX}/auth_tokens/token", api.token, methods=["POST"], middleware=COMPRESSED),
    ]


class _Openverse:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def search(self, request: Request) -> Response:
        return self._guarded(request, lambda: self._page(request))

    async def image(self, request: Request) -> Response:
        def answer() -> Response:
            picture = self._sandbox.catalogues["openverse"].by_id.get(request.path_params["image_id"])
            if picture is None:
                return JSONResponse({"detail": "No Image matches the given query."}, 404)
            return JSONResponse(self._describe(request, picture))

        return self._guarded(request, answer)

    async def token(self, request: Request) -> Response:
        """OAuth2 client credentials: the sandbox's key is id, secret and token in one."""
        form = parse_qs((await request.body()).decode("latin-1"))
        if form.get("client_secret") != [self._sandbox.settings.key]:
            return JSONResponse({"error": "invalid_client"}, 401)
        return JSONResponse({"access_token": self._sandbox.settings.key, "token_type": "Bearer", "expires_in": 43_200})

    def _guarded(self, request: Request, answer: Callable[[], Response]) -> Response:
        kind = self._sandbox.key_kind(request)
        if kind == "wrong":
            return JSONResponse({"detail": "Invalid token.", "error": "authentication_failed"}, 401)
        if kind == "sandbox":
            return answer()
        settings = self._sandbox.settings.openverse
        in_minute = self._sandbox.quotas.use("openverse anonymous", settings.window_seconds)
        in_day = self._sandbox.quotas.use("openverse anonymous", DAY_SECONDS)
        if in_minute > settings.minute_limit or in_day > settings.daily_limit:
            window = DAY_SECONDS if in_day > settings.daily_limit else settings.window_seconds
            wait = int(window - self._sandbox.clock.now().timestamp() % window) + 1
            detail = f"Request was throttled. Expected available in {wait} seconds."
            return JSONResponse({"detail": detail}, 429, headers={"retry-after": str(wait)})
        response = answer()
        response.headers["x-ratelimit-limit-anon_burst"] = f"{settings.minute_limit}/min"
        response.headers["x-ratelimit-available-anon_burst"] = str(settings.minute_limit - in_minute)
        response.headers["x-ratelimit-limit-anon_sustained"] = f"{settings.daily_limit}/day"
        response.headers["x-ratelimit-available-anon_sustained"] = str(settings.daily_limit - in_day)
        return response

    def _page(self, request: Request) -> Response:
        page, size = whole_number(request, "page", 1), whole_number(request, "page_size", 20)
        if page is None or size is None or page < 1 or size < 1:
            return JSONResponse({"detail": {"page": ["Ensure this value is a positive number."]}}, 400)
        if page > MAX_PAGES:
            return JSONResponse({"detail": f"Deep pagination is not allowed; page must be <= {MAX_PAGES}."}, 400)
        registered = self._sandbox.key_kind(request) == "sandbox"
        largest = REGISTERED_PAGE_SIZE if registered else ANONYMOUS_PAGE_SIZE
        if size > largest:
            return JSONResponse(
                {"detail": f"page_size must be <= {largest} for this caller."}, 400 if registered else 401
            )
        if not registered and page * size > ANONYMOUS_WORKS:
            return JSONResponse({"detail": f"Anonymous callers see {ANONYMOUS_WORKS} works; use a token."}, 401)
        wanted = {name for name in request.query_params.get("license", "").split(",") if name}
        ranked = self._sandbox.catalogues["openverse"].ranked(request.query_params.get("q", ""))
        found = [picture for picture in ranked if not wanted or _license(picture)[0] in wanted]
        shown = found[(page - 1) * size : page * size]
        body = {
            "result_count": min(len(found), MAX_RESULTS),
            "page_count": min(-(-len(found) // size), MAX_PAGES),
            "page_size": size,
            "page": page,
            "results": [self._describe(request, picture) for picture in shown],
        }
        return JSONResponse(body)

    def _describe(self, request: Request, picture: Picture) -> dict[str, Any]:
        base = self._sandbox.base(request)
        identifier = image_uuid(picture)
        extension = "svg" if picture.oddity == "svg" else FILE_TYPES[picture.media_type]
        number, first, last = person(picture, self._sandbox.settings.creators)
        license_name, version = _license(picture)
        family = "publicdomain" if license_name in ("cc0", "pdm") else "licenses"
        path = {"cc0": "zero", "pdm": "mark"}.get(license_name, license_name)
        license_url = f"https://creativecommons.org/{family}/{path}/{version}/"
        unsized = picture.oddity == "unsized"
        return {
            "id": identifier,
            "title": picture.title,
            "indexed_on": picture.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "foreign_landing_url": f"https://www.flickr.com/photos/{number}/{picture.seconds}",
            "url": f"{base}/images/openverse/{identifier}.{extension}",
            "creator": f"{first} {last}",
            "creator_url": f"https://www.flickr.com/photos/{number}",
            "license": license_name,
            "license_version": version,
            "license_url": license_url,
            "provider": "flickr",
            "source": "flickr",
            "category": "photograph",
            "filesize": None,
            "filetype": None if unsized else extension,
            "tags": [{"name": word.lower(), "accuracy": None} for word in picture.title.split()[:5]],
            "attribution": f'"{picture.title}" by {first} {last} is licensed under {license_name.upper()} {version}.',
            "mature": False,
            "height": None if unsized else picture.height,
            "width": None if unsized else picture.width,
            "thumbnail": f"{base}/images/openverse/{identifier}.{extension}?w=600",
            "detail_url": f"{base}{PREFIX}/images/{identifier}/",
            "related_url": f"{base}{PREFIX}/images/{identifier}/related/",
        }


def _license(picture: Picture) -> tuple[str, str]:
    if picture.oddity == "noncommercial":
        return "by-nc", "4.0"
    return LICENSES[picture.number("license", len(LICENSES))]
