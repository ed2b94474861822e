"""How pages word values: the filters of the templates. What is not known is said so; no value is an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
UNKNOWN = "not known"


def address(entry: Mapping[str, Any]) -> str:
    """Where a version's page is."""
    return f"models/{quote(entry['model'])}/{quote(entry['version'])}"


def figure(entry: Mapping[str, Any] | None, key: str) -> dict[str, Any] | None:
    """A figure of a registry entry with its interval, in the form of the card's; None when it is not known."""
    value = None if entry is None else entry.get(key)
    if isinstance(value, Mapping):
        return {name: value.get(name) for name in ("value", "low", "high", "worst", "why")}
    if entry is None or not isinstance(value, int | float):
        return None
    low, high = (entry.get(f"{key}_interval") or [None, None])[:2]
    return {"value": value, "low": low, "high": high}


def signed(number: object) -> str:
    return f"{number:+.3f}".replace("-", "\N{MINUS SIGN}") if isinstance(number, int | float) else "–"


def tojson_text(value: Any) -> str:
    """Indented JSON as text, to be escaped like any other."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def ago(time: object, now: datetime | None = None) -> str:
    """`5 min ago`, `in 2 h`; the text itself when it is no time."""
    if not isinstance(time, str) or not time:
        return "never"
    try:
        then = datetime.fromisoformat(time)
    except ValueError:
        return time
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    if abs(seconds) < MINUTE:
        return "just now" if seconds >= 0 else "in a moment"
    span = duration(abs(seconds))
    return f"{span} ago" if seconds > 0 else f"in {span}"


def duration(seconds: float) -> str:
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.0f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} d"


def fixed(number: object, digits: int = 3) -> str:
    return f"{number:.{digits}f}" if isinstance(number, int | float) else UNKNOWN


def percent(share: object) -> str:
    return f"{share:.1%}".replace("%", " %") if isinstance(share, int | float) else UNKNOWN


def grouped(number: object) -> str:
    """12 345 with a narrow no-break space, which no locale takes for a decimal point."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}") if isinstance(number, int | float) else "–"


def bytesize(count: object) -> str:
    if not isinstance(count, int | float):
        return "–"
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def plain(value: Any) -> str:
    """A value of a metadata file on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(plain(entry) for entry in value)
    return str(value) if value not in (None, "") else "–"


FILTERS = (address, ago, bytesize, duration, figure, fixed, grouped, percent, plain, signed, tojson_text)
