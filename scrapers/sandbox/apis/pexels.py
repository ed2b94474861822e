"""Stand-in for https://api.pexels.com at /pexels: search, curated, single photo."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from scrapers.sandbox.catalogue import COMPRESSED, Catalogue, Sandbox, handle, has_orientation, person, whole_number
from scrapers.sandbox.pictures import Picture, with_oddities
from scrapers.sandbox.settings import Pexels as Settings
from scrapers.sandbox.settings import SandboxSettings

PREFIX = "/pexels/v1"
MAX_PER_PAGE = 80
FIRST_ID = 30_000_000
EPOCH_SECONDS = 1_735_689_600  # 2025-01-01: ids are seconds since then, so they fit 32 bits and are all different
MONTH_SECONDS = 30 * 24 * 3600.0
LIBRARY_AGENTS = re.compile(r"^$|^(python-(requests|httpx)|Python-urllib|aiohttp|curl)", re.IGNORECASE)
COMPRESS = "auto=compress&cs=tinysrgb"
VARIANTS = {
    "original": "",
    "large2x": f"?{COMPRESS}&dpr=2&h=650&w=940",
    "large": f"?{COMPRESS}&h=650&w=940",
    "medium": f"?{COMPRESS}&h=350",
    "small": f"?{COMPRESS}&h=130",
    "portrait": f"?{COMPRESS}&fit=crop&h=1200&w=800",
    "landscape": f"?{COMPRESS}&fit=crop&h=627&w=1200",
    "tiny": f"?{COMPRESS}&dpr=1&fit=crop&h=200&w=280",
}
EDGE_PAGE = (
    "<!DOCTYPE html><html><head><title>Access denied</title></head><body>error code: 1010</body></html>"
    "<!-- as the real edge: a missing User-Agent or a library's own is refused; send a name of your own -->"
)


def photo_id(picture: Picture) -> int:
    return FIRST_ID + picture.seconds - EPOCH_SECONDS


def image_name(picture: Picture) -> str:
    return str(photo_id(picture))


def build_catalogue(pictures: Sequence[Picture], settings: SandboxSettings) -> Catalogue:
    odd = ("huge",) if settings.pexels.huge_original_bytes else ()
    return Catalogue(with_oddities(pictures, odd, "real"), image_name, image_name)


def routes(sandbox: Sandbox) -> list[Route]:
    api = _Pexels(sandbox)
    return [
        Route(f"{PREFIX}/search", api.search, middleware=COMPRESSED),
        Route(f"{PREFIX}/curated", api.curated, middleware=COMPRESSED),
        Route(f"{PREFIX}/photos/{{photo_id}}", api.photo, middleware=COMPRESSED),
    ]


class _Pexels:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def search(self, request: Request) -> Response:
        def answer() -> Response:
            query = request.query_params.get("query", "").strip()
            if not query:
                return JSONResponse({"status": 400, "code": "Bad Request"}, 400)
            wanted = request.query_params.get("orientation")
            found = [picture for picture in self._catalogue.ranked(query) if has_orientation(picture, wanted)]
            return self._page(request, found, "search", self._settings.claimed_total)

        return self._guarded(request, answer)

    async def curated(self, request: Request) -> Response:
        def answer() -> Response:
            held_back = max(0, self._settings.shifting_feed - self._sandbox.count_call("pexels curated"))
            return self._page(request, self._catalogue.pictures[held_back:], "curated", None)

        return self._guarded(request, answer)

    async def photo(self, request: Request) -> Response:
        def answer() -> Response:
            picture = self._catalogue.by_id.get(request.path_params["photo_id"])
            if picture is None:
                return JSONResponse({"status": 404, "error": "Not Found"}, 404)
            return JSONResponse(self._describe(request, picture))

        return self._guarded(request, answer)

    @property
    def _catalogue(self) -> Catalogue:
        return self._sandbox.catalogues["pexels"]

    @property
    def _settings(self) -> Settings:
        return self._sandbox.settings.pexels

    def _guarded(self, request: Request, answer: Callable[[], Response]) -> Response:
        """The edge looks at the User-Agent, then key, then both quotas; only good answers carry the counters."""
        settings = self._settings
        if settings.refuse_library_agents and LIBRARY_AGENTS.match(request.headers.get("user-agent", "")):
            return HTMLResponse(EDGE_PAGE, 403, headers={"server": "cloudflare", "cf-ray": "8f00000000000000-SBX"})
        key = request.headers.get("authorization", "")
        if key != self._sandbox.settings.key:
            return JSONResponse({"status": 401, "code": "Unauthorized"}, 401)
        in_hour = self._sandbox.quotas.use(f"pexels {key}", settings.window_seconds)
        in_month = settings.monthly_used + self._sandbox.quotas.use(f"pexels {key} month", MONTH_SECONDS)
        if in_hour > settings.hourly_limit or in_month > settings.monthly_limit:
            return JSONResponse({"status": 429, "code": "Too Many Requests"}, 429)
        response = answer()
        if response.status_code == 200:
            response.headers["x-ratelimit-limit"] = str(settings.monthly_limit)
            response.headers["x-ratelimit-remaining"] = str(settings.monthly_limit - in_month)
            response.headers["x-ratelimit-reset"] = str(_next_month(self._sandbox.clock.now()))
        return response

    def _page(self, request: Request, pictures: Sequence[Picture], name: str, claimed: int | None) -> Response:
        page, per_page = whole_number(request, "page", 1), whole_number(request, "per_page", 15)
        if page is None or per_page is None or per_page < 1:
            return JSONResponse({"status": 400, "code": "Bad Request"}, 400)
        page, per_page = max(1, page), min(per_page, MAX_PER_PAGE)
        start = (page - 1) * per_page
        body: dict[str, Any] = {
            "page": page,
            "per_page": per_page,
            "photos": [self._describe(request, picture) for picture in pictures[start : start + per_page]],
            "total_results": len(pictures) if claimed is None else claimed,
        }
        query = {name: value for name, value in request.query_params.items() if name not in ("page", "per_page")}
        for relation, target in (("next_page", page + 1), ("prev_page", page - 1)):
            if target >= 1 and (target - 1) * per_page < len(pictures):
                parameters = urlencode({"page": target, "per_page": per_page, **query})
                body[relation] = f"{self._sandbox.base(request)}{PREFIX}/{name}/?{parameters}"
        return JSONResponse(body)

    def _describe(self, request: Request, picture: Picture) -> dict[str, Any]:
        identifier = photo_id(picture)
        number, first, last = person(picture, self._sandbox.settings.creators)
        odd = picture.number("odd", 4) if self._settings.odd_items else -1
        extension = "png" if picture.media_type == "image/png" else "jpeg"
        if self._settings.wrong_extensions:
            extension = "jpeg" if extension == "png" else "png"
        image = f"{self._sandbox.base(request)}/images/pexels/photos/{identifier}/pexels-photo-{identifier}.{extension}"
        slug = "-".join(picture.title.lower().split()[:8])
        return {
            "id": identifier,
            "width": picture.width,
            "height": picture.height,
            "url": f"https://www.pexels.com/photo/{slug}-{identifier}/",
            "photographer": f"{first} 📷 {last}" if odd == 0 else f"{first} {last}",
            "photographer_url": f"https://www.pexels.com/@{handle(first, number, '-')}",
            "photographer_id": str(number) if odd == 1 else number,
            "avg_color": None if odd == 2 else f"#{picture.key[12:18].upper()}",
            "src": {name: image + parameters for name, parameters in VARIANTS.items()},
            "liked": False,
            "alt": {2: None, 3: ""}.get(odd, picture.title),
        }


def _next_month(now: datetime) -> int:
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return int(following.timestamp())
