"""What a source's page becomes: candidates for download, and items that are left out with the reason."""

from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

MAX_TEXT = 2_000  # characters kept of one text field of a source
MAX_API_DATA_BYTES = 8_192  # kept of a source's own fields, as JSON
MAX_ENTRIES = 100  # kept of a list or an object of a source
MAX_NESTING = 6
MAX_ID_BITS = 256
KEPT_KEYS = ("id", "creator", "post", "generator")
UNREADABLE_URL = "(a web address that cannot be read)"
JOINERS = "\u200c\u200d"  # zero-width, but part of words in some scripts, and of emoji
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
    `created` is the ISO 8601 time at which the source published it, `size` its width and height in pixels; either may
    be unknown.
    """

    source_id: str
    variants: tuple[Variant, ...]
    attribution: dict[str, Any]
    api_data: dict[str, Any]
    creator: str | None = None
    track_url: str | None = None
    created: str | None = None
    size: tuple[int, int] | None = None

    @property
    def generator(self) -> str | None:
        """What made a generated picture, as far as the source says."""
        name = self.api_data.get("generator")
        return name if isinstance(name, str) else None

    def to_json(self) -> str:
        # not asdict: its deep copies cost as much as the JSON itself
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["variants"] = [{"name": variant.name, "url": variant.url} for variant in self.variants]
        return json.dumps(plain, ensure_ascii=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Candidate:
        raw = json.loads(text)
        raw["variants"] = tuple(Variant(**variant) for variant in raw["variants"])
        raw["size"] = tuple(raw["size"]) if raw.get("size") else None
        return cls(**raw)


@dataclass(frozen=True, slots=True)
class Dropped:
    """An item that is known from now on and never fetched: `why` is a short slug that is counted."""

    source_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Page:
    """One answered request of a crawl; `next_cursor` None: the end. `nameless`: items without an id, which cannot be
    remembered."""

    items: tuple[Candidate | Dropped, ...]
    next_cursor: str | None
    nameless: int = 0


def canonical_url(url: str) -> str:
    """The URL without what does not change the bytes: sorted query, no tracking keys, no fragment."""
    try:
        parts = urlsplit(url)
        query = sorted(
            pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in TRACKING_PARAMETERS
        )
        host = (parts.hostname or "").lower() + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return url  # a bad port, half an IPv6 address: refused where it would be fetched
    return f"{parts.scheme}://{host}{parts.path}" + (f"?{urlencode(query, errors='replace')}" if query else "")


def public_url(url: str) -> str:
    """The URL as it may be logged: without its query, which can hold keys."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return UNREADABLE_URL
    return f"{parts.scheme}://{host}{parts.path}".encode("utf-8", "replace").decode()


def clean(value: Any, nesting: int = 0) -> Any:
    """`value` as JSON that any reader takes: no NUL, no lone surrogate, no NaN, ints that fit; texts, lists and depth
    within limits."""
    if isinstance(value, str):
        return value[:MAX_TEXT].replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_ID_BITS:
            return None
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if nesting >= MAX_NESTING:
        return None
    if isinstance(value, dict):
        return {clean(str(key)): clean(value[key], nesting + 1) for key in islice(value, MAX_ENTRIES)}
    if isinstance(value, (list, tuple)):
        return [clean(member, nesting + 1) for member in value[:MAX_ENTRIES]]
    return str(value)[:MAX_TEXT]


def plain_text(text: str) -> str:
    """One line without what changes how the text around it is shown: control, direction and other invisible
    characters."""
    text = text[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
    shown = (_plain(letter) for letter in text)
    return " ".join("".join(shown).split())


def _plain(letter: str) -> str:
    category = unicodedata.category(letter)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    return "" if category == "Cf" and letter not in JOINERS else letter


def text_or_none(value: Any) -> str | None:
    """A text or number of a payload as plain, non-empty text."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    if isinstance(value, int) and value.bit_length() > MAX_ID_BITS:
        return None
    return plain_text(str(value)) or None


def size_or_none(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height in pixels where both are sound."""
    sides = [side for side in (width, height) if isinstance(side, int) and not isinstance(side, bool)]
    return (sides[0], sides[1]) if len(sides) == 2 and all(0 < side < 2**31 for side in sides) else None


def trimmed(data: dict[str, Any], *, droppable: tuple[str, ...] = ()) -> dict[str, Any]:
    """`data` cleaned and, by leaving out `droppable` keys in turn, and then any but those that say where it is from,
    within MAX_API_DATA_BYTES."""
    result: dict[str, Any] = clean(data)
    others = [key for key in result if key not in (*KEPT_KEYS, *droppable)]
    for key in (*droppable, *reversed(others)):
        if len(json.dumps(result)) <= MAX_API_DATA_BYTES:
            break
        result.pop(key, None)
    return result
