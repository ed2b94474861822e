"""Which sample is looked at when: a balanced order for each epoch that depends on (seed, epoch) alone.

Both labels come equally often; within a label, generators (or real sources) by the square root of their number, so that
a prolific one does not decide. The order is that of the whole training: ranks take turns in it, so it is the same for
any number of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from trainer.data.snapshot import Sample
from trainer.data.types import Floats, GroupedSample

# Over 40 mixes of sources a quarter kept nearly all that pairs gain on files as they are, and cost least on files that
# were compressed again (docs/training.md, Pairs).
RECONSTRUCTIONS = 0.25


def sampling_weights(samples: Sequence[GroupedSample], reconstructions: Sequence[GroupedSample] = ()) -> Floats:
    """Of the samples, then of the reconstructions. Sum 1; each label half of it, each generator or source of a label by
    the root of its number; all reconstructions together RECONSTRUCTIONS times as much as a generator of their number.
    """
    kinds = [_kind(grouped.sample) for grouped in samples] + [_Kind("ai_generated", None)] * len(reconstructions)
    # what one sample of a kind weighs within its label
    weights_of = {
        kind: (RECONSTRUCTIONS if kind.name is None else 1.0) / float(np.sqrt(size))
        for kind, size in Counter(kinds).items()
    }
    weights: Floats = np.array([weights_of[kind] for kind in kinds])
    labels = np.array([kind.label for kind in kinds])
    for label in set(labels.tolist()):
        weights[labels == label] /= weights[labels == label].sum()
    weights /= weights.sum()
    return weights


def epoch_order(weights: Floats, seed: int, epoch: int) -> NDArray[np.int64]:
    """As many indices as there are samples: each about `weights * n` times (systematic resampling), shuffled."""
    generator = np.random.default_rng([seed, epoch])
    count = len(weights)
    shuffled = generator.permutation(count)
    edges = np.cumsum(weights[shuffled]) * count
    pointers = np.arange(count) + generator.random()
    chosen = shuffled[np.minimum(np.searchsorted(edges, pointers), count - 1)]
    return generator.permutation(chosen).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Draw:
    """One look at one sample; `number` counts through the epoch, so that two looks at a sample differ."""

    index: int
    epoch: int
    number: int


class BatchOrder(Sampler[list[Draw]]):
    """The batches of one rank, from a step on. The last batch of an epoch is filled up from the epoch's beginning."""

    def __init__(
        self, weights: Floats, *, seed: int, epochs: int, batch: int, rank: int, ranks: int, first_step: int = 0
    ) -> None:
        self.weights, self.seed, self.epochs = weights, seed, epochs
        self.batch, self.rank, self.ranks, self.first_step = batch, rank, ranks, first_step

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.weights) // (self.batch * self.ranks))

    def __len__(self) -> int:
        return self.steps_per_epoch * self.epochs - self.first_step

    def __iter__(self) -> Iterator[list[Draw]]:
        together = self.batch * self.ranks
        first_epoch, skip = divmod(self.first_step, self.steps_per_epoch)
        for epoch in range(first_epoch, self.epochs):
            order = np.resize(epoch_order(self.weights, self.seed, epoch), self.steps_per_epoch * together)
            for step in range(skip, self.steps_per_epoch):
                mine = range(step * together + self.rank, (step + 1) * together, self.ranks)
                yield [Draw(int(order[number]), epoch, number) for number in mine]
            skip = 0


class _Kind(NamedTuple):
    label: str
    name: str | None  # None: a reconstruction


def _kind(sample: Sample) -> _Kind:
    return _Kind(sample.label, (sample.generator or sample.source) if sample.target else sample.source)
