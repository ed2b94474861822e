"""A way out through a proxy: what goes through it, what is still guarded, what is refused."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from raw_server import answer

from scrapers.errors import BlockedError, RefusedError, TransientError
from scrapers.http.address_guard import CheckedBackend, Origin
from scrapers.http.fetcher import Fetcher
from scrapers.http.proxy import Proxy, find_proxy
from scrapers.http.transport import GuardedTransport
from utils.clock import SystemClock
from utils.config.sources import Harvest
from utils.errors import OperatorError

HOST = "images.pexels.com"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What the far server shows, and what trusts it."""
    folder = tmp_path_factory.mktemp("certificate")
    key, public = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*made, "-keyout", str(key), "-out", str(public)], check=True, capture_output=True)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(public, key)
    return serving, ssl.create_default_context(cafile=str(public))


async def unknown(host: str, port: int) -> list[Any]:
    raise TransientError("dns", f"{host}: cannot be resolved", of_host=True)


def through_proxy(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
    host: str = HOST,
    resolver: Callable[[str, int], Any] = unknown,
    refusal: bytes = b"",
    bypassed: str = "",
) -> tuple[bytes | None, list[str], BaseException | None]:
    """Fetch `https://host/` through a proxy: the body, what the proxy was told, and what was raised."""
    told: list[str] = []
    serving, trusting = certificate

    handling: list[asyncio.Task[Any]] = []
    writers: list[asyncio.StreamWriter] = []

    def begin(writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.append(task)
        writers.append(writer)

    async def far(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begin(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"{}", Content_Length="2"))
        await writer.drain()
        writer.close()

    async def fetch() -> tuple[bytes | None, BaseException | None]:
        target = await asyncio.start_server(far, "127.0.0.1", 0, ssl=serving)
        far_port = target.sockets[0].getsockname()[1]

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            begin(writer)
            told.append((await reader.readuntil(b"\r\n\r\n")).decode())
            if refusal:
                writer.write(refusal)
                await writer.drain()
                writer.close()
                return
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", far_port)
            writers.append(inner_writer)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        way = Proxy(url, ("name", "pass word"), bypassed)
        transport = GuardedTransport(CheckedBackend(resolver=resolver), trusting, way)
        fetcher = Fetcher(transport, "Test/1", Harvest(), SystemClock())
        try:
            found = await fetcher.get(f"https://{host}/x", lambda url: Origin("https", host, 443), {})
            return found.body, None
        except (TransientError, RefusedError, BlockedError) as error:
            return None, error
        finally:
            await transport.aclose()
            server.close()
            target.close()
            for task in handling:
                task.cancel()
            await asyncio.gather(*handling, return_exceptions=True)
            for writer in writers:
                writer.transport.abort()
            await asyncio.sleep(0.01)  # for the transports to be gone

    body, error = asyncio.run(fetch())
    return body, told, error


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_a_host_that_only_the_proxy_can_reach_is_fetched_through_a_tunnel(certificate: Any) -> None:
    body, told, error = through_proxy(certificate)
    assert (body, error) == (b"{}", None)
    assert told[0].startswith(f"CONNECT {HOST}:443 ")
    assert base64.b64encode(b"name:pass word").decode() in told[0], "the proxy's name and password"


def test_the_certificate_is_checked_through_the_proxy_as_well(certificate: Any) -> None:
    _, told, error = through_proxy(certificate, host="elsewhere.example")
    assert told and isinstance(error, BlockedError) and error.code == "certificate"


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "[::1]"])
def test_a_private_address_is_refused_before_the_proxy_hears_of_it(certificate: Any, host: str) -> None:
    async def as_written(name: str, port: int) -> list[Any]:
        return [ipaddress.ip_address(name)]

    _, told, error = through_proxy(certificate, host, as_written)
    assert told == [] and isinstance(error, RefusedError) and error.code == "private_address"


def test_a_name_that_is_private_here_is_refused(certificate: Any) -> None:
    async def inside(name: str, port: int) -> list[Any]:
        return [ipaddress.ip_address("192.168.1.7")]

    _, told, error = through_proxy(certificate, resolver=inside)
    assert told == [] and isinstance(error, RefusedError)


def test_a_proxy_that_refuses_is_named_and_worth_another_try(certificate: Any) -> None:
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    _, _, error = through_proxy(certificate, refusal=refusal)
    assert isinstance(error, TransientError) and (error.code, error.of_host) == ("proxy", True)
    assert "407" in str(error) and "pass word" not in str(error)


def test_hosts_of_no_proxy_are_asked_directly(certificate: Any) -> None:
    _, told, error = through_proxy(certificate, bypassed="pexels.com")
    assert told == [] and isinstance(error, TransientError) and error.code == "dns"


@pytest.mark.parametrize(
    ("variables", "url", "auth"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128", None),
        ({"https_proxy": "proxy:3128"}, "http://proxy:3128", None),
        ({"ALL_PROXY": "https://u%40x:p%3A@proxy"}, "https://proxy:443", ("u@x", "p:")),
        ({"HTTPS_PROXY": "http://[::1]:8080"}, "http://[::1]:8080", None),
        ({"HTTP_PROXY": "http://proxy:3128"}, None, None),
        ({}, None, None),
    ],
)
def test_the_environment_names_the_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str | None, auth: Any
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = find_proxy()
    assert (found.url, found.auth) == (url, auth) if found else url is None


@pytest.mark.parametrize("value", ["socks5://proxy:1080", "http://user:secret@proxy:999999", "http://"])
def test_a_proxy_of_another_kind_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", value)
    with pytest.raises(OperatorError, match="HTTPS_PROXY") as error:
        find_proxy()
    assert "secret" not in str(error.value)


def test_the_sandbox_on_loopback_is_never_asked_through_a_proxy(
    configure: Callable[..., Any], collect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert collect(configure(only=("civitai",)))["civitai"].tally.total("stored") == 12
