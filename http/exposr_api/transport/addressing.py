"""Where a request was sent to, before the router looks at it: proxies, prefixes, and absolute request targets.

- `X-Forwarded-For`, `-Proto` and `-Prefix` are believed from `trusted` addresses only, and ignored from everybody else.
- A prefix (`api.root_path`, or the header) may have been taken off by the proxy or not: both reach the same page.
- `GET http://host/status` is `GET /status` (RFC 9112, section 3.2.2).
- A request with both Content-Length and Transfer-Encoding ends its connection (RFC 9112, section 6.1): what comes after
  it may be a second request that a proxy before us took for a body.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){1,8}")
PREFIX_HEADER = b"x-forwarded-prefix"


class Addressing:
    """ASGI middleware, outermost. `trusted`: addresses and networks; none by default."""

    def __init__(self, app: ASGIApp, root_path: str = "", trusted: Sequence[str] = ()) -> None:
        self._app = app
        self._root_path = root_path
        self._trusts_anybody = bool(trusted)
        # it also decides for us who is trusted, so that there is one list and one reading of it
        self._proxies = ProxyHeadersMiddleware(self._forward, list(trusted))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _make_relative(scope)
        if self._trusts_anybody:
            _add_prefix(scope, self._forwarded_prefix(scope) or self._root_path)
            await self._proxies(scope, receive, send)  # type: ignore[arg-type]
        else:
            _add_prefix(scope, self._root_path)
            await self._forward(scope, receive, send)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, _closing(send) if _is_ambiguous(scope) else send)

    def _forwarded_prefix(self, scope: Scope) -> str:
        client = scope.get("client")
        if client is None or client[0] not in self._proxies.trusted_hosts:
            return ""
        values = [value for name, value in scope["headers"] if name == PREFIX_HEADER]
        prefix = values[0].decode("latin-1").rstrip("/") if len(values) == 1 else ""
        return prefix if PREFIX.fullmatch(prefix) and ".." not in prefix else ""


def _make_relative(scope: Scope) -> None:
    match = ABSOLUTE.match(scope["raw_path"])
    if match is not None:
        scope["raw_path"] = scope["raw_path"][match.end() :] or b"/"
        scope["path"] = unquote(scope["raw_path"].decode("ascii"))


def _add_prefix(scope: Scope, prefix: str) -> None:
    """Make the prefix part of the path, where the proxy has taken it off; the router takes `root_path` off again."""
    path: str = scope["path"]
    scope["root_path"] = prefix
    if prefix and path != prefix and not path.startswith(f"{prefix}/"):
        scope["path"] = prefix + path


def _is_ambiguous(scope: Scope) -> bool:
    names = {name for name, _ in scope["headers"]}
    return b"content-length" in names and b"transfer-encoding" in names


def _closing(send: Send) -> Send:
    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return send_and_close
