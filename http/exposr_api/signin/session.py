"""Who is signed in: a cookie that is signed, http-only and same-site. It holds a random id and which key let it in.

    sessions = Sessions(keys, secret)
    session = sessions.read(request.cookies.get(COOKIE))     # None: no cookie, forged, too old, or its key was revoked
    value = sessions.write(sessions.signed_in(token))        # a new id: what was there before sign-in is worth nothing

A session lives as long as its key is accepted: a key that is changed signs out everybody who came in with it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta

from itsdangerous import BadData, URLSafeSerializer
from starlette.requests import Request

from exposr_api.auth import Keys
from exposr_api.signin.signed_out import SignedOut
from utils.clock import Clock, SystemClock

COOKIE = "exposr_session"
ID_BYTES = 16
SECRET_BYTES = 32
DEFAULT_HOURS = 24.0 * 7


@dataclass(frozen=True, slots=True)
class Session:
    """`key` is the fingerprint of the key that let it in; empty before sign-in. `csrf_token` goes into each form."""

    id: str
    key: str
    expires: int
    csrf_token: str

    @property
    def is_signed_in(self) -> bool:
        return bool(self.key)


class Sessions:
    """Makes and reads sessions. Thread-safe."""

    def __init__(
        self,
        keys: Keys,
        secret: bytes | None = None,
        clock: Clock | None = None,
        hours: float = DEFAULT_HOURS,
        signed_out: SignedOut | None = None,
    ) -> None:
        self._keys = keys
        self._secret = secret or secrets.token_bytes(SECRET_BYTES)
        self._clock = clock or SystemClock()
        self._valid_for = timedelta(hours=hours)
        self._signed_out = signed_out or SignedOut()
        self._serializer = URLSafeSerializer(
            self._secret,
            salt=f"session {self._signed_out.epoch}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    @property
    def seconds(self) -> int:
        return int(self._valid_for.total_seconds())

    def anonymous(self) -> Session:
        """For the sign-in form, which is protected like every other."""
        return self._make("")

    def signed_in(self, token: bytes) -> Session:
        """`token` was accepted by the keys."""
        return self._make(self._keys.fingerprint(token))

    def write(self, session: Session) -> str:
        """The cookie's value."""
        value = self._serializer.dumps([session.id, session.key, session.expires])
        return value if isinstance(value, str) else value.decode("ascii")

    def read(self, cookie: str | None) -> Session | None:
        if not cookie:
            return None
        try:
            session_id, key, expires = self._serializer.loads(cookie)
        except (BadData, ValueError, TypeError):
            return None
        is_over = expires <= self._clock.now().timestamp() or session_id in self._signed_out
        if is_over or (key and not self._keys.knows(key)):
            return None
        return Session(session_id, key, expires, self._csrf_token(session_id))

    def end(self, session: Session) -> None:
        """Its cookie is refused from now on, wherever a copy of it may be. Writes to the disk."""
        self._signed_out.add(session.id, session.expires, self._clock.now().timestamp())

    def _make(self, key: str) -> Session:
        session_id = secrets.token_urlsafe(ID_BYTES)
        expires = int((self._clock.now() + self._valid_for).timestamp())
        return Session(session_id, key, expires, self._csrf_token(session_id))

    def _csrf_token(self, session_id: str) -> str:
        return hmac.new(self._secret, b"csrf " + session_id.encode(), hashlib.sha256).hexdigest()


def session_of(request: Request) -> Session | None:
    """The session that sent this request, when it is signed in."""
    session = any_session_of(request)
    return session if session is not None and session.is_signed_in else None


def any_session_of(request: Request) -> Session | None:
    """The same, also before sign-in."""
    sessions: Sessions = request.app.state.sessions
    return sessions.read(request.cookies.get(COOKIE))
