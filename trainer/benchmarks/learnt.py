"""Pictures that a version has learnt from: what it says of them tells nothing about other pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data.snapshot import read_snapshot
from trainer.data.types import GroupedSample, Part
from trainer.split.near_duplicates import close_pairs
from trainer.split.recovery import SNAPSHOT_FILE, SPLIT_FILE, read_parts
from utils.errors import StopRunError

USES: Mapping[Part, str] = {"train": "trained on", "validation": "chosen by", "calibration": "calibrated on"}


@dataclass(frozen=True, slots=True)
class Learnt:
    """How the version knows a picture: the use that was made of it, or (`alike`) of a near-duplicate at that path."""

    part: Part
    alike: str | None = None

    def __str__(self) -> str:
        what = f"a near-duplicate of it ({self.alike})" if self.alike else "it"
        return f"the version was {USES[self.part]} {what}"


def learnt_from(version_folder: Path, members: Sequence[GroupedSample]) -> dict[str, Learnt]:
    """By sha256, those of `members` that the version learnt from, by its own split; its test split is not among them.

    Raises StopRunError when the version's files do not say.
    """
    try:
        parts = dict(read_parts(version_folder / SPLIT_FILE))
        known = read_snapshot(version_folder / SNAPSHOT_FILE).samples
        card = json.loads((version_folder / "model.json").read_text(encoding="utf-8"))
        distance = int(card["data"]["training"]["settings"]["group_distance"])
    except (OSError, ValueError, KeyError, TypeError, StopRunError) as error:
        raise StopRunError(
            f"{version_folder}: does not say which pictures the version learnt from ({error}): its figures would mean"
            " nothing; see exposr-trainer models verify"
        ) from error
    found: dict[str, Learnt] = {}
    used = [sample for sample in known if parts.get(sample.sha256) in USES]
    hashes = [sample.phash for sample in used] + [member.sample.phash for member in members]
    for first, second in close_pairs(hashes, distance):
        if first < len(used) <= second:
            sample = used[first]
            found.setdefault(members[second - len(used)].sample.sha256, Learnt(parts[sample.sha256], sample.path))
    for member in members:
        part = parts.get(member.sample.sha256)
        if part is not None and part in USES:
            found[member.sample.sha256] = Learnt(part)
    return found
