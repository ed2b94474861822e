from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pytest

from scrapers.errors import BlockedError, FailedError, RefusedError, TransientError
from scrapers.http.response import Answer, judge_status, read_body

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def answer(status: int = 200, body: bytes = b"{}", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer("https://api.pexels.com/v1/search?key=hidden", status, httpx.Headers(named), body, NOW)


def read(body: bytes, coding: str = "", limit: int = 1 << 20, step: int = 4096) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    return asyncio.run(read_body(chunks(), coding, limit))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_packed_bodies_are_unpacked(coding: str) -> None:
    text = json.dumps({"items": list(range(5000))}).encode()
    assert read(gzip.compress(text) if coding == "gzip" else zlib.compress(text), coding) == text


def test_a_gzip_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(RefusedError) as refusal:
        read(gzip.compress(bytes(64 << 20)), "gzip", limit=16 << 20)
    assert refusal.value.code == "ratio"


def test_a_body_beyond_the_limit_is_refused() -> None:
    with pytest.raises(RefusedError, match="larger than"):
        read(b" " * 2000, limit=1000)
    with pytest.raises(RefusedError, match="larger than"):
        read(gzip.compress(bytes(range(256)) * 20), "gzip", limit=1000)


def test_broken_and_cut_packing_are_worth_another_try() -> None:
    packed = gzip.compress(b"x" * 1000 + bytes(range(256)))
    with pytest.raises(TransientError):
        read(packed[:-12], "gzip")
    with pytest.raises(TransientError):
        read(b"not gzip at all", "gzip")
    with pytest.raises(RefusedError, match="not asked for"):
        read(b"x", "br")


def test_deep_nesting_is_refused_and_brackets_in_texts_do_not_count() -> None:
    with pytest.raises(RefusedError, match="nested"):
        answer(body=b"[" * 100_000).json()
    assert answer(body=json.dumps({"prompt": "[" * 500 + '\\"{' * 100}).encode()).json()["prompt"].startswith("[[")


def test_html_with_status_200_is_trouble_and_not_data() -> None:
    with pytest.raises(TransientError, match="not JSON"):
        answer(body=b"<!doctype html><p>hello").json()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524])
def test_passing_trouble_is_worth_another_try(status: int) -> None:
    with pytest.raises(TransientError) as error:
        judge_status(answer(status, b"<html>oops", retry_after="2"))
    assert error.value.retry_after == 2


@pytest.mark.parametrize("status", [400, 404, 405, 410, 418, 501])
def test_other_statuses_are_final(status: int) -> None:
    with pytest.raises(FailedError):
        judge_status(answer(status))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (answer(401, b'{"errors":["OAuth error: The access token is invalid"]}'), "key was refused.*access token"),
        (answer(403, b'{"error":"Forbidden"}'), "access was refused.*Forbidden"),
        (answer(451, b'{"error":"Not here"}'), "region"),
        (answer(403, b"<html>", cf_mitigated="challenge"), "challenge"),
        (answer(503, b"<html><script>window._cf_chl_opt={}</script>"), "challenge"),
        (answer(403, b"error code: 1010"), "challenge"),
    ],
)
def test_what_only_a_person_can_mend_blocks_the_source(given: Answer, words: str) -> None:
    with pytest.raises(BlockedError, match=words) as error:
        judge_status(given)
    assert "hidden" not in str(error.value), "no query strings in messages"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"errors":["query is missing","x"]}', "query is missing"),
        (b'{"error":{"name":"ZodError","message":"[bad]"}}', "[bad]"),
        (b'{"status":401,"code":"Unauthorized"}', "Unauthorized"),
        (b"<html>\n  <p>502  Bad</p>", "<html> <p>502 Bad</p>"),
        (b"", ""),
    ],
)
def test_an_errors_text_is_found_in_any_shape(body: bytes, said: str) -> None:
    assert answer(500, body).shown() == said
