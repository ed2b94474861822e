"""Where the harvester may connect: a source's own hosts over https, and only public addresses.

URLs come out of other people's JSON. Each one, and each redirect, must name an allowed host; its name is resolved
once, every address must be public, and the connection goes to the address that was checked, so that a second DNS answer
cannot lead elsewhere. Plain http is for a sandbox on loopback that the configuration names itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpcore

from scrapers.candidate import public_url
from scrapers.errors import RefusedError, TransientError
from utils.config.sources import Source, is_loopback_url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
DEFAULT_PORTS = {"https": 443, "http": 80}
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port; equal means same origin."""

    scheme: str
    host: str
    port: int


def origin_of(url: str) -> Origin:
    """Raises RefusedError when `url` is no plain http(s) URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise RefusedError("bad_url", f"not a URL: {error}") from error
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise RefusedError("bad_url", f"{parts.scheme or 'no scheme'}: only https URLs are followed")
    if parts.username is not None or parts.password is not None:
        raise RefusedError("bad_url", f"{public_url(url)}: has user information")
    if any(character <= " " or character == "\\" for character in url):
        raise RefusedError("bad_url", "has spaces or backslashes")
    return Origin(parts.scheme, parts.hostname.lower().rstrip("."), port or DEFAULT_PORTS[parts.scheme])


@dataclass(frozen=True, slots=True)
class AllowList:
    """Where one source may be asked: its API, which alone may get the key; origins; and whole domains, over https."""

    api: Origin
    images: frozenset[Origin]
    domains: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Source) -> AllowList:
        api = origin_of(settings.base_url)
        hosts = [host for host in settings.image_hosts if not host.startswith("*.")]
        wide = [host[2:].lower() for host in settings.image_hosts if host.startswith("*.")]
        images = {_image_origin(host, lifted=settings.on_loopback) for host in hosts}
        own = {api} if settings.on_loopback else set[Origin]()
        return cls(api, frozenset(images | own), (*settings.domains, *wide))

    def check_api(self, url: str) -> Origin:
        origin = origin_of(url)
        return origin if origin == self.api else _refuse(url, origin)

    def check_image(self, url: str) -> Origin:
        origin = origin_of(url)
        return origin if origin in self.images or self._is_below_a_domain(origin) else _refuse(url, origin)

    def loopback(self) -> frozenset[tuple[str, int]]:
        """The addresses that may be connected to although they are private."""
        origins = {self.api, *self.images}
        return frozenset((origin.host, origin.port) for origin in origins if origin.scheme == "http")

    def _is_below_a_domain(self, origin: Origin) -> bool:
        if (origin.scheme, origin.port) != ("https", DEFAULT_PORTS["https"]):
            return False
        return any(origin.host == domain or origin.host.endswith(f".{domain}") for domain in self.domains)


def _image_origin(host: str, *, lifted: bool) -> Origin:
    """https on the usual port; `127.0.0.1:PORT` is plain http when the API itself is on loopback."""
    local = f"http://{host}/"
    return origin_of(local) if lifted and is_loopback_url(local) else Origin("https", host.lower(), 443)


def _refuse(url: str, origin: Origin) -> NoReturn:
    if origin.scheme != "https":
        raise RefusedError("not_https", f"{public_url(url)}: only https is followed")
    raise RefusedError("host_not_allowed", f"{public_url(url)}: this host is not on the source's list")


def is_public(address: Address) -> bool:
    """Whether `address` is on the open internet, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None or address.teredo is not None:
            return False
        inner = address.sixtofour
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


async def resolve(host: str, port: int) -> list[Address]:
    """Every address of `host`, in the resolver's order. Raises TransientError when there is none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)  # SOCK_STREAM
    except (OSError, UnicodeError) as error:
        raise TransientError("dns", f"{host}: cannot be resolved: {error}", of_host=True) from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return list(dict.fromkeys(addresses))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the address that was checked, or not at all."""

    def __init__(
        self,
        loopback: frozenset[tuple[str, int]] = frozenset(),
        resolver: Callable[[str, int], Any] = resolve,
        inner: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._loopback = loopback
        self._resolve = resolver
        self._inner = inner or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._checked(host, port)
        last: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def is_lifted(self, host: str, port: int) -> bool:
        """Whether this is the sandbox on loopback that the configuration names."""
        return (host, port) in self._loopback

    async def check_before_proxy(self, host: str, port: int) -> None:
        """What can be known of an address that a proxy will choose: a name that is unknown here may be known there."""
        with contextlib.suppress(TransientError):
            await self._checked(host, port)

    async def _checked(self, host: str, port: int) -> list[Address]:
        addresses: list[Address] = await self._resolve(host, port)
        lifted = self.is_lifted(host, port)
        for address in addresses:
            if not (is_public(address) or (lifted and address.is_loopback)):
                raise RefusedError("private_address", f"{host} resolves to {address}, which is not public")
        return addresses
