"""An API's answer as the sources see it: status, headers and a body within limits, already unpacked."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from scrapers.candidate import public_url
from scrapers.errors import BlockedError, FailedError, RefusedError, TransientError
from scrapers.http.retry import RETRYABLE, parse_retry_after

MAX_JSON_BYTES = 16 << 20  # decoded
MAX_RATIO = 100  # decoded over encoded
RATIO_FLOOR_BYTES = 1 << 16  # small bodies may be as repetitive as they like
MAX_DEPTH = 64
MAX_INT_DIGITS = 300
SHOWN_CHARACTERS = 200
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_CHALLENGE_MARKS = (b"_cf_chl_opt", b"jschl-answer", b"cf-challenge", b"error code: 1010")


@dataclass(frozen=True, slots=True)
class Answer:
    url: str
    status: int
    headers: httpx.Headers
    body: bytes
    received: datetime

    def json(self) -> Any:
        """Raises TransientError when the body is no JSON (an edge's HTML page with status 200 is trouble, not data)."""
        if _depth(self.body) > MAX_DEPTH:
            raise RefusedError("json_depth", f"{public_url(self.url)}: JSON nested deeper than {MAX_DEPTH}")
        try:
            return json.loads(self.body, parse_int=_read_int)
        except (ValueError, RecursionError) as error:
            raise TransientError("not_json", f"{public_url(self.url)}: is not JSON: {self.shown()}") from error

    def shown(self) -> str:
        """What the body says about an error, for a person: a JSON error text, else its first characters."""
        try:
            found: Any = json.loads(self.body[:65_536], parse_int=_read_int)
        except (ValueError, RecursionError):
            return " ".join(self.body[:SHOWN_CHARACTERS].decode("utf-8", "replace").split())
        if isinstance(found, dict):
            found = next(
                (found[key] for key in ("errors", "error", "message", "detail", "code") if found.get(key)), found
            )
        if isinstance(found, dict):
            found = found.get("message", found)
        if isinstance(found, list) and found:
            found = found[0]
        return str(found)[:SHOWN_CHARACTERS]

    def is_html(self) -> bool:
        return "html" in self.headers.get("content-type", "") or self.body[:256].lstrip().lower().startswith(
            (b"<!doc", b"<html")
        )

    def is_challenge(self) -> bool:
        """An edge that wants a browser; nothing that we should try to get around."""
        if self.status not in (403, 429, 503):
            return False
        return self.headers.get("cf-mitigated") == "challenge" or any(
            mark in self.body[:65_536] for mark in _CHALLENGE_MARKS
        )

    def int_header(self, name: str) -> int | None:
        try:
            return int(self.headers.get(name, ""))
        except ValueError:
            return None

    def is_fresh(self) -> bool:
        """Not from a cache: counters in cached headers are those of another call."""
        return self.int_header("age") in (None, 0)


def judge_status(answer: Answer) -> None:
    """What holds for every source; returns when the answer is a success."""
    where = public_url(answer.url)
    if answer.is_challenge():
        raise BlockedError("challenge", f"{where}: refused by the edge (challenge page); check User-Agent and network")
    if 200 <= answer.status < 300:
        return
    if answer.status in RETRYABLE:
        wait = parse_retry_after(answer.headers.get("retry-after"), answer.received)
        raise TransientError(
            f"http_{answer.status}", f"{where}: HTTP {answer.status}: {answer.shown()}", wait, of_host=True
        )
    if answer.status in (401, 407):
        raise BlockedError("key_refused", f"{where}: the key was refused (HTTP {answer.status}: {answer.shown()})")
    if answer.status == 403:
        raise BlockedError("access_refused", f"{where}: access was refused (HTTP 403: {answer.shown()})")
    if answer.status == 451:
        raise BlockedError("region", f"{where}: not available in this region (HTTP 451: {answer.shown()})")
    raise FailedError(f"http_{answer.status}", f"{where}: HTTP {answer.status}: {answer.shown()}")


def _read_int(digits: str) -> int | None:
    """A number beyond any meaning must not cost the page that it is on."""
    return int(digits) if len(digits) <= MAX_INT_DIGITS else None


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for match in _TOKENS.finditer(body):
        token = match.group()
        if token in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"}", b"]"):
            depth -= 1
    return deepest


async def read_body(chunks: AsyncIterator[bytes], coding: str, limit: int = MAX_JSON_BYTES) -> bytes:
    """The decoded body of an API's answer. Raises RefusedError beyond the limits of size and ratio."""
    if coding in ("", "identity"):
        unpack = None
    elif coding in ("gzip", "x-gzip", "deflate"):
        unpack = zlib.decompressobj(wbits=47)
    else:
        raise RefusedError("content_encoding", f"content coding {coding!r} was not asked for")
    encoded = 0
    body = bytearray()
    async for chunk in chunks:
        encoded += len(chunk)
        try:
            body += chunk if unpack is None else unpack.decompress(chunk, limit + 1 - len(body))
        except zlib.error as error:
            raise TransientError("bad_gzip", f"cannot be unpacked: {error}") from error
        if len(body) > limit or (unpack is not None and unpack.unconsumed_tail):
            raise RefusedError("json_too_large", f"body is larger than {limit} bytes")
        if len(body) > RATIO_FLOOR_BYTES and len(body) > MAX_RATIO * encoded:
            raise RefusedError("ratio", f"body unpacks to more than {MAX_RATIO} times its size")
    if unpack is not None and encoded and not unpack.eof:
        raise TransientError("cut_body", "the body ended early")
    return bytes(body)
