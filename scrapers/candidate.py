"""What a source's page becomes: candidates for download, and items that are left out with the reason."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

MAX_TEXT = 2_000  # characters kept of one text field of a source
MAX_API_DATA_BYTES = 8_192  # kept of a source's own fields, as JSON
TRACKING_PARAMETERS = frozenset({"ixid", "ixlib", "utm_source", "utm_medium", "utm_campaign", "client_id", "token"})


@dataclass(frozen=True, slots=True)
class Variant:
    """One size of an image; `name` is kept in the metadata's provenance."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """An image worth fetching. `variants` are in order of preference, the original first.

    `creator` is the photographer or user as `<source>:<their id>`; `track_url` must be called before the image is used.
    """

    source_id: str
    variants: tuple[Variant, ...]
    attribution: dict[str, Any]
    api_data: dict[str, Any]
    creator: str | None = None
    track_url: str | None = None

    def to_json(self) -> str:
        # not asdict: its deep copies cost as much as the JSON itself
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["variants"] = [{"name": variant.name, "url": variant.url} for variant in self.variants]
        return json.dumps(plain, ensure_ascii=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Candidate:
        raw = json.loads(text)
        raw["variants"] = tuple(Variant(**variant) for variant in raw["variants"])
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class Dropped:
    """An item that is known from now on and never fetched: `why` is a short slug that is counted."""

    source_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Page:
    """One answered request of a crawl; `next_cursor` None: the end."""

    items: tuple[Candidate | Dropped, ...]
    next_cursor: str | None


def canonical_url(url: str) -> str:
    """The URL without what does not change the bytes: sorted query, no tracking keys, no fragment."""
    parts = urlsplit(url)
    query = sorted(
        pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in TRACKING_PARAMETERS
    )
    host = (parts.hostname or "").lower() + (f":{parts.port}" if parts.port else "")
    return f"{parts.scheme}://{host}{parts.path}" + (f"?{urlencode(query)}" if query else "")


def public_url(url: str) -> str:
    """The URL as it may be logged: without its query, which can hold keys."""
    parts = urlsplit(url)
    host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    return f"{parts.scheme}://{host}{parts.path}"


def clean(value: Any) -> Any:
    """`value` as JSON that any reader takes: texts cut and without NUL and lone surrogates, no NaN, ints that fit."""
    if isinstance(value, str):
        return value[:MAX_TEXT].replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean(str(key)): clean(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(member) for member in value]
    return str(value)[:MAX_TEXT]


def text_or_none(value: Any) -> str | None:
    """A text or number of a payload as clean, non-empty text."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return clean(str(value)).strip() or None


def trimmed(data: dict[str, Any], *, droppable: tuple[str, ...] = ()) -> dict[str, Any]:
    """`data` cleaned and, by leaving out `droppable` keys in turn, within MAX_API_DATA_BYTES."""
    result: dict[str, Any] = clean(data)
    for key in droppable:
        if len(json.dumps(result)) <= MAX_API_DATA_BYTES:
            break
        result.pop(key, None)
    return result
