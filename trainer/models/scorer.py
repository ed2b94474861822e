"""Logits and embeddings of samples by the serving view, for the candidate and for published versions alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from exposr_client.detection.network import build_network
from trainer.data.images import ImageFolder, sample_generator
from trainer.data.preprocessing import Preprocessing
from trainer.data.snapshot import Sample
from trainer.data.types import Floats, GroupedSample, Transform
from trainer.models.backbones import classifier_of
from trainer.models.embedding_cache import EmbeddingCache
from trainer.models.embeddings import SERVING_VIEW, Embedder
from utils.errors import StopRunError


class ModelScorer:
    """A model's view of samples. With a cache, pictures that its backbone has met are not opened again.

    A transform is remembered too when it has an attribute `cache_key`, a text that names it with its parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        architecture: dict[str, Any],
        preprocessing: Preprocessing,
        images: ImageFolder,
        cache: EmbeddingCache | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._embedder = Embedder(model, architecture, preprocessing, images, cache, device or torch.device("cpu"))
        self._preprocessing = preprocessing
        head = classifier_of(model)
        self._weight = head.weight.detach().cpu().numpy().astype(np.float64)[0]
        self._bias = float(head.bias.detach()[0])

    @classmethod
    def from_version(
        cls, folder: Path, images: ImageFolder, cache: EmbeddingCache | None = None, device: torch.device | None = None
    ) -> ModelScorer:
        """The scorer of a published version: `folder` holds model.json and weights.pt."""
        model, architecture, preprocessing = load_version(folder)
        return cls(model, architecture, preprocessing, images, cache, device)

    def logits(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        logits: Floats = self.embeddings(samples, transform, seed) @ self._weight + self._bias
        return logits

    def embeddings(self, samples: Sequence[GroupedSample], transform: Transform | None = None, seed: int = 0) -> Floats:
        named = transform is None or hasattr(transform, "cache_key")
        recipe = SERVING_VIEW if transform is None else f"{getattr(transform, 'cache_key', '')}, seed {seed}"

        def views(sample: Sample, image: Image.Image) -> list[Image.Image]:
            if transform is not None:
                image = transform(self._preprocessing.upright(image), sample_generator(sample, seed))
            return [self._preprocessing.view(image)]

        found = self._embedder.embed([grouped.sample for grouped in samples], recipe if named else None, views)
        rows = [found[grouped.sample.sha256][0] for grouped in samples]
        return np.array(rows, dtype=np.float64).reshape(len(samples), len(self._weight))


def load_version(folder: Path) -> tuple[nn.Module, dict[str, Any], Preprocessing]:
    """A published model from its own files alone, strictly. Raises StopRunError when they do not fit each other."""
    try:
        card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        architecture = card["architecture"]
        preprocessing = Preprocessing.from_card(card["preprocessing"])
        model = build_network(
            architecture["name"],
            architecture["kwargs"],
            architecture.get("branch"),
            preprocessing.mean,
            preprocessing.std,
        )
        model.load_state_dict(torch.load(folder / "weights.pt", map_location="cpu", weights_only=True), strict=True)
        return model.eval(), architecture, preprocessing
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise StopRunError(f"{folder}: cannot be loaded as a published model: {error}") from error
