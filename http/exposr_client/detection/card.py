"""A version's card (model.json), as far as serving needs it. Pure: no I/O, none of the heavy libraries."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from exposr_client.errors import LoadError

Verdict = Literal["ai_generated", "real", "uncertain"]
Reason = Literal["unfamiliar", "near_threshold"]
Kind = TypeVar("Kind")

# a bare model name: timm takes "hf-hub:…" and "local-dir:…" to mean a download or a folder
TIMM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")
# what would make timm read other weights than the signed ones
FORBIDDEN_ARGUMENTS = {
    "pretrained",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "checkpoint_path",
    "cache_dir",
    "scriptable",
}

# the view's steps that this client implements, by the word before the colon
KNOWN_STEPS = ("exif_transpose", "to_rgb", "shrink", "enlarge", "center_crop", "scale", "normalize")


@dataclass(frozen=True, slots=True)
class View:
    """What of a picture the model sees. Sizes in pixels; `mean` and `std` for values in 0..1."""

    size: int
    short_side_max: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    background: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Golden:
    """A synthetic picture with the values of its tensor at some flat indices, and the logit."""

    formula: str
    width: int
    height: int
    mode: str
    orientation: int
    tensor_values: dict[int, float]
    logit: float
    novelty: float | None = None

    @property
    def name(self) -> str:
        return f"{self.width}x{self.height} {self.mode}"


@dataclass(frozen=True, slots=True)
class Card:
    """How to build a version, what to feed it, and how to read its one logit."""

    model: str
    version: str
    architecture: str
    arguments: dict[str, Any]
    branch: str | None  # the low-level branch beside the timm model, by name
    view: View
    golden: tuple[Golden, ...]
    temperature: float
    threshold_ai: float
    threshold_real: float
    weights_sha256: str
    novelty: dict[str, Any] | None = None  # read by `exposr_client.detection.novelty`

    def probability(self, logit: float) -> float:
        """P(ai_generated) in 0..1, calibrated: sigmoid(logit / temperature)."""
        scaled = logit / self.temperature
        # the form that does not overflow for large negative logits
        return 1 / (1 + math.exp(-scaled)) if scaled >= 0 else math.exp(scaled) / (1 + math.exp(scaled))

    def judge(self, probability: float, *, unfamiliar: bool = False) -> tuple[Verdict, Reason | None]:
        """The verdict, and why it is `uncertain` when it is."""
        if unfamiliar:
            return "uncertain", "unfamiliar"
        verdict = self.verdict(probability)
        return verdict, "near_threshold" if verdict == "uncertain" else None

    def verdict(self, probability: float) -> Verdict:
        """By the probability alone."""
        if probability >= self.threshold_ai:
            return "ai_generated"
        return "real" if probability <= self.threshold_real else "uncertain"


def read_card(file: Path) -> Card:
    """Raises LoadError, naming the file and what is wrong with it."""
    try:
        raw = json.loads(file.read_bytes())
        return _parse(raw)
    except OSError as error:
        raise LoadError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise LoadError(f"{file} is not a card that this client can use: {type(error).__name__}: {error}") from error


def _parse(raw: dict[str, Any]) -> Card:
    architecture, calibration, points = raw["architecture"], raw["calibration"], raw["operating_points"]
    name, arguments = architecture["name"], dict(architecture.get("kwargs", {}))
    _require(architecture["library"] == "timm", f"architecture.library is {architecture['library']!r}")
    _require(bool(TIMM_NAME.fullmatch(name)), f"architecture.name is {name!r}")
    _require(not FORBIDDEN_ARGUMENTS & set(arguments), f"architecture.kwargs are {arguments!r}")
    model, _, version = raw["gate"]["published_as"].partition("/")
    _require(bool(model and version), "gate.published_as is not of the form vit/v3")
    card = Card(
        model=model,
        version=version,
        architecture=name,
        arguments=arguments,
        branch=architecture.get("branch"),
        view=_view(raw["preprocessing"]),
        golden=tuple(_golden(record) for record in raw["preprocessing"]["golden"]),
        temperature=float(calibration["temperature"]),
        threshold_ai=float(points["threshold_ai"]),
        threshold_real=float(points["threshold_real"]),
        weights_sha256=str(raw["files"]["weights.pt"]["sha256"]),
        novelty=raw.get("novelty"),
    )
    is_proved = card.novelty is None or all(golden.novelty is not None for golden in card.golden)
    _require(is_proved, "preprocessing.golden does not prove the novelty")
    _require(bool(card.golden), "preprocessing.golden is empty: nothing proves that this model computes what it should")
    _require(math.isfinite(card.temperature) and card.temperature > 0, f"temperature is {card.temperature}")
    _require(0 <= card.threshold_real <= card.threshold_ai <= 1, "thresholds are not in order within 0..1")
    return card


def _view(section: dict[str, Any]) -> View:
    steps = tuple(step.partition(":")[0] for step in section["steps"])
    _require(steps == KNOWN_STEPS, f"preprocessing.steps are {steps}, this client knows {KNOWN_STEPS}")
    _require(section["resample"] == "bicubic" and section["channels"] == "RGB", "preprocessing is of an unknown kind")
    view = View(
        size=int(section["size"]),
        short_side_max=int(section["short_side_max"]),
        mean=_three(section["mean"], float),
        std=_three(section["std"], float),
        background=_three(section["background"], int),
    )
    _require(0 < view.size <= view.short_side_max <= 10_000, "preprocessing has sizes that make no sense")
    _require(all(math.isfinite(value) and value > 0 for value in view.std), "preprocessing.std is not positive")
    return view


def _golden(record: dict[str, Any]) -> Golden:
    case = record["input"]
    return Golden(
        formula=str(case["formula"]),
        width=int(case["width"]),
        height=int(case["height"]),
        mode=str(case["mode"]),
        orientation=int(case["orientation"]),
        tensor_values={int(index): float(value) for index, value in record["tensor_values"].items()},
        logit=float(record["logit"]),
        novelty=None if record.get("novelty") is None else float(record["novelty"]),
    )


def _three(values: list[Any], kind: type[Kind]) -> tuple[Kind, Kind, Kind]:
    first, second, third = (kind(value) for value in values)  # type: ignore[call-arg]
    return first, second, third


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
