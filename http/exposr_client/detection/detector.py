"""Predicting with the newest version, and changing it while requests are in flight.

detector = Detector()
follower.follow(detector.load)            # in a thread: loads and swaps whatever is published
detector.predict(["a.jpg", png_bytes])    # in as many threads as you like
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from exposr_client.detection.card import Reason, Verdict
from exposr_client.downloads.cache import WEIGHTS_FILE
from exposr_client.errors import MissingLibraryError, NoModelError
from exposr_client.field.observations import Observations, Seen

if TYPE_CHECKING:
    from exposr_client.detection.loading import LoadedModel
    from exposr_client.detection.preprocessing import Source

DEFAULT_BATCH_SIZE = 16

log = logging.getLogger("exposr_client")


@dataclass(frozen=True, slots=True)
class Prediction:
    """`probability` of ai_generated in 0..1, calibrated; `verdict` by the version's own thresholds.

    `reason` says why a verdict is `uncertain`: `unfamiliar` (unlike anything that the version was measured on, so that
    its probability means little) or `near_threshold`; None with any other verdict.
    """

    probability: float
    verdict: Verdict
    version: str
    reason: Reason | None = None


class Detector:
    """Thread-safe. Holds one checked model; `load` swaps it, and what is being predicted ends on the old one.

    `observations` counts what it says, by day and version; give it to a follower to have it handed to the trainer.
    """

    def __init__(self, path: str | Path | None = None, *, device: str = "cpu", batch_size: int = DEFAULT_BATCH_SIZE):
        """`path`: a version to begin with, see `load`. Raises MissingLibraryError with the pip command."""
        _require_libraries()
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, at least 1 is needed")
        self._device = device
        self._batch_size = batch_size
        self._loading = threading.Lock()
        self._model: LoadedModel | None = None
        self.observations = Observations()
        if path is not None:
            self.load(path)

    @property
    def version(self) -> str | None:
        """The loaded version, such as `v3`; None before the first one."""
        model = self._model
        return model.card.version if model else None

    def load(self, path: str | Path) -> str:
        """Load a version by its folder or its weights and use it from the next `predict` on; returns its name.

        It is built and checked against its card's golden vectors aside. Raises LoadError, and then nothing changes.
        """
        from exposr_client.detection.loading import load_version

        weights = Path(path) / WEIGHTS_FILE if Path(path).is_dir() else Path(path)
        with self._loading:
            model = load_version(weights, self._device)
            before, self._model = self._model, model
        log.info("serving model=%s version=%s before=%s", model.card.model, model.card.version, _name(before))
        return model.card.version

    def predict(self, images: Iterable[Source]) -> list[Prediction]:
        """One prediction a picture (path, encoded bytes, or PIL image), all by the same version, in the same order.

        Raises ImageError when one cannot be read, NoModelError before the first `load`.
        """
        from exposr_client.detection.preprocessing import open_image, to_array

        model = self._model  # one reference for the whole call: a reload does not mix versions
        if model is None:
            raise NoModelError("no model is loaded yet; the trainer has not published one, or it was not reached")
        if isinstance(images, str | bytes | Path):
            raise TypeError("predict takes a list of pictures; for one write predict([picture])[0]")
        card = model.card
        predictions: list[Prediction] = []
        seen: list[Seen] = []
        for batch in _batches(images, self._batch_size):
            answers = model.answers([to_array(open_image(image), card.view) for image in batch])
            for logit, novelty in answers:
                probability = card.probability(logit)
                verdict, reason = card.judge(probability, unfamiliar=model.is_unfamiliar(novelty))
                predictions.append(Prediction(probability, verdict, card.version, reason))
                seen.append(Seen(probability, verdict, reason == "unfamiliar", model.relative_novelty(novelty)))
        self.observations.add(card.model, card.version, seen)
        return predictions


def _require_libraries() -> None:
    try:
        import exposr_client.detection.loading  # noqa: F401
    except ImportError as error:
        raise MissingLibraryError(
            f"Detector needs {error.name or error}, which is not installed: pip install torch timm pillow numpy"
        ) from error


def _batches(images: Iterable[Source], size: int) -> Iterator[Sequence[Source]]:
    batch: list[Source] = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _name(model: LoadedModel | None) -> str | None:
    return model.card.version if model else None
