"""How a follower is made: arguments first, then the environment, then defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import httpx

from exposr_client.downloads.cache import Cache
from exposr_client.errors import AuthError
from exposr_client.field.observations import Observations
from exposr_client.following.flows import Plan
from exposr_client.trust.keys import parse_key

URL_VARIABLE = "EXPOSR_TRAINER_URL"
API_KEY_VARIABLE = "EXPOSR_TRAINER_API_KEY"
PUBLIC_KEY_VARIABLE = "EXPOSR_TRAINER_PUBLIC_KEY"
CACHE_VARIABLE = "EXPOSR_MODEL_CACHE"
DEFAULT_URL = "http://localhost:8001"
DEFAULT_POLL_SECONDS = 30.0
DEFAULT_KEEP = 3
CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 15.0  # longest silence of the trainer in an answer
EVENTS_SILENCE_SECONDS = 60.0  # the trainer sends a sign of life on /events several times in this


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the trainer is and how to talk to it."""

    url: str
    headers: dict[str, str]
    timeout: httpx.Timeout


def make_connection(url: str | None, api_key: str | None) -> Connection:
    """Raises ValueError for a URL that is none, AuthError when there is no key."""
    address = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")
    parsed = httpx.URL(address)
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise ValueError(f"the trainer's URL is {address!r}, it must look like {DEFAULT_URL}")
    key = api_key or os.environ.get(API_KEY_VARIABLE)
    if not key:
        raise AuthError(f"no API key for the trainer: pass api_key or set {API_KEY_VARIABLE}")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AuthError(f"the API key of the trainer holds characters that no key has; check {API_KEY_VARIABLE}")
    headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity", "User-Agent": "exposr-client"}
    return Connection(address, headers, httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS))


def make_plan(
    cache_dir: str | Path | None,
    public_key: str | bytes | Path | None,
    poll_seconds: float,
    keep: int,
    observations: Observations | None = None,
) -> Plan:
    """Raises SignatureError when the named public key is none, ValueError for numbers that make no sense."""
    if not poll_seconds > 0:
        raise ValueError(f"poll_seconds is {poll_seconds}, it must be more than 0")
    named_key = public_key or os.environ.get(PUBLIC_KEY_VARIABLE)
    return Plan(
        cache=Cache(_cache_folder(cache_dir), keep),
        pinned=parse_key(named_key) if named_key else None,
        poll_seconds=poll_seconds,
        observations=observations,
    )


def _cache_folder(cache_dir: str | Path | None) -> Path:
    named = cache_dir or os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "exposr-client"
