"""A run's context for tests that call a phase of the training directly."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.context import RunContext
from trainer.data.images import ImageFolder
from trainer.distributed.ranks import Ranks
from trainer.interrupts import Interrupts
from trainer.models.embedding_cache import EmbeddingCache
from utils.config.sections import Storage
from utils.config.training import Model, Training
from utils.config_loader import Config


def make_context(root: Path, model: Model, training: Training) -> RunContext:
    """On the CPU, over root/data and root/state."""
    storage = Storage(local_path=root / "data", models_path=root / "models", state_path=root / "state")
    images = ImageFolder(root / "data")
    return RunContext(
        folder=root / "job",
        run="run",
        config=Config(storage=storage, model=model, training=training),
        images=images,
        cache=EmbeddingCache(root / "state/embeddings/cache.sqlite", 10**9),
        ranks=Ranks(0, 1, 0, torch.device("cpu")),
        interrupts=Interrupts(),
        training_images=images,
    )
