"""Each injected fault, seen from the socket."""

from __future__ import annotations

import gzip
import io
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from scrapers.sandbox.faults import choose_fault, strikes, url_identity
from scrapers.sandbox.server import SandboxServer
from scrapers.sandbox.settings import Fault

Faulty = Callable[..., None]


@pytest.fixture
def inject(set_sandbox: Callable[..., None]) -> Faulty:
    def put(kind: str, **fields: Any) -> None:
        set_sandbox(faults=[{"kind": kind, **fields}])

    return put


@pytest.fixture
def image_url(call: Callable[..., httpx.Response]) -> str:
    return str(call("unsplash", "/photos", per_page=1).json()[0]["urls"]["raw"])


def raw_answer(url: str, seconds: float = 5) -> bytes:
    """All bytes that the server sends for one GET until it closes the connection or goes silent for `seconds`."""
    target = httpx.URL(url)
    with socket.create_connection((target.host, target.port), timeout=seconds) as connection:
        request = (
            f"GET {target.raw_path.decode()} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(request.encode())
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except TimeoutError:
            pass
        return received


def test_status_with_retry_after_in_every_form(http: httpx.Client, inject: Faulty, image_url: str) -> None:
    for value in ("7", "0", "-5", "999999"):
        inject("status", status=429, retry_after=value)
        answer = http.get(image_url)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, value)
    inject("status", status=503, retry_after="date")
    assert http.get(image_url).headers["retry-after"].endswith(" GMT")
    inject("status", status=502)
    answer = http.get(image_url)
    assert "retry-after" not in answer.headers
    assert answer.text.startswith("<!DOCTYPE html>")


def test_a_transient_fault_ends_after_its_attempts(http: httpx.Client, inject: Faulty, image_url: str) -> None:
    inject("status", status=503, attempts=2)
    assert [http.get(image_url).status_code for _ in range(4)] == [503, 503, 200, 200]


def test_faults_choose_by_place_source_and_text(
    call: Callable[..., httpx.Response], http: httpx.Client, inject: Faulty
) -> None:
    inject("status", status=500, where="api", source="civitai", contains="cursor=")
    assert call("civitai", "/api/v1/images").status_code == 200
    busy = call("civitai", "/api/v1/images", cursor="feed:1:2")
    assert (busy.status_code, busy.json()) == (500, {"error": "Server busy, please retry shortly."})
    assert call("pexels", "/v1/curated", cursor="x").status_code == 200


def test_cut_and_wrong_lengths(http: httpx.Client, inject: Faulty, image_url: str) -> None:
    size = len(http.get(image_url).content)
    inject("cut_body")
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(image_url)
    inject("length_too_large")
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(image_url)
    inject("length_too_small")
    assert len(http.get(image_url).content) == size // 2
    inject("truncated_image")
    assert len(http.get(image_url).content) == size * 2 // 3
    inject("length_missing")
    answer = http.get(image_url)
    assert "content-length" not in answer.headers
    assert len(answer.content) == size


def test_a_drip_sends_byte_by_byte_and_stops_when_the_client_leaves(
    http: httpx.Client, inject: Faulty, image_url: str, sandbox: SandboxServer
) -> None:
    inject("slow_drip", seconds=30)
    received = raw_answer(image_url, seconds=0.3)
    assert received.startswith(b"HTTP/1.1 200")
    assert len(received.partition(b"\r\n\r\n")[2]) == 1
    deadline = time.monotonic() + 5
    while any(entry.status == 0 for entry in sandbox.sandbox.journal.entries()) and time.monotonic() < deadline:
        time.sleep(0.01)
    inject("slow_drip", seconds=0)
    assert Image.open(io.BytesIO(http.get(image_url).content)).format


def test_a_hanging_server_says_nothing(inject: Faulty, image_url: str) -> None:
    inject("hang")
    assert raw_answer(image_url, seconds=0.3) == b""


def test_bombs(call: Callable[..., httpx.Response], http: httpx.Client, inject: Faulty, image_url: str) -> None:
    inject("gzip_bomb", mebibytes=8)
    with http.stream("GET", image_url) as answer:
        packed = b"".join(answer.iter_raw())
    assert (answer.headers["content-encoding"], answer.headers["content-type"]) == ("gzip", "image/jpeg")
    assert len(packed) < 100_000
    assert len(gzip.decompress(packed)) > 8_000_000
    assert call("pexels", "/v1/curated").json() == []
    inject("image_bomb")
    header = http.get(image_url).content
    assert len(header) < 1000
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(header[16:20]) == int.from_bytes(header[20:24]) == 60_000
    inject("oversized", mebibytes=3)
    assert len(http.get(image_url).content) == 3 << 20


def test_redirects(
    call: Callable[..., httpx.Response], http: httpx.Client, inject: Faulty, image_url: str, sandbox: SandboxServer
) -> None:
    inject("redirect")
    assert http.get(image_url).headers["location"] == "http://169.254.169.254/latest/meta-data/"
    inject("redirect", where="api", location="http://localhost:{port}/trap")
    location = call("pexels", "/v1/curated").headers["location"]
    http.get(location, headers={"authorization": "sandbox"})
    caught = sandbox.sandbox.journal.entries()[-1]
    assert (caught.kind, caught.path, caught.key) == ("other", "/trap", "sandbox")
    assert caught.host.startswith("localhost:")
    inject("redirect_loop")
    assert httpx.URL(http.get(image_url).headers["location"]).raw_path == httpx.URL(image_url).raw_path


def test_wrong_content_and_opt_outs(http: httpx.Client, inject: Faulty, image_url: str) -> None:
    inject("html")
    answer = http.get(image_url)
    assert (answer.status_code, answer.headers["content-type"], answer.content[:5]) == (200, "image/jpeg", b"<!DOC")
    inject("video")
    assert http.get(image_url).content[4:8] == b"ftyp"
    inject("text_plain")
    answer = http.get(image_url)
    assert answer.headers["content-type"].startswith("text/plain")
    assert Image.open(io.BytesIO(answer.content)).format
    for line in ("X-Robots-Tag: noai, noimageai", "x-robots-tag: exposrtrainer: noai", "tdm-reservation: 1"):
        inject("noai", header=line)
        name, _, value = line.partition(": ")
        assert http.get(image_url).headers[name] == value
    inject("challenge")
    answer = http.get(image_url)
    assert (answer.status_code, answer.headers["cf-mitigated"]) == (403, "challenge")


def test_which_urls_are_hit_follows_from_share_and_seed_alone() -> None:
    urls = [f"/images/unsplash/photo-{number}" for number in range(4000)]
    hit = {url for url in urls if strikes(Fault(kind="html", share=0.1), "unsplash", "image", url)}
    assert hit == {url for url in urls if strikes(Fault(kind="html", share=0.1), "unsplash", "image", url)}
    assert 320 < len(hit) < 480
    other = {url for url in urls if strikes(Fault(kind="html", share=0.1, seed=1), "unsplash", "image", url)}
    assert len(hit & other) < 100
    assert all(strikes(Fault(kind="html"), "unsplash", "image", url) for url in urls[:10])
    assert not any(strikes(Fault(kind="html", share=0), "unsplash", "image", url) for url in urls)


def test_the_first_fault_that_is_still_active_wins() -> None:
    faults = (Fault(kind="status", attempts=1), Fault(kind="html", where="image"))
    kinds = [getattr(choose_fault(faults, "pexels", "image", "/x", attempt), "kind", None) for attempt in (1, 2)]
    assert kinds == ["status", "html"]
    assert choose_fault(faults, "pexels", "api", "/x", 2) is None


def test_a_url_is_the_same_whatever_the_order_of_its_query_and_the_key() -> None:
    assert (
        url_identity("api", "/p", "b=2&a=1&client_id=k") == url_identity("api", "/p", "a=1&b=2&token=z") == "/p?a=1&b=2"
    )
    assert url_identity("image", "/p", "w=100") == "/p"
