"""What the network makes of samples before its final linear layer: from the cache where it is known, else computed.

On a CPU each sample is one batch of its own, whatever else is asked for, so that the numbers are the same bit for bit
in any order, after any interruption, and next to any other samples.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainer.data.images import ImageFolder
from trainer.data.preprocessing import Preprocessing
from trainer.data.snapshot import Sample
from trainer.data.types import Report
from trainer.models.backbones import backbone_state, features_of
from trainer.models.embedding_cache import Embedding, EmbeddingCache, space_name
from trainer.models.pretrained import digest_of

SERVING_VIEW = "serving view"  # the recipe of what `Preprocessing.view` makes
LOADERS = min(8, len(os.sched_getaffinity(0)))  # threads that decode
LOOK_AHEAD = 2 * LOADERS  # pictures in memory
GPU_SAMPLES = 8  # samples of one batch on a GPU, which promises no bits
SAVE_SECONDS = 1.0  # how much work an interruption may cost; also how often progress is reported

MakeViews = Callable[[Sample, Image.Image], list[Image.Image]]  # RGB pictures of the network's input size


class Embedder:
    """One network with one serving view over one data folder."""

    def __init__(
        self,
        model: nn.Module,
        architecture: dict[str, object],
        preprocessing: Preprocessing,
        images: ImageFolder,
        cache: EmbeddingCache | None,
        device: torch.device,
    ) -> None:
        self.preprocessing, self.images, self.device = preprocessing, images, device
        self._model = model.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._cache = cache
        self.computed = 0  # samples that went through the network, so far
        self._together = 1 if device.type == "cpu" else GPU_SAMPLES
        self._network = space_name(
            architecture["name"], architecture["kwargs"], architecture.get("branch"), digest_of(backbone_state(model))
        )

    def embed(
        self, samples: Sequence[Sample], recipe: str | None, make_views: MakeViews, report: Report | None = None
    ) -> dict[str, Embedding]:
        """Embeddings by sha256. `recipe` names what `make_views` does: with the network, it is the cache's key.

        Without a recipe nothing is looked up or stored.
        """
        cache = self._cache if recipe is not None else None
        space = space_name(self._network, self.preprocessing.key(), recipe)
        found = cache.find(space, [sample.sha256 for sample in samples]) if cache else {}
        known = len(found)
        fresh: dict[str, Embedding] = {}
        saved = time.monotonic()
        for sample, embedding in self._computed([s for s in samples if s.sha256 not in found], make_views):
            fresh[sample.sha256] = embedding
            if time.monotonic() - saved >= SAVE_SECONDS:
                found |= _save(cache, space, fresh)
                fresh, saved = {}, time.monotonic()
                if report:
                    report(len(found), len(samples), f"embedded {len(found)} of {len(samples)} pictures")
        found |= _save(cache, space, fresh)
        if report:
            report(len(found), len(samples), f"embedded {len(found) - known} pictures, {known} were known")
        return found

    def remember(self, recipe: str, embeddings: dict[str, Embedding]) -> None:
        """Store what was found by other means under `recipe`."""
        if self._cache:
            space = space_name(self._network, self.preprocessing.key(), recipe)
            self._cache.add(space, embeddings)

    def _computed(self, samples: Sequence[Sample], make_views: MakeViews) -> Iterator[tuple[Sample, Embedding]]:
        def load(sample: Sample) -> torch.Tensor:
            views = make_views(sample, self.images.open(sample))
            return torch.stack([self.preprocessing.normalized(view) for view in views])

        # decoding lets go of the interpreter, so threads decode while the network computes
        with ThreadPoolExecutor(LOADERS, thread_name_prefix="load") as pool:
            ahead: deque[tuple[Sample, Future[torch.Tensor]]] = deque()
            waiting = iter(samples)
            while True:
                while len(ahead) < LOOK_AHEAD and (sample := next(waiting, None)) is not None:
                    ahead.append((sample, pool.submit(load, sample)))
                if not ahead:
                    return
                taken = [ahead.popleft() for _ in range(min(self._together, len(ahead)))]
                batches = [batch.result() for _, batch in taken]
                self.computed += len(batches)
                rows = np.split(self.features(torch.cat(batches)), np.cumsum([len(batch) for batch in batches])[:-1])
                yield from zip((sample for sample, _ in taken), rows, strict=True)

    @torch.inference_mode()
    def features(self, batch: torch.Tensor) -> Embedding:
        batch = batch.to(device=self.device, memory_format=torch.channels_last)
        out: Embedding = features_of(self._model, batch).float().cpu().numpy().astype(np.float32)
        return out


def _save(cache: EmbeddingCache | None, space: str, fresh: dict[str, Embedding]) -> dict[str, Embedding]:
    if cache and fresh:
        cache.add(space, fresh)
    return fresh
