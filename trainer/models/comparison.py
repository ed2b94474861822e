"""The last comparison of backbones, kept in the state folder: made again when the data have grown, not each time.

Imports neither torch nor numpy: `train --dry-run` reads it too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.models.shortlist import Listed, shortlist
from utils.config.training import Model as ModelSettings
from utils.files import write_json_atomically

COMPARISON_FILE = "embeddings/backbones.json"  # in the state folder
GROWTH = 1.5  # of pictures or of sources, from which on backbones are compared again


@dataclass(frozen=True, slots=True)
class Row:
    """One backbone. `auc` is over left-out sources; None: it was skipped, and `why` says so.

    `seconds` is what embedding `embedded` pictures took, the branch included where `with_branch`; those that were known
    cost nothing. `missing`: its weights could not be had.
    """

    name: str
    licence: str
    auc: float | None = None
    why: str = ""
    weights: str = ""
    parameters: int = 0
    input_size: int = 0
    seconds: float = 0.0
    embedded: int = 0
    with_branch: bool = False
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """`pictures` and `sources` (real ones and generators) are those of the train split; `compared_on` counts the
    pictures that were embedded by each backbone; `key` is that of the settings; `made` is the time in ISO 8601."""

    chosen: str
    why: str
    pictures: int
    sources: int
    compared_on: int
    key: str
    hub_answered: bool
    made: str
    rows: tuple[Row, ...]

    def has_outgrown(self, pictures: int, sources: int) -> bool:
        return pictures >= GROWTH * self.pictures or sources >= GROWTH * self.sources

    def missed(self) -> list[Row]:
        """What could not be had then."""
        return [row for row in self.rows if row.missing]

    def to_card(self) -> dict[str, Any]:
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}

    def write(self, state: Path) -> None:
        file = state / COMPARISON_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json_atomically(file, self.to_card())


def read_comparison(state: Path, key: str) -> Comparison | None:
    """The last one, by the same settings; None also where the file is none that can be read."""
    try:
        found = json.loads((state / COMPARISON_FILE).read_text(encoding="utf-8"))
        comparison = Comparison(**{**found, "rows": tuple(Row(**row) for row in found["rows"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return comparison if comparison.key == key else None


def pinned_by(settings: ModelSettings) -> str | None:
    """The setting that leaves no choice of a backbone."""
    if settings.checkpoint is not None:
        return "model.checkpoint"
    if settings.architecture is not None:
        return "model.architecture"
    return None if settings.pretrained else "model.pretrained = false"


def comparison_key(settings: ModelSettings, *, on_gpu: bool) -> str:
    """Changes when another choice could follow."""
    names = [listed.name for listed in shortlist(on_gpu=on_gpu)]
    return json.dumps([names, settings.branch, settings.image_size, settings.short_side_max])


def too_large(listed: Listed, gpu_gb: float) -> str | None:
    """Why it is not compared on a GPU with so much memory (GB)."""
    return f"needs a GPU of {listed.gpu_gb} GB" if listed.gpu_gb > gpu_gb else None


def plan_in_words(settings: ModelSettings, state: Path, gpu_gb: float | None) -> list[str]:
    """What a training would compare, for people; `gpu_gb` is the memory of the GPU (GB), None on a CPU."""
    if setting := pinned_by(settings):
        return [f"backbone: {setting} leaves no choice"]
    on_gpu = gpu_gb is not None
    last = read_comparison(state, comparison_key(settings, on_gpu=on_gpu))
    if last:
        return [
            f"backbone: {last.chosen}, chosen {last.made[:10]} ({last.why}); compared again from "
            f"{_grown(last.pictures)} pictures or {_grown(last.sources)} sources and generators in the train split"
        ]
    return [
        "backbones that would be compared, given two real sources and two generators:",
        *(f"  {listed.name} ({listed.licence}): {where_in_words(listed)}" for listed in fitting(gpu_gb)),
    ]


def fitting(gpu_gb: float | None) -> list[Listed]:
    """What is compared on a GPU with so much memory (GB), or on a CPU."""
    listed = shortlist(on_gpu=gpu_gb is not None)
    return [entry for entry in listed if gpu_gb is None or not too_large(entry, gpu_gb)]


def where_in_words(listed: Listed) -> str:
    place = listed.place()
    if place == "package" and listed.package:
        return f"package {listed.package.name}"
    if place == "cache":
        return "in the hub's local cache"
    return f"{listed.repository}, if the hub answers" if listed.repository else "its package is not installed"


def best_of(rows: Sequence[Row]) -> Row | None:
    """The row with the highest AUC."""
    return max((row for row in rows if row.auc is not None), key=lambda row: row.auc or 0.0, default=None)


def _grown(count: int) -> int:
    return -int(-GROWTH * count // 1)
