"""What an answer of the trainer means to a caller."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from exposr_client.errors import AuthError, TrainerUnavailable, UnexpectedAnswerError, VersionGoneError

MAX_RETRY_AFTER_SECONDS = 300.0
MAX_MESSAGE_CHARACTERS = 300


def error_of(body: bytes) -> Mapping[str, Any] | None:
    """The `error` object of the trainer's error form, or None when the answer has another form."""
    try:
        found = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("code"), str) else None


def require_success(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Raise what any status but 2xx means."""
    if 200 <= status < 300:
        return
    error = error_of(body)
    message = str((error or {}).get("message", ""))[:MAX_MESSAGE_CHARACTERS]
    said = f" ({message})" if message else ""
    if status in (401, 403):
        raise AuthError(f"the trainer refused the API key with {status}; check EXPOSR_TRAINER_API_KEY{said}")
    if status in (404, 410):
        raise VersionGoneError(f"the trainer no longer has this file{said}")
    if status in (408, 425, 429) or status >= 500:
        unavailable = TrainerUnavailable(f"the trainer answered {status}{said}")
        unavailable.retry_after_seconds = _retry_after(headers)
        raise unavailable
    raise UnexpectedAnswerError(f"status {status} is not an answer of an Exposr Trainer{said}")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return min(float(value), MAX_RETRY_AFTER_SECONDS) if value.isascii() and value.isdecimal() else None
