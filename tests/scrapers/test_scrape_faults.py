"""Every way in which a server can misbehave, over real sockets: what is stored, refused, tried again or reported."""

from __future__ import annotations

import asyncio
import io
import ipaddress
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from raw_server import RawServer, answer, raw_server

from encoded_pictures import noise_picture
from fake_clock import FakeClock
from scrapers.errors import BlockedError, FailedError, RefusedError, TooLargeError, TransientError
from scrapers.http.address_guard import AllowList, CheckedBackend, Origin, origin_of
from scrapers.http.fetcher import Fetcher
from scrapers.http.transport import GuardedTransport
from scrapers.outcomes.outcome import SourceOutcome
from scrapers.sandbox.server import SandboxServer
from utils.clock import SystemClock
from utils.config.sources import Harvest
from utils.config_loader import Config

Collect = Callable[..., dict[str, SourceOutcome]]
Configure = Callable[..., Config]
Misbehave = Callable[..., None]


def one_fault(
    collect: Collect, configure: Configure, misbehave: Misbehave, fault: dict[str, Any], **harvest: Any
) -> dict[str, Any]:
    """Collect generated pictures of which all misbehave; the outcome as it is reported."""
    misbehave(faults=[{"where": "image", "seconds": 0.3, "mebibytes": 2, **fault}])
    config = configure(
        only=("civitai",), every={"max_image_mb": 1.5, "limit_per_query": 12}, harvest={"max_attempts": 2, **harvest}
    )
    return collect(config)["civitai"].as_details()


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"kind": "html"}, "html"),
        ({"kind": "video"}, "video"),
        ({"kind": "truncated_image"}, "decode"),
        ({"kind": "image_bomb"}, "too_many_pixels"),
        ({"kind": "oversized"}, "too_large"),
        ({"kind": "gzip_bomb"}, "content_encoding"),
        ({"kind": "redirect"}, "not_https"),
        ({"kind": "redirect", "location": "https://evil.example/a.jpg"}, "host_not_allowed"),
        ({"kind": "redirect_loop"}, "redirects"),
        ({"kind": "noai"}, "opt_out"),
        ({"kind": "noai", "header": "X-Robots-Tag: exposrtrainer: noimageai"}, "opt_out"),
        ({"kind": "noai", "header": "tdm-reservation: 1"}, "opt_out"),
    ],
    ids=lambda value: str(value),
)
def test_what_must_not_be_stored_is_refused_once_and_for_good(
    configure: Configure,
    collect: Collect,
    misbehave: Misbehave,
    sandbox: SandboxServer,
    fault: dict[str, Any],
    why: str,
) -> None:
    outcome = one_fault(collect, configure, misbehave, fault)
    assert outcome["refused"] == {why: 12} and outcome["stored"] == 0
    asked = sandbox.sandbox.journal.counters(with_paths=False)["requests"]["civitai image"]
    misbehave()
    config = configure(only=("civitai",), every={"max_image_mb": 1.5, "limit_per_query": 12})
    again = collect(config, "run-2")["civitai"]
    assert again.tally.total("stored") == 0
    assert again.as_details()["refused"] == {why: 12}, "what still holds is said again"
    assert sandbox.sandbox.journal.counters(with_paths=False)["requests"]["civitai image"] == asked
    assert not [file for file in config.storage.local_path.rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503, "retry_after": "0"},
        {"kind": "status", "status": 429},
        {"kind": "status", "status": 520, "retry_after": "-5"},
        {"kind": "status", "status": 500, "retry_after": "date"},
        {"kind": "cut_body"},
        {"kind": "length_too_large"},
    ],
    ids=str,
)
def test_passing_trouble_is_overcome_by_trying_again(
    configure: Configure, collect: Collect, misbehave: Misbehave, fault: dict[str, Any]
) -> None:
    outcome = one_fault(collect, configure, misbehave, {**fault, "attempts": 1, "share": 0.5}, max_attempts=5)
    assert outcome["stored"] == 12 and outcome["failed"] == {}


@pytest.mark.parametrize("fault", [{"kind": "text_plain"}, {"kind": "length_missing"}], ids=str)
def test_odd_headers_do_not_matter_when_the_bytes_are_right(
    configure: Configure, collect: Collect, misbehave: Misbehave, fault: dict[str, Any]
) -> None:
    assert one_fault(collect, configure, misbehave, fault)["stored"] == 12


@pytest.mark.parametrize(
    ("fault", "why"), [({"kind": "slow_drip", "seconds": 0.2}, "deadline"), ({"kind": "hang"}, "timeout")], ids=str
)
def test_what_never_ends_is_given_up_and_left_for_the_next_run(
    configure: Configure, collect: Collect, misbehave: Misbehave, fault: dict[str, Any], why: str
) -> None:
    slow = {**fault, "share": 0.2, "seed": 1, "seconds": fault.get("seconds", 3600)}
    limits = {"max_attempts": 1, "download_seconds": 1.5, "read_seconds": 0.7 if why == "timeout" else 20}
    outcome = one_fault(collect, configure, misbehave, slow, **limits)
    assert outcome["failed"] and set(outcome["failed"]) == {why}
    misbehave()
    later = collect(configure(only=("civitai",)), "run-2")["civitai"]
    assert later.tally.total("stored") == outcome["failed"][why]


@pytest.mark.parametrize("kind", ["slow_drip", "oversized", "cut_body", "length_too_large"])
def test_single_bad_files_keep_no_good_one_from_coming(
    configure: Configure, collect: Collect, misbehave: Misbehave, sandbox: SandboxServer, kind: str
) -> None:
    fault = {"kind": kind, "where": "image", "share": 0.2, "seed": 2, "seconds": 0.2, "mebibytes": 2}
    misbehave(synthetic=100, faults=[fault])
    limits = {"max_attempts": 5, "download_seconds": 1}
    config = configure(only=("civitai",), every={"max_image_mb": 1.5}, harvest=limits)
    outcome = collect(config, sleep=asyncio.sleep)["civitai"]
    details = outcome.as_details()
    bad = sum(details["failed"].values()) + sum(details["refused"].values())
    assert 6 <= bad <= 24 and details["state"] == "finished"
    assert details["stored"] == len(sandbox.sandbox.catalogues["civitai"].pictures) - bad


def test_a_server_that_asks_for_a_long_wait_parks_the_source(
    configure: Configure, collect: Collect, misbehave: Misbehave, fake_clock: FakeClock
) -> None:
    misbehave(faults=[{"kind": "status", "where": "api", "status": 503, "retry_after": "999999"}])
    outcome = collect(configure(only=("civitai",)), clock=fake_clock)["civitai"]
    assert outcome.result.state == "parked" and outcome.result.until is not None
    assert (outcome.result.until - fake_clock.now()).total_seconds() == pytest.approx(999_999, abs=5)
    assert "out of quota" in outcome.result.message


@pytest.mark.parametrize("kind", ["html", "gzip_bomb", "redirect", "cut_body", "status"])
def test_a_broken_page_costs_the_page_and_not_the_run(
    configure: Configure, collect: Collect, misbehave: Misbehave, kind: str
) -> None:
    misbehave(faults=[{"kind": kind, "where": "api", "source": "civitai", "mebibytes": 64}])
    config = configure(only=("civitai", "pexels"), harvest={"max_attempts": 2})
    outcomes = collect(config)
    assert outcomes["civitai"].tally.total("stored") == 0 and outcomes["civitai"].result.message
    assert outcomes["pexels"].tally.total("stored") > 0
    misbehave()
    assert collect(config, "run-2")["civitai"].tally.total("stored") == 12, "nothing was skipped"


# single requests against bytes that no framework would send


def jpeg() -> bytes:
    stream = io.BytesIO()
    noise_picture(0, (200, 150)).save(stream, "jpeg")
    return stream.getvalue()


def fetcher_for(*servers: RawServer, **limits: Any) -> Fetcher:
    lifted = frozenset(("127.0.0.1", int(server.host.partition(":")[2])) for server in servers)
    return Fetcher(GuardedTransport(CheckedBackend(lifted)), "Test/1", Harvest(**limits), SystemClock())


def allow(*servers: RawServer) -> Callable[[str], Origin]:
    origins = frozenset(origin_of(server.url) for server in servers)
    return AllowList(origin_of(servers[0].url), origins).check_image


def download(server: RawServer, folder: Path, max_bytes: int = 1_000_000, **limits: Any) -> Any:
    fetcher = fetcher_for(server, **limits)
    return asyncio.run(fetcher.download(f"{server.url}/a.jpg", allow(server), folder / "a.part", max_bytes))


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (answer(jpeg(), Content_Length="9000000"), TooLargeError, "9000000 bytes"),
        (answer(jpeg() * 60, Content_Type="image/jpeg"), TooLargeError, "larger than"),
        (answer(jpeg(), Content_Length=str(len(jpeg()) + 10)), TransientError, "connection broke"),
        (answer(jpeg(), Content_Length="many"), TransientError, None),
        (answer(b"", Content_Length="0"), RefusedError, "empty"),
        (answer(b"<svg xmlns='x'/>", Content_Length="16"), RefusedError, "SVG"),
        (answer(b"GIF89a" + bytes(90), Content_Length="96"), RefusedError, "GIF"),
        (answer(b"\x1aE\xdf\xa3" + bytes(96), Content_Length="100"), RefusedError, "WebM"),
        (answer(b"{}", Content_Type="application/json; charset=utf-8"), RefusedError, "json"),
        (answer(b"", status="304 Not Modified"), FailedError, "304"),
        (answer(b"gone", status="404 Not Found"), FailedError, "404"),
        (answer(b"", status="302 Found"), FailedError, "302"),
        (answer(b"", status="302 Found", Location="file:///etc/passwd"), RefusedError, "https"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", TransientError, None),
        (b"", TransientError, None),
    ],
    ids=range(15),
)
def test_each_bad_answer_has_its_decision(
    tmp_path: Path, reply: bytes, error: type[Exception], words: str | None
) -> None:
    with raw_server(lambda head: reply) as server, pytest.raises(error, match=words):
        download(server, tmp_path, max_bytes=200_000)


def test_a_complete_file_is_hashed_and_its_provenance_kept(tmp_path: Path) -> None:
    data = jpeg()
    reply = answer(data, Content_Length=str(len(data)), ETag='"x"', Content_Type="text/plain")
    with raw_server(lambda head: reply) as server:
        found = download(server, tmp_path)
    assert (tmp_path / "a.part").read_bytes() == data
    assert (found.size_bytes, found.etag, found.content_type) == (len(data), '"x"', "text/plain")
    assert "accept-encoding: identity" in server.heads[0].lower()


def test_a_redirect_to_another_origin_loses_the_key_even_when_it_is_allowed() -> None:
    with raw_server(lambda head: answer(b"{}", Content_Length="2")) as second:
        moved = answer(b"", status="302 Found", Location=f"{second.url}/x")
        with raw_server(lambda head: moved) as first:
            fetcher = fetcher_for(first, second)
            asyncio.run(fetcher.get(f"{first.url}/v1", allow(first, second), {"Authorization": "secret"}))
    assert "secret" in first.heads[0] and "secret" not in second.heads[0]


def test_the_key_goes_to_nobody_when_the_api_redirects_to_a_stranger() -> None:
    with raw_server(lambda head: answer(b"{}", Content_Length="2")) as stranger:
        moved = answer(b"", status="307 Temporary Redirect", Location=f"{stranger.url}/x")
        with raw_server(lambda head: moved) as api:
            fetcher, check = fetcher_for(api, stranger), AllowList(origin_of(api.url), frozenset()).check_api
            with pytest.raises(RefusedError):
                asyncio.run(fetcher.get(f"{api.url}/v1", check, {"Authorization": "secret"}))
    assert stranger.heads == []


@pytest.mark.parametrize(("host", "accepted"), [("images.pexels.com", True), ("elsewhere.example", False)])
def test_the_certificate_must_be_the_hosts_own_whatever_address_was_checked(
    tmp_path: Path, host: str, accepted: bool
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=images.pexels.com", "-addext", "subjectAltName=DNS:images.pexels.com"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"{}", Content_Length="2"))
        await writer.drain()
        writer.close()

    async def here(name: str, port: int) -> list[Any]:
        return [ipaddress.ip_address("127.0.0.1")]

    async def fetch() -> bytes:
        server = await asyncio.start_server(reply, "127.0.0.1", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        transport = GuardedTransport(CheckedBackend(frozenset({(host, port)}), resolver=here), trusting)
        fetcher = Fetcher(transport, "Test/1", Harvest(), SystemClock())
        try:
            found = await fetcher.get(f"https://{host}:{port}/", lambda url: Origin("https", host, port), {})
            return found.body
        finally:
            await transport.aclose()
            server.close()

    if accepted:
        assert asyncio.run(fetch()) == b"{}"
    else:
        with pytest.raises(BlockedError, match="certificate"):
            asyncio.run(fetch())


def test_a_refused_connection_is_named(tmp_path: Path) -> None:
    with raw_server(lambda head: b"") as server:
        pass
    with pytest.raises(TransientError, match="cannot be reached"):
        download(server, tmp_path)
