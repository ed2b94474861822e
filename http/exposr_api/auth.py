"""Who may call: `Authorization: Bearer KEY`, compared in constant time, closed when there is no key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from starlette.types import Scope

DIGEST_BYTES = 32
SCHEME = b"bearer"


class Keys:
    """The accepted API keys, kept as digests. Without any key nobody is let in."""

    __slots__ = ("_digests", "_salt")

    def __init__(self, keys: Iterable[str | bytes]) -> None:
        self._salt = secrets.token_bytes(DIGEST_BYTES)
        given = (key.encode() if isinstance(key, str) else key for key in keys)
        self._digests = tuple(self._digest(key) for key in given if key.strip())

    def __len__(self) -> int:
        return len(self._digests)

    def __repr__(self) -> str:
        return f"Keys({len(self)})"

    def accepts(self, token: bytes) -> bool:
        """Takes the same time for every token of a length, whatever it shares with a key, and for every key."""
        digest = self._digest(token)
        accepted = False
        for known in self._digests:
            accepted |= hmac.compare_digest(known, digest)
        return accepted and bool(token)

    def _digest(self, token: bytes) -> bytes:
        # keyed, so that what is compared cannot be computed, and so steered, from outside
        return hashlib.blake2b(token, key=self._salt, digest_size=DIGEST_BYTES).digest()


def bearer_token(scope: Scope) -> bytes | None:
    """The token of the request's only Authorization header; None when there is none, two, or another scheme."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(b" ")
    return token.strip() if scheme.lower() == SCHEME else None
