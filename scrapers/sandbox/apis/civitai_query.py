"""Reading the parameters of GET /api/v1/images as strictly as the real one does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SORTS = ("Most Reactions", "Most Comments", "Most Collected", "Newest", "Oldest", "Random")
PERIODS = ("AllTime", "Year", "Month", "Week", "Day")
TYPES = ("image", "video", "audio")
TRUE_WORDS = ("true", "1", "yes", "on", "y", "enabled")
FALSE_WORDS = ("false", "0", "no", "off", "n", "disabled")
NSFW_LEVELS = {"None": 1, "Soft": 3, "Mature": 7, "X": 31, "Blocked": 32}
DEFAULT_LIMIT, MAX_LIMIT = 100, 200
NOT_A_FILTER = ("cursor", "limit", "page", "token", "withMeta", "flatMeta", "withTags")

Issue = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImageQuery:
    limit: int
    page: int | None
    cursor: str | None
    sort: str
    type: str | None
    levels: int  # bit mask of the ratings asked for
    username: str | None
    image_id: int | None
    base_models: frozenset[str]
    with_meta: bool
    flat_meta: bool
    fingerprint: str  # of everything that a cursor is tied to


def parse_query(given: Mapping[str, str]) -> ImageQuery | list[Issue]:
    """The query, or zod's list of issues; unknown parameters are dropped without a word, as the real one does."""
    issues: list[Issue] = []
    filters = "&".join(f"{name}={given[name]}" for name in sorted(given) if name not in NOT_A_FILTER)
    query = ImageQuery(
        limit=_number(given, "limit", 0, MAX_LIMIT, issues) if "limit" in given else DEFAULT_LIMIT,
        page=_number(given, "page", 1, None, issues) if "page" in given else None,
        cursor=given.get("cursor"),
        sort=_choice(given, "sort", SORTS, issues) or "Most Reactions",
        type=_choice(given, "type", TYPES, issues),
        levels=_levels(given, issues),
        username=given.get("username"),
        image_id=_number(given, "imageId", 1, None, issues) if "imageId" in given else None,
        base_models=frozenset(name for name in given.get("baseModels", "").split(",") if name),
        with_meta=_flag(given, "withMeta", issues),
        flat_meta=_flag(given, "flatMeta", issues),
        fingerprint=hashlib.sha256(filters.encode("utf-8", "replace")).hexdigest(),
    )
    _choice(given, "period", PERIODS, issues)
    _flag(given, "withTags", issues)
    return issues or query


def _number(given: Mapping[str, str], name: str, low: int, high: int | None, issues: list[Issue]) -> int:
    try:
        value = int(given[name])
    except ValueError:
        message = f"Invalid input: expected number, received {given[name]}"
        issues.append({"expected": "number", "code": "invalid_type", "path": [name], "message": message})
        return low
    if value < low:
        message = f"Too small: expected number to be >={low}"
        issues.append({"origin": "number", "code": "too_small", "minimum": low, "path": [name], "message": message})
    if high is not None and value > high:
        message = f"Too big: expected number to be <={high}"
        issues.append({"origin": "number", "code": "too_big", "maximum": high, "path": [name], "message": message})
    return value


def _choice(given: Mapping[str, str], name: str, allowed: tuple[str, ...], issues: list[Issue]) -> str | None:
    value = given.get(name)
    if value is not None and value not in allowed:
        message = "Invalid option: expected one of " + "|".join(f'"{option}"' for option in allowed)
        issues.append({"code": "invalid_value", "values": list(allowed), "path": [name], "message": message})
    return value


def _flag(given: Mapping[str, str], name: str, issues: list[Issue]) -> bool:
    word = given.get(name, "false").lower()
    if word not in TRUE_WORDS + FALSE_WORDS:
        message = f"Invalid option: expected one of {'|'.join(TRUE_WORDS + FALSE_WORDS)}"
        issues.append({"code": "invalid_value", "path": [name], "message": message})
    return word in TRUE_WORDS


def _levels(given: Mapping[str, str], issues: list[Issue]) -> int:
    if "browsingLevel" in given:
        return _number(given, "browsingLevel", 0, None, issues)
    word = given.get("nsfw", "None")
    if word in NSFW_LEVELS:
        return NSFW_LEVELS[word]
    if _flag(given, "nsfw", issues):
        return 60  # R, X, XXX and Blocked: `true` asks for mature pictures only
    return 1
