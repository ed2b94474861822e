"""Who may call: `Authorization: Bearer KEY`, compared in constant time, closed when there is no key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from starlette.types import Scope

from utils.clock import Clock
from utils.logs import get_logger

log = get_logger(__name__)

DIGEST_BYTES = 32
REPORT_SECONDS = 60.0
SCHEME = b"bearer"


class Keys:
    """The accepted API keys, kept as digests. Without any key nobody is let in.

    `secret` makes the fingerprints: with one that is kept, sessions outlive a restart.
    """

    __slots__ = ("_digests", "_salt")

    def __init__(self, keys: Iterable[str | bytes], secret: bytes | None = None) -> None:
        # no longer than a key of BLAKE2 may be
        self._salt = hashlib.sha256(secret).digest() if secret else secrets.token_bytes(DIGEST_BYTES)
        self._digests = self._digests_of(keys)

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

    def fingerprint(self, token: bytes) -> str:
        """Names a key without telling it."""
        return self._digest(token).hex()

    def knows(self, fingerprint: str) -> bool:
        """Whether the key of this fingerprint is accepted now."""
        return any(hmac.compare_digest(known.hex().encode(), fingerprint.encode()) for known in self._digests)

    def replace(self, keys: Iterable[str | bytes]) -> tuple[int, int]:
        """Accept these keys from now on, and no others. How many are new, and how many are gone. From any thread."""
        before, self._digests = self._digests, self._digests_of(keys)
        return len(set(self._digests) - set(before)), len(set(before) - set(self._digests))

    def _digests_of(self, keys: Iterable[str | bytes]) -> tuple[bytes, ...]:
        given = (key.encode() if isinstance(key, str) else key for key in keys)
        return tuple(self._digest(key) for key in given if key.strip())

    def _digest(self, token: bytes) -> bytes:
        # keyed, so that what is compared cannot be computed, and so steered, from outside
        return hashlib.blake2b(token, key=self._salt, digest_size=DIGEST_BYTES).digest()


class Refusals:
    """Tells the log of refused keys, once a minute at most: who has a wrong key is rarely the one who notices."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told_at: float | None = None
        self._untold = 0

    def note(self, scope: Scope) -> None:
        """Called on the event loop only."""
        self._untold += 1
        now = self._clock.monotonic()
        if self._told_at is not None and now - self._told_at < REPORT_SECONDS:
            return
        client = scope.get("client")
        log.warning("api_key_refused", times=self._untold, client=client[0] if client else "", path=scope["path"][:100])
        self._told_at, self._untold = now, 0


def bearer_token(scope: Scope) -> bytes | None:
    """The token of the request's only Authorization header; None when there is none, two, or another scheme."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(b" ")
    return token.strip() if scheme.lower() == SCHEME else None
