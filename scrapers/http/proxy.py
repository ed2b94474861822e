"""The proxy that the environment names (HTTPS_PROXY, ALL_PROXY, NO_PROXY), for whoever has no other way out.

What the guard can still do then: https to the source's own hosts only, with their certificates checked end to end, on
every redirect; addresses written as numbers, and names that this machine can resolve, must be public. What is lost: the
proxy resolves the name itself, so the address that it connects to is not the one that was checked.
"""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from utils.errors import OperatorError

DEFAULT_PORTS = {"http": 80, "https": 443}
LOST = "the proxy resolves names itself: which address it connects to is its own affair"


@dataclass(frozen=True, slots=True)
class Proxy:
    """`url` holds no credentials."""

    url: str
    auth: tuple[str, str] | None
    bypassed: str

    def is_for(self, host: str) -> bool:
        """False for hosts that NO_PROXY names."""
        return not urllib.request.proxy_bypass_environment(host, {"no": self.bypassed})  # type: ignore[attr-defined]


def find_proxy() -> Proxy | None:
    """The proxy for https. Raises OperatorError for one of a kind that is not spoken here."""
    named = urllib.request.getproxies_environment()
    text = named.get("https") or named.get("all")
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise OperatorError("HTTPS_PROXY cannot be read: it is written http://host:port") from None
    if parts.scheme not in ("http", "https") or not host:
        raise OperatorError(f"HTTPS_PROXY: {parts.scheme} proxies are not supported, http:// and https:// ones are")
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    shown = f"[{host}]" if ":" in host else host
    return Proxy(
        f"{parts.scheme}://{shown}:{port or (443 if parts.scheme == 'https' else 80)}", auth, named.get("no", "")
    )
