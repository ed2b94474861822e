"""What every phase of a training needs: its folder, settings, data, cache, device and the way to stop it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from trainer.data.images import ImageFolder, Images
from trainer.data.types import Report
from trainer.distributed.ranks import Ranks
from trainer.interrupts import Interrupts
from trainer.models.embedding_cache import EmbeddingCache
from utils.config_loader import Config
from utils.job_protocol import emit_progress


@dataclass(frozen=True, slots=True)
class RunContext:
    folder: Path  # of the job: checkpoints go here
    run: str  # its id
    config: Config
    images: ImageFolder  # all pictures, where the job is
    cache: EmbeddingCache
    ranks: Ranks
    interrupts: Interrupts
    training_images: Images  # the train split's pictures, on every rank

    @property
    def device(self) -> torch.device:
        return self.ranks.device

    @property
    def on_gpu(self) -> bool:
        return self.ranks.device.type == "cuda"

    def report(self, phase: str) -> Report:
        """Progress of `phase` to whoever started the job; silent on all ranks but the first."""

        def say(done: int, total: int, message: str) -> None:
            self.say(phase, done, total, message)

        return say

    def say(self, phase: str, done: int, total: int, message: str, metrics: dict[str, float] | None = None) -> None:
        """One line of progress, with numbers for a live view."""
        if self.ranks.is_main:
            emit_progress(phase, done, total, message, metrics)
