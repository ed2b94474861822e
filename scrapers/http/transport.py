"""httpx over guarded connections: one pool a request, directly or through a proxy."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpcore
import httpx

from scrapers.http.address_guard import DEFAULT_PORTS, CheckedBackend
from scrapers.http.proxy import Proxy

POOL_CONNECTIONS = 2  # an API's host and an image host
KEEPALIVE_SECONDS = 15.0


class GuardedTransport(httpx.AsyncBaseTransport):
    """httpx over connections that `CheckedBackend` has checked, or through `proxy`; no redirects, no retries of its
    own."""

    def __init__(self, backend: CheckedBackend, tls: ssl.SSLContext | None = None, proxy: Proxy | None = None) -> None:
        self._backend = backend
        self._tls = tls or ssl.create_default_context()
        self._proxy = proxy
        self._pools: list[httpcore.AsyncConnectionPool] = []
        self._free: dict[bool, list[httpcore.AsyncConnectionPool]] = {True: [], False: []}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        free = self._free[by_proxy := await self._goes_by_proxy(request.url)]
        pool = free.pop() if free else self._new_pool(by_proxy=by_proxy)
        try:
            response = await self._send(pool, request)
        except BaseException:
            free.append(pool)
            raise
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Stream(response.stream, lambda: free.append(pool)),
            extensions=response.extensions,
        )

    async def _goes_by_proxy(self, url: httpx.URL) -> bool:
        port = url.port or DEFAULT_PORTS[url.scheme]
        if self._proxy is None or self._backend.is_lifted(url.host, port) or not self._proxy.is_for(url.host):
            return False
        await self._backend.check_before_proxy(url.host, port)
        return True

    def _new_pool(self, *, by_proxy: bool) -> httpcore.AsyncConnectionPool:
        """A pool for one request at a time. A request's cost in a pool grows with the connections it holds (measured:
        a quarter of all CPU time at 32), so each request has one to itself; the caller limits how many there are."""
        pool: httpcore.AsyncConnectionPool
        if by_proxy and self._proxy is not None:
            pool = httpcore.AsyncHTTPProxy(
                self._proxy.url,
                proxy_auth=self._proxy.auth,
                ssl_context=self._tls,
                max_connections=POOL_CONNECTIONS,
                keepalive_expiry=KEEPALIVE_SECONDS,
            )
        else:
            pool = httpcore.AsyncConnectionPool(
                ssl_context=self._tls,
                max_connections=POOL_CONNECTIONS,
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
    """A body that frees its connection once, at its end."""

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
