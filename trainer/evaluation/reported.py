"""What a candidate says of the pictures that Exposr-Core reported as wrongly judged, once a person has labelled them.

The numbers inform and never decide: such pictures were chosen because a model failed on them, and some of them were
trained on, which is why those that were not are counted apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.types import GroupedSample, Scorer
from trainer.evaluation.operating_points import OperatingPoints, verdicts
from trainer.stats.predictions import score
from utils.job_protocol import REPORTED_FILE
from utils.metadata import LABELS

NAMES = {1: "ai_generated", 0: "real", -1: "uncertain"}


def read_reported(folder: Path) -> Mapping[str, Sequence[str]]:
    """What the daemon put beside the snapshot; empty without reports."""
    try:
        found: Mapping[str, Sequence[str]] = json.loads((folder / REPORTED_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def judge_reported(
    scorer: Scorer,
    samples: Sequence[GroupedSample],
    temperature: float,
    points: OperatingPoints,
    reported: Mapping[str, Sequence[str]],
) -> dict[str, Any] | None:
    """For the card; None when no reported picture has a label. `mistakes`: reported with another verdict than its label
    (`uncertain` is another one); of these, how many are judged rightly, wrongly and not at all now."""
    members = [
        member
        for member in samples
        if any(verdict != member.sample.label for verdict in reported.get(member.sample.sha256, ()))
    ]
    labelled = sum(member.sample.sha256 in reported for member in samples)
    if not labelled:
        return None
    given = verdicts(score(scorer, members, temperature).probabilities, points)
    untrained = np.array([member.part != "train" for member in members], dtype=bool)
    return {
        "labelled": labelled,
        **_counts(members, given),
        "untrained": _counts([m for m, is_new in zip(members, untrained, strict=True) if is_new], given[untrained]),
    }


def _counts(members: Sequence[GroupedSample], given: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, int]:
    said = [NAMES[int(verdict)] for verdict in given]
    right = sum(verdict == member.sample.label for verdict, member in zip(said, members, strict=True))
    decided = sum(verdict in LABELS for verdict in said)
    return {"mistakes": len(members), "right": right, "wrong": decided - right, "uncertain": len(said) - decided}
