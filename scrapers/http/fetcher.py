"""One request: guards on every hop, limits on bytes and time, and nothing about who asks or why.

`get` reads an API's answer into memory; `download` streams an image to a file. Retries: client.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import httpcore
import httpx

from scrapers.candidate import public_url
from scrapers.errors import BlockedError, FailedError, RefusedError, TooLargeError, TransientError
from scrapers.http.address_guard import Origin
from scrapers.http.opt_out import find_opt_out
from scrapers.http.response import Answer, read_body
from scrapers.http.retry import RETRYABLE, parse_retry_after
from utils.clock import Clock
from utils.config.sources import Harvest
from utils.images.format import HEAD_BYTES, content_code, name_content, sniff

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
RATE_WINDOW_SECONDS = 30.0  # the least rate is asked for over this long

Check = Callable[[str], Origin]


@dataclass(frozen=True, slots=True)
class Download:
    """A complete file on disk, not decoded yet. `url` is the last hop, without what may hold a key."""

    path: Path
    sha256: str
    size_bytes: int
    url: str
    etag: str | None
    last_modified: str | None
    content_type: str | None


@dataclass(slots=True)
class _Seen:
    """How far an answer has come."""

    head: bool = False


class Fetcher:
    """Sends requests through one guarded transport."""

    def __init__(self, transport: httpx.AsyncBaseTransport, user_agent: str, limits: Harvest, clock: Clock) -> None:
        self._transport = transport
        self._user_agent = user_agent
        self._limits = limits
        self._clock = clock

    async def get(self, url: str, check: Check, headers: Mapping[str, str]) -> Answer:
        """One API call. Any status is an answer; raises TransientError and RefusedError only."""
        wanted = {"Accept": "application/json", "Accept-Encoding": "gzip", **headers}
        async with self._deadline(url) as seen, self._open(url, check, wanted, seen) as (final, response):
            coding = response.headers.get("content-encoding", "").strip().lower()
            body = await read_body(response.aiter_raw(), coding)
            return Answer(final, response.status_code, response.headers, body, self._clock.now())

    async def download(self, url: str, check: Check, part: Path, max_bytes: int) -> Download:
        """Stream an image to `part`, which may be left behind by Refused-, TooLarge-, Failed- and TransientError."""
        wanted = {"Accept": "image/jpeg,image/png,image/webp,image/avif", "Accept-Encoding": "identity"}
        async with self._deadline(url) as seen, self._open(url, check, wanted, seen) as (final, response):
            announced = self._check_head(response, max_bytes)
            sha256, size_bytes = await self._stream(response, part, max_bytes)
            if announced is not None and size_bytes != announced:
                raise TransientError("wrong_length", f"{public_url(url)}: {size_bytes} of {announced} bytes arrived")
        headers = response.headers
        return Download(
            part,
            sha256,
            size_bytes,
            final,
            headers.get("etag"),
            headers.get("last-modified"),
            headers.get("content-type"),
        )

    def _check_head(self, response: httpx.Response, max_bytes: int) -> int | None:
        """Refuse by status and headers, before a byte of the body; the announced length."""
        status, headers = response.status_code, response.headers
        if status in RETRYABLE:
            wait = parse_retry_after(headers.get("retry-after"), self._clock.now())
            raise TransientError(f"http_{status}", f"HTTP {status}", wait, of_host=True)
        if status != 200:
            raise FailedError(f"http_{status}", f"HTTP {status}")
        if directive := find_opt_out(headers):
            raise RefusedError("opt_out", f"its headers say {directive}")
        coding = headers.get("content-encoding", "").strip().lower()
        if coding not in ("", "identity"):
            raise RefusedError("content_encoding", f"is sent with content coding {coding!r}, which was not asked for")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml", "application/json"):
            raise RefusedError("html" if "html" in kind else "json", f"is {kind}, not an image")
        try:
            announced = int(headers["content-length"]) if "content-length" in headers else None
        except ValueError as error:
            raise TransientError("wrong_length", "Content-Length is no number") from error
        if announced is not None and announced > max_bytes:
            raise TooLargeError("too_large", f"has {announced} bytes, allowed are {max_bytes}")
        return announced

    async def _stream(self, response: httpx.Response, part: Path, max_bytes: int) -> tuple[str, int]:
        digest = hashlib.sha256()
        size_bytes = 0
        head = b""
        sniffed = False
        window_start, window_bytes = time.monotonic(), 0
        with part.open("wb") as file:
            async for chunk in response.aiter_raw():
                size_bytes += len(chunk)
                if size_bytes > max_bytes:
                    raise TooLargeError("too_large", f"is larger than {max_bytes} bytes")
                if not sniffed:
                    head = (head + chunk)[:HEAD_BYTES]
                    if len(head) == HEAD_BYTES:
                        _check_signature(head)
                        sniffed = True
                digest.update(chunk)
                file.write(chunk)
                window_bytes += len(chunk)
                elapsed = time.monotonic() - window_start
                if elapsed >= RATE_WINDOW_SECONDS:
                    if window_bytes < self._limits.min_bytes_per_second * elapsed:
                        raise TransientError("too_slow", f"{window_bytes / elapsed:.0f} bytes/s")
                    window_start, window_bytes = time.monotonic(), 0
        if not sniffed:
            _check_signature(head)
        return digest.hexdigest(), size_bytes

    @asynccontextmanager
    async def _open(
        self, url: str, check: Check, headers: Mapping[str, str], seen: _Seen
    ) -> AsyncIterator[tuple[str, httpx.Response]]:
        """Follow up to MAX_REDIRECTS hops, each checked; what is sent along with another origin holds no key."""
        first = check(url)
        sent = {"User-Agent": self._user_agent, **headers}
        timeout = {
            "connect": self._limits.connect_seconds,
            "read": self._limits.read_seconds,
            "write": self._limits.read_seconds,
            "pool": self._limits.download_seconds,
        }
        for _ in range(MAX_REDIRECTS + 1):
            if check(url) != first:
                sent.pop("Authorization", None)
            try:
                request = httpx.Request("GET", url, headers=sent, extensions={"timeout": timeout})
            except (httpx.InvalidURL, ValueError) as error:
                raise RefusedError("bad_url", f"{public_url(url)}: {error}") from error
            response = await self._ask(request, url)
            seen.head = True
            try:
                if response.status_code not in REDIRECTS or "location" not in response.headers:
                    yield url, response
                    return
                url = urljoin(url, response.headers["location"])
            finally:
                await response.aclose()
        raise RefusedError("redirects", f"{public_url(url)}: more than {MAX_REDIRECTS} redirects")

    async def _ask(self, request: httpx.Request, url: str) -> httpx.Response:
        """Up to the head of the answer. What fails until then speaks of the host, a head that is no HTTP apart."""
        where = public_url(url)
        try:
            return await self._transport.handle_async_request(request)
        except httpcore.TimeoutException as error:
            raise TransientError("timeout", f"{where}: {type(error).__name__}", of_host=True) from error
        except httpcore.ProxyError as error:
            raise TransientError("proxy", f"{where}: the proxy refuses: {error}", of_host=True) from error
        except httpcore.ConnectError as error:
            if _is_bad_certificate(error):  # trying again is no help
                raise BlockedError("certificate", f"{where}: its certificate is not valid: {error}") from error
            raise TransientError("connect", f"{where}: cannot be reached: {error}", of_host=True) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            # raised over another: a head came that cannot be read (a bad Content-Length); by itself: nothing came
            is_of_host = isinstance(error, httpcore.NetworkError) or (error.__cause__ or error.__context__) is None
            raise TransientError("cut_body", f"{where}: the connection broke: {error}", of_host=is_of_host) from error

    @asynccontextmanager
    async def _deadline(self, url: str) -> AsyncIterator[_Seen]:
        """The total time limit (httpx's are per read), and what happens to a body."""
        where, seen = public_url(url), _Seen()
        try:
            async with asyncio.timeout(self._limits.download_seconds):
                yield seen
        except TimeoutError as error:
            seconds = f"{self._limits.download_seconds:g} s"
            raise TransientError("deadline", f"{where}: took longer than {seconds}", of_host=not seen.head) from error
        except httpcore.TimeoutException as error:
            raise TransientError("timeout", f"{where}: {type(error).__name__}") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise TransientError("cut_body", f"{where}: the connection broke: {error}") from error


def _is_bad_certificate(error: BaseException | None) -> bool:
    """Somewhere in what led to `error`: the layers below wrap it once each."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _check_signature(head: bytes) -> None:
    """Stop a download whose first bytes are no picture of ours; the file's end is checked by decoding."""
    if sniff(head) in (None, "gif"):  # what the web has as GIF is animations and drawings
        raise RefusedError(content_code(head), f"is {name_content(head)}")
