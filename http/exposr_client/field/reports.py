"""Telling the trainer that a picture was judged wrongly. Pure: what to send, and what the answer means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from exposr_client.downloads.answers import error_of, require_success
from exposr_client.errors import ReportRefusedError, UnexpectedAnswerError

REPORTS_PATH = "/feedback"
MAX_ANSWER_BYTES = 64 * 1024
REFUSALS = (400, 409, 413, 422)


class Judged(Protocol):
    """What a version said of the picture (`Prediction` fits)."""

    @property
    def probability(self) -> float: ...
    @property
    def verdict(self) -> str: ...
    @property
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """`sample` is the picture's id at the trainer, `reports` how many reports of it are kept there."""

    sample: str
    reports: int
    status: str


def report_fields(
    judged: Judged, label: Literal["real", "ai_generated"] | None, note: str, reporter: str
) -> dict[str, str]:
    """The form's fields beside the picture."""
    fields = {"version": judged.version, "verdict": judged.verdict, "probability": repr(float(judged.probability))}
    return fields | {"label": label or "", "note": note, "reporter": reporter}


def picture_bytes(picture: str | Path | bytes) -> bytes:
    """The file as it is: a re-encoded picture would hide what the model saw."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | Path):
        return Path(picture).read_bytes()
    raise TypeError("report takes the picture's file or its bytes, not a decoded picture")


def receipt_of(status: int, headers: Mapping[str, str], body: bytes) -> Receipt:
    """Raises ReportRefusedError for what will not be taken, TrainerUnavailable for what may be taken later."""
    error = error_of(body)
    if status in REFUSALS and error is not None:
        raise ReportRefusedError(str(error["code"]), str(error.get("message", "")))
    require_success(status, headers, body)
    try:
        answer = json.loads(body)
        return Receipt(str(answer["sample"]), int(answer["reports"]), str(answer["status"]))
    except (ValueError, KeyError, TypeError) as wrong:
        raise UnexpectedAnswerError(f"{REPORTS_PATH}: the answer is no receipt") from wrong
