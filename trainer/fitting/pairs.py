"""Pairs in a fine-tuning: a photograph of the train split and its reconstruction, in one batch, treated alike.

Together the reconstructions weigh a quarter of what a generator of their number would. They come along with draws of
their photographs, so that real pictures are drawn as without pairs, and the generators share what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.context import RunContext
from trainer.data.preprocessing import Preprocessing
from trainer.data.resized_cache import KeptPictures, Pairs
from trainer.data.sampling import sampling_weights
from trainer.data.types import Floats, GroupedSample
from trainer.models.autoencoder import load_autoencoder
from trainer.models.reconstructions import Reconstructions
from utils.job_protocol import SCRATCH_FOLDER

FOLDER = "reconstructions"  # in the job's scratch folder


@dataclass(frozen=True, slots=True)
class PairedSampling:
    """`weights` [n] of the train samples' draws, sum 1; `views` is the mean number of views of a draw, 1 to 2.

    `key` changes with the reconstructions; it is empty without pairs.
    """

    weights: Floats
    views: float = 1.0
    pairs: Pairs | None = None
    key: str = ""

    def remove(self) -> None:
        if self.pairs:
            self.pairs.kept.remove()


def reconstructions_of(context: RunContext) -> Reconstructions | None:
    """By the autoencoder that is configured. Raises OperatorError when it cannot be read."""
    training = context.config.training
    if training.pairs is None:
        return None
    return Reconstructions(load_autoencoder(training.pairs), context.images, training.seed)


def paired_sampling(
    context: RunContext, train: Sequence[GroupedSample], preprocessing: Preprocessing
) -> PairedSampling:
    """Every rank calls this. The main one reconstructs; the others are sent the pictures."""
    if context.config.training.pairs is None:
        return PairedSampling(sampling_weights(train))
    ranks = context.ranks
    reconstructions = reconstructions_of(context) if ranks.is_main else None
    made = ranks.share(reconstructions.members(train) if reconstructions else None)
    key = ranks.share(reconstructions.key() if reconstructions else None)
    kept = KeptPictures(context.folder / SCRATCH_FOLDER / FOLDER)
    report = context.report("train")
    for number, member in enumerate(made, 1):
        picture = None
        if reconstructions and not kept.has(member.sample):
            image = context.images.open(member.sample)
            picture = reconstructions.of(member.sample, preprocessing.resized(image), image.size)
            kept.put(member.sample, picture)
            report(number, len(made), f"reconstructed {number} of {len(made)} photographs")
        if ranks.count > 1:
            shared = ranks.share(kept.open(member.sample) if ranks.is_main else None)
            if not kept.has(member.sample):
                kept.put(member.sample, shared)
    return _weighted(train, made, kept, key)


def _weighted(
    train: Sequence[GroupedSample], made: Sequence[GroupedSample], kept: KeptPictures, key: str
) -> PairedSampling:
    weights = sampling_weights(train, made)
    own, of_made = weights[: len(train)], float(weights[len(train) :].sum())
    names = {member.sample.sha256 for member in made}
    photos = float(own[np.array([member.sample.sha256 in names for member in train])].sum())
    if not photos:
        return PairedSampling(sampling_weights(train))
    share = min(1.0, of_made / photos)
    return PairedSampling(own / own.sum(), 1 + share * photos / float(own.sum()), Pairs(kept, share), key)
