from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

import httpcore
import pytest
from lifted import lifted_source

from scrapers.errors import RefusedError, TransientError
from scrapers.http.address_guard import AllowList, CheckedBackend, is_public, origin_of, resolve
from utils.config.sources import Pexels
from utils.config_loader import load_config
from utils.errors import ConfigError

PEXELS = AllowList.of(Pexels())


@pytest.mark.parametrize(
    "url",
    [
        "http://images.pexels.com/a.jpg",
        "https://images.pexels.com.evil.example/a.jpg",
        "https://evil.example/images.pexels.com/a.jpg",
        "https://xn--mages-pexels.com/a.jpg",
        "https://images.pexels.com:8443/a.jpg",
        "https://user@images.pexels.com/a.jpg",
        "https://images.pexels.com@169.254.169.254/a.jpg",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:169.254.169.254]/",
        "https://images.pexels.com\\@evil.example/",
        "https://images.pexels.com /a.jpg",
        "ftp://images.pexels.com/a.jpg",
        "file:///etc/passwd",
        "//images.pexels.com/a.jpg",
        "https://images.pexels.com:99999/a.jpg",
        "https://[::1/a.jpg",
        "",
    ],
)
def test_only_https_urls_of_listed_hosts_pass(url: str) -> None:
    with pytest.raises(RefusedError):
        PEXELS.check_image(url)


def test_listed_hosts_pass_whatever_their_case() -> None:
    PEXELS.check_image("https://IMAGES.pexels.com/photos/1/a.jpeg?w=940")
    PEXELS.check_image("https://images.pexels.com:443/a.jpg")
    PEXELS.check_api("https://api.pexels.com/v1/search")
    with pytest.raises(RefusedError):
        PEXELS.check_api("https://images.pexels.com/v1/search")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:93.184.216.34", False),
        ("64:ff9b::a00:1", False),  # NAT64 of 10.0.0.1
        ("64:ff9b::5db8:d822", True),  # NAT64 of 93.184.216.34
        ("2002:a00:1::", False),  # 6to4 of 10.0.0.1
    ],
)
def test_public_addresses_are_told_from_the_others(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


class Recorder(httpcore.AsyncNetworkBackend):
    """Notes where a connection would go."""

    def __init__(self) -> None:
        self.connected: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        return httpcore.AsyncMockStream([])


def answers(*rounds: list[str]) -> Any:
    """A resolver that gives another answer each time: DNS rebinding."""
    left = list(rounds)

    async def resolver(host: str, port: int) -> list[Any]:
        return [ipaddress.ip_address(text) for text in left.pop(0)]

    return resolver


def connect(backend: CheckedBackend, host: str = "images.pexels.com", port: int = 443) -> None:
    asyncio.run(backend.connect_tcp(host, port))


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    recorder = Recorder()
    connect(CheckedBackend(resolver=answers(["93.184.216.34"], ["169.254.169.254"]), inner=recorder))
    assert recorder.connected == [("93.184.216.34", 443)]


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"]])
def test_a_name_with_any_private_address_is_refused(addresses: list[str]) -> None:
    recorder = Recorder()
    with pytest.raises(RefusedError, match="not public"):
        connect(CheckedBackend(resolver=answers(addresses), inner=recorder))
    assert recorder.connected == []


def test_loopback_is_only_for_the_port_that_the_configuration_names() -> None:
    lifted = AllowList.of(Pexels.model_validate(lifted_source("http://127.0.0.1:4000", "pexels"))).loopback()
    assert lifted == {("127.0.0.1", 4000)}
    recorder = Recorder()
    connect(CheckedBackend(lifted, inner=recorder), "127.0.0.1", 4000)
    assert recorder.connected == [("127.0.0.1", 4000)]
    with pytest.raises(RefusedError):
        connect(CheckedBackend(lifted, inner=recorder), "127.0.0.1", 4001)
    with pytest.raises(RefusedError):
        connect(CheckedBackend(lifted, resolver=answers(["10.0.0.1"]), inner=recorder), "127.0.0.1", 4000)
    assert AllowList.of(Pexels()).loopback() == frozenset()


def test_a_public_host_stays_https_when_the_api_is_on_loopback() -> None:
    settings = Pexels.model_validate(
        lifted_source("http://127.0.0.1:4000", "pexels", image_hosts=("127.0.0.1:4001", "images.pexels.com"))
    )
    allowed = AllowList.of(settings)
    allowed.check_image("http://127.0.0.1:4001/a.jpg")
    allowed.check_image("https://images.pexels.com/a.jpg")
    with pytest.raises(RefusedError):
        allowed.check_image("http://images.pexels.com/a.jpg")


def test_a_name_without_an_address_is_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(TransientError, match="cannot be resolved"):
        asyncio.run(resolve("api.pexels.com", 443))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("MIN_INTERVAL_SECONDS", "0", "min_interval_seconds must be"),
        ("REQUESTS_PER_HOUR", "0", "cannot be lifted"),
        ("IMAGE_CONNECTIONS", "64", "image_connections must be"),
        ("IMAGE_INTERVAL_SECONDS", "0", "image_interval_seconds must be"),
        ("HEAD_INTERVAL_SECONDS", "1", "head_interval_seconds must be"),
        ("IMAGE_HOSTS", '["127.0.0.1:80"]', "plain host names"),
        ("BASE_URL", "http://api.pexels.com", "must be https"),
        ("BASE_URL", "http://10.0.0.1:80", "must be https"),
    ],
)
def test_manners_cannot_be_lifted_for_a_real_host(key: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(environ={f"EXPOSR_SOURCES__PEXELS__{key}": value})


def test_origins_compare_with_default_ports() -> None:
    assert origin_of("https://a.example/x") == origin_of("https://A.example.:443/y")
