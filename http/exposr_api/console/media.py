"""Files of the pages: style, scripts, and thumbnails. Nothing else of the disk can be named."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from exposr_api.answers.errors import ApiError
from exposr_api.console.visit import SHA256, Visit, page
from exposr_api.pages.assets import asset_version, assets
from exposr_api.pages.rendering import HEADERS
from exposr_api.protocols import Service

FOREVER = "private, max-age=31536000, immutable"


async def static(request: Request, service: Service) -> Response:
    """Needs no session: the sign-in form uses it, and it says nothing."""
    found = assets().get(request.path_params["name"])
    if found is None:
        raise ApiError("not_found", "there is no such file")
    body, media_type = found
    is_current = request.url.query == asset_version()
    caching = FOREVER if is_current else "no-cache"
    return Response(body, 200, {**HEADERS, "content-type": media_type, "cache-control": caching})


@page
async def thumbnail(request: Request, visit: Visit) -> Response:
    sha256, size = request.path_params["sha256"], request.path_params["size"]
    if not SHA256.fullmatch(sha256) or size not in ("small", "large"):
        raise ApiError("not_found", "there is no such picture")
    body = await visit.data.thumbnail(sha256, size)
    if body is None:
        raise ApiError("not_found", "this picture is not there any more, or cannot be drawn")
    return Response(body, 200, {**HEADERS, "content-type": "image/webp", "cache-control": FOREVER})
