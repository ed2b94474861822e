"""The image hosts of all sources: original bytes, and imgix-like variants of photographs."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from functools import lru_cache

from anyio import to_thread
from PIL import Image, ImageOps
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from scrapers.sandbox.catalogue import Sandbox
from scrapers.sandbox.faults import MP4_HEAD
from scrapers.sandbox.pictures import Picture

DEFAULT_QUALITY = 75
MAX_SIDE_PIXELS = 8192
MAX_CROP_PIXELS = 4096  # a side of `fit=crop`, which may enlarge
UNDECODABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
CIVITAI_WIDTHS = (96, 320, 450, 512, 800, 1200, 1600, 1800)
FORMATS = {
    "jpg": ("JPEG", "image/jpeg"),
    "pjpg": ("JPEG", "image/jpeg"),
    "png": ("PNG", "image/png"),
    "webp": ("WEBP", "image/webp"),
}
ODD_TYPES = ("text/plain", "application/octet-stream", "image/jpeg")
CACHE_HEADERS = {"cache-control": "public, max-age=31536000", "accept-ranges": "none"}


def routes(sandbox: Sandbox) -> list[Route]:
    hosts = _ImageHosts(sandbox)
    return [
        Route("/images/unsplash/{name}", hosts.unsplash),
        Route("/images/pexels/photos/{name}/{file}", hosts.pexels),
        Route("/images/openverse/{name}", hosts.openverse),
        Route("/images/wikimedia/{name}", hosts.wikimedia),
        Route("/images/civitai/{account}/{name}/{parameters}/{file}", hosts.civitai),
    ]


class _ImageHosts:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def unsplash(self, request: Request) -> Response:
        picture = self._sandbox.catalogues["unsplash"].by_image.get(request.path_params["name"])
        return await self._photo(request, picture)

    async def pexels(self, request: Request) -> Response:
        picture = self._sandbox.catalogues["pexels"].by_image.get(request.path_params["name"])
        return await self._photo(request, picture)

    async def openverse(self, request: Request) -> Response:
        name = request.path_params["name"].partition(".")[0]
        picture = self._sandbox.catalogues["openverse"].by_image.get(name)
        if picture is not None and picture.oddity == "svg":
            return _reply(request, b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml")
        return await self._photo(request, picture)

    async def wikimedia(self, request: Request) -> Response:
        picture = self._sandbox.catalogues["wikimedia"].by_image.get(request.path_params["name"])
        return await self._photo(request, picture)

    async def civitai(self, request: Request) -> Response:
        picture = self._sandbox.catalogues["civitai"].by_image.get(request.path_params["name"])
        if picture is None:
            return PlainTextResponse("Not Found", 404)
        if picture.oddity in ("video", "audio"):
            return _reply(request, MP4_HEAD, "video/mp4" if picture.oddity == "video" else "audio/mpeg")
        if picture.oddity == "mp4-image":
            return _reply(request, MP4_HEAD, "image/jpeg")
        if picture.oddity == "gif":
            return _reply(request, _as_gif(picture), "image/jpeg")
        parameters = dict(part.partition("=")[::2] for part in request.path_params["parameters"].split(","))
        if "original" not in parameters and re.fullmatch("[0-9]{1,5}", parameters.get("width", "")):
            wanted = int(parameters["width"])
            width = next((width for width in CIVITAI_WIDTHS if width >= wanted), CIVITAI_WIDTHS[-1])
            fm = "webp" if parameters.get("optimized") == "true" else "jpg"
            return await _resized(request, picture, {"fm": fm, "w": str(width)})
        odd = self._sandbox.settings.civitai.odd_content_types
        media_type = ODD_TYPES[picture.number("type", len(ODD_TYPES))] if odd else picture.media_type
        return _reply(request, picture.read(), media_type)

    async def _photo(self, request: Request, picture: Picture | None) -> Response:
        if picture is None:
            return PlainTextResponse("Not Found", 404)
        asked = {
            name: value for name, value in request.query_params.items() if name in ("w", "h", "q", "fm", "fit", "dpr")
        }
        if "auto" in request.query_params:
            asked.setdefault("q", "65")
        if asked:
            return await _resized(request, picture, asked)
        data = picture.read()
        if picture.oddity == "huge":
            data += bytes(max(0, self._sandbox.settings.pexels.huge_original_bytes - len(data)))
        return _reply(request, data, picture.media_type)


async def _resized(request: Request, picture: Picture, asked: Mapping[str, str]) -> Response:
    try:
        data, media_type = await to_thread.run_sync(_variant, picture, tuple(sorted(asked.items())))
    except UNDECODABLE as error:
        return PlainTextResponse(f"The image could not be decoded: {error}", 415)
    return _reply(request, data, media_type)


def _reply(request: Request, data: bytes, media_type: str) -> Response:
    etag = f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
    headers = {**CACHE_HEADERS, "etag": etag, "last-modified": "Sat, 01 Aug 2026 00:00:00 GMT"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=None, headers={**headers, "content-type": media_type})


@lru_cache(maxsize=128)
def _variant(picture: Picture, parameters: tuple[tuple[str, str], ...]) -> tuple[bytes, str]:
    """Re-encoded like imgix: `fit=crop` fills the box, anything else stays inside it and never enlarges."""
    asked = dict(parameters)
    with Image.open(io.BytesIO(picture.read())) as opened:
        ratio = _number(asked, "dpr", 1)
        box = (_number(asked, "w", MAX_SIDE_PIXELS) * ratio, _number(asked, "h", MAX_SIDE_PIXELS) * ratio)
        opened.draft("RGB", box)
        image = ImageOps.exif_transpose(opened).convert("RGB")
    if asked.get("fit") == "crop" and "w" in asked and "h" in asked:
        image = _fill(image, (min(box[0], MAX_CROP_PIXELS), min(box[1], MAX_CROP_PIXELS)))
    else:
        image.thumbnail(box)
    name, media_type = FORMATS.get(asked.get("fm", "jpg"), FORMATS["jpg"])
    stream = io.BytesIO()
    image.save(stream, name, quality=min(100, _number(asked, "q", DEFAULT_QUALITY)))
    return stream.getvalue(), media_type


def _fill(image: Image.Image, box: tuple[int, int]) -> Image.Image:
    width, height = box
    scale = max(width / image.width, height / image.height)
    resized = image.resize((max(width, round(image.width * scale)), max(height, round(image.height * scale))))
    left, top = (resized.width - width) // 2, (resized.height - height) // 2
    return resized.crop((left, top, left + width, top + height))


def _number(asked: Mapping[str, str], name: str, default: int) -> int:
    text = asked.get(name, "")
    return max(1, min(int(text[:9]), MAX_SIDE_PIXELS)) if text.isascii() and text.isdigit() else default


def _as_gif(picture: Picture) -> bytes:
    stream = io.BytesIO()
    with Image.open(io.BytesIO(picture.read())) as image:
        image.convert("P").save(stream, "GIF")
    return stream.getvalue()
