"""Misbehaviour on the wire: which URL is hit is a pure function, how it is hit is a wrapper around the application."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scrapers.sandbox.journal import SECRET_PARAMETERS
from scrapers.sandbox.settings import Fault

MEBIBYTE = 1 << 20
BOMB_SIDE_PIXELS = 60_000
HTML_PAGE = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"
CHALLENGE_PAGE = (
    b"<!DOCTYPE html><html><head><title>Just a moment...</title></head>"
    b"<body><script>window._cf_chl_opt={cType:'managed'}</script></body></html>"
)
MP4_HEAD = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + b"\x00\x00\x00\x08free" + bytes(2048)


def url_identity(kind: str, path: str, query: str) -> str:
    """What a fault is tied to: an image's path, or an API call's path and sorted query without the key."""
    if kind == "image":
        return path
    kept = sorted(pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] not in SECRET_PARAMETERS)
    return f"{path}?{urlencode(kept)}"


def strikes(fault: Fault, source: str, kind: str, url: str) -> bool:
    """Whether `fault` concerns this URL at all (whatever the attempt); `url` is a `url_identity`."""
    if fault.where not in ("any", kind) or fault.source not in (None, source) or fault.contains not in url:
        return False
    digest = hashlib.blake2b(f"{fault.seed}:{fault.kind}:{url}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < fault.share * 2**64


def choose_fault(faults: Sequence[Fault], source: str, kind: str, url: str, attempt: int) -> Fault | None:
    """The first fault that hits the `attempt`-th (from 1) request of a URL."""
    for fault in faults:
        if (fault.attempts is None or attempt <= fault.attempts) and strikes(fault, source, kind, url):
            return fault
    return None


class FaultInjector:
    """Counts attempts and plays the chosen fault."""

    def __init__(self) -> None:
        self._attempts: Counter[str] = Counter()

    def clear(self) -> None:
        self._attempts.clear()

    def pick(self, faults: Sequence[Fault], source: str, kind: str, path: str, query: str) -> Fault | None:
        if not faults or kind not in ("api", "image"):
            return None
        url = url_identity(kind, path, query)
        self._attempts[url] += 1
        return choose_fault(faults, source, kind, url, self._attempts[url])


async def play(
    fault: Fault, source: str, kind: str, base: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer a request in the way that `fault` says; `base` is this server's URL."""
    match fault.kind:
        case "status":
            await _reply(send, fault.status, _error_body(fault.status, source, kind), _retry_headers(fault))
        case "challenge":
            headers = {"cf-mitigated": "challenge", "server": "cloudflare", "cf-ray": "8f00000000000000-SBX"}
            await _reply(send, 403, CHALLENGE_PAGE, headers)
        case "hang":
            await _until_disconnected(receive)
        case "redirect":
            location = fault.location.format(base=base, port=base.rpartition(":")[2])
            await _reply(send, 302, b"", {"location": location})
        case "redirect_loop":
            await _reply(
                send, 302, b"", {"location": base + scope["path"] + "?" + scope["query_string"].decode("latin-1")}
            )
        case "html":
            await _reply(send, 200, HTML_PAGE, {"content-type": "image/jpeg" if kind == "image" else "text/html"})
        case "video":
            await _reply(send, 200, MP4_HEAD, {"content-type": "image/jpeg"})
        case "image_bomb":
            await _reply(send, 200, image_bomb(), {"content-type": "image/png"})
        case "gzip_bomb":
            headers = {
                "content-type": "image/jpeg" if kind == "image" else "application/json",
                "content-encoding": "gzip",
            }
            await _reply(send, 200, gzip_bomb(fault.mebibytes, kind), headers)
        case _:
            start, body = await _answer_of(app, scope, receive)
            await _distort(fault, start, body, receive, send)


async def _distort(fault: Fault, start: Message, body: bytes, receive: Receive, send: Send) -> None:
    """Send a good answer in a bad way."""
    headers = MutableHeaders(scope=start)
    half = len(body) // 2
    match fault.kind:
        case "text_plain":
            headers["content-type"] = "text/plain; charset=utf-8"
        case "noai":
            name, _, value = fault.header.partition(":")
            headers.append(name.strip(), value.strip())
        case "truncated_image":
            body = body[: len(body) * 2 // 3]
            headers["content-length"] = str(len(body))
        case "length_too_small":
            body = body[:half]  # a client cannot see more than what was announced
            headers["content-length"] = str(half)
            headers["connection"] = "close"
        case "length_missing":
            del headers["content-length"]
        case "oversized":
            body += bytes(max(0, fault.mebibytes * MEBIBYTE - len(body)))
            headers["content-length"] = str(len(body))
        case "length_too_large":
            headers["content-length"] = str(2 * len(body) + 1)
    await send(start)
    if fault.kind in ("cut_body", "length_too_large"):
        # leaving the body unfinished makes the server close the connection
        await send(
            {"type": "http.response.body", "body": body[:half] if fault.kind == "cut_body" else body, "more_body": True}
        )
        return
    if fault.kind == "slow_drip" and not await _drip(body, fault.seconds, receive, send):
        return
    rest = b"" if fault.kind == "slow_drip" else body
    await send({"type": "http.response.body", "body": rest, "more_body": False})


async def _drip(body: bytes, seconds: float, receive: Receive, send: Send) -> bool:
    """One byte at a time; False when the client has gone."""
    gone = asyncio.ensure_future(_until_disconnected(receive))
    try:
        for position in range(len(body)):
            await send({"type": "http.response.body", "body": body[position : position + 1], "more_body": True})
            if (await asyncio.wait({gone}, timeout=seconds))[0]:
                return False
        return True
    finally:
        gone.cancel()


async def _answer_of(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    return messages[0], b"".join(message.get("body", b"") for message in messages[1:])


async def _reply(send: Send, status: int, body: bytes, headers: dict[str, str]) -> None:
    guessed = {b"<": "text/html; charset=UTF-8", b"{": "application/json"}.get(body[:1], "text/plain")
    all_headers = {"content-type": guessed, **headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in all_headers.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _error_body(status: int, source: str, kind: str) -> bytes:
    if source == "civitai" and kind == "api" and status in (500, 503):
        return b'{"error":"Server busy, please retry shortly."}'
    return HTML_PAGE if status >= 500 else b"refused"


def _retry_headers(fault: Fault) -> dict[str, str]:
    if fault.retry_after is None:
        return {}
    if fault.retry_after == "date":
        return {"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)}
    return {"retry-after": fault.retry_after}


@lru_cache(maxsize=4)
def gzip_bomb(mebibytes: int, kind: str) -> bytes:
    """A small gzip stream that decodes to `mebibytes`: white space of JSON, or zeros behind a JPEG's first bytes."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0) as packed:
        packed.write(b"\xff\xd8\xff\xe0" if kind == "image" else b"[")
        filling = (b"\x00" if kind == "image" else b" ") * MEBIBYTE
        for _ in range(mebibytes):
            packed.write(filling)
        packed.write(b"" if kind == "image" else b"]")
    return stream.getvalue()


@lru_cache(maxsize=1)
def image_bomb() -> bytes:
    """A PNG of a few hundred bytes whose header says 60,000 x 60,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", BOMB_SIDE_PIXELS, BOMB_SIDE_PIXELS, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(100_000)))
        + chunk(b"IEND", b"")
    )
