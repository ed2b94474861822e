"""Where the harvester may connect: exact hosts over https, and only public addresses.

URLs come out of other people's JSON. Each one, and each redirect, must name an allowed origin; its name is resolved
once, every address must be public, and the connection goes to the address that was checked, so that a second DNS answer
cannot lead elsewhere. Plain http is for a sandbox on loopback that the configuration names itself.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from scrapers.candidate import public_url
from scrapers.errors import RefusedError, TransientError
from utils.config.sources import Source, is_loopback_url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
DEFAULT_PORTS = {"https": 443, "http": 80}
LANE_CONNECTIONS = 2  # an API's host and an image host
KEEPALIVE_SECONDS = 15.0
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
    """The origins of one source: its API, which alone may get the key, and its image hosts."""

    api: Origin
    images: frozenset[Origin]

    @classmethod
    def of(cls, settings: Source) -> AllowList:
        api = origin_of(settings.base_url)
        images = {_image_origin(host, lifted=settings.on_loopback) for host in settings.image_hosts}
        return cls(api, frozenset(images | {api} if settings.on_loopback else images))

    def check_api(self, url: str) -> Origin:
        return _check(url, {self.api})

    def check_image(self, url: str) -> Origin:
        return _check(url, self.images)

    def loopback(self) -> frozenset[tuple[str, int]]:
        """The addresses that may be connected to although they are private."""
        origins = {self.api, *self.images}
        return frozenset((origin.host, origin.port) for origin in origins if origin.scheme == "http")


def _image_origin(host: str, *, lifted: bool) -> Origin:
    """https on the usual port; `127.0.0.1:PORT` is plain http when the API itself is on loopback."""
    local = f"http://{host}/"
    return origin_of(local) if lifted and is_loopback_url(local) else Origin("https", host.lower(), 443)


def _check(url: str, allowed: Iterable[Origin]) -> Origin:
    origin = origin_of(url)
    if origin in allowed:
        return origin
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
        raise TransientError("dns", f"{host}: cannot be resolved: {error}") from error
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
        addresses: list[Address] = await self._resolve(host, port)
        lifted = (host, port) in self._loopback
        for address in addresses:
            if not (is_public(address) or (lifted and address.is_loopback)):
                raise RefusedError("private_address", f"{host} resolves to {address}, which is not public")
        last: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class GuardedTransport(httpx.AsyncBaseTransport):
    """httpx over connections that `CheckedBackend` has checked; no proxy, no redirects, no retries of its own."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext | None = None) -> None:
        self._backend = backend
        self._tls = tls or ssl.create_default_context()
        self._pools: list[httpcore.AsyncConnectionPool] = []
        self._free: list[httpcore.AsyncConnectionPool] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        pool = self._free.pop() if self._free else self._new_pool()
        try:
            response = await self._send(pool, request)
        except BaseException:
            self._free.append(pool)
            raise
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Stream(response.stream, lambda: self._free.append(pool)),
            extensions=response.extensions,
        )

    def _new_pool(self) -> httpcore.AsyncConnectionPool:
        """A pool for one request at a time. A request's cost in a pool grows with the connections it holds (measured:
        a quarter of all CPU time at 32), so each request has one to itself; the caller limits how many there are."""
        pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=LANE_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=self._backend,
        )
        self._pools.append(pool)
        return pool

    async def _send(self, pool: httpcore.AsyncConnectionPool, request: httpx.Request) -> httpcore.Response:
        return await pool.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()


class _Stream(httpx.AsyncByteStream):
    """A body whose end frees its lane, once."""

    def __init__(self, stream: Any, free: Callable[[], None]) -> None:
        self._stream = stream
        self._free: Callable[[], None] | None = free

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            free, self._free = self._free, None
            if free is not None:
                free()
