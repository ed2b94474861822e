"""The shapes that the phases of a training hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.data.snapshot import Sample
from utils.job_protocol import Result

if TYPE_CHECKING:
    from torch import nn

    from trainer.data.preprocessing import Preprocessing

Part = Literal["train", "validation", "calibration", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "calibration", "test")
Mode = Literal["frozen", "lora", "full"]

Floats = NDArray[np.float64]
Transform = Callable[[Image.Image, np.random.Generator], Image.Image]

Report = Callable[[int, int, str], None]  # done, total, message for people


@dataclass(frozen=True, slots=True)
class GroupedSample:
    """A sample, the group it may not be parted from, and the part of the split that the group lies in."""

    sample: Sample
    group: str
    part: Part


PartsOfSplit = Mapping[Part, Sequence[GroupedSample]]


class Scorer(Protocol):
    """What a model says about samples by the serving view; alike for the candidate and a published version."""

    def logits(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        """Raw logits of ai_generated, before temperature, shape [n].

        `transform` is applied to the decoded picture before the serving view, with a generator that depends on
        (seed, sample) alone.
        """

    def embeddings(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        """Features before the final linear layer, shape [n, d]."""


Refit = Callable[[Sequence[GroupedSample]], tuple[Floats, float]]
"""Fits the published head again, by the same recipe, on some of the train members: weight [d] and bias over what
`Scorer.embeddings` gives. Opens no picture."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished training. `model` is on the CPU in eval mode; `architecture` is the card's section of that name.

    `refit` is set where leaving out sources costs only a new head (frozen features). `backbones` is the card's section
    of that name: those that were compared, or `why` none were.
    """

    model: nn.Module
    architecture: dict[str, Any]
    preprocessing: Preprocessing
    mode: Mode
    epochs: int
    history: list[dict[str, float]]
    pretrained: dict[str, Any]
    notes: list[str]
    refit: Refit | None = None
    backbones: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, as `utils.job_protocol.emit_outcome` takes it."""

    result: Result
    summary: str
    details: dict[str, Any]
