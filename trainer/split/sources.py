"""Where samples come from, and folds that leave whole sources out: the only honest way to ask about the next one.

A real picture comes from its source, a generated one from its generator. A fold is one of them, or several small ones
together; none is ever parted. Pictures at random say how a model does on more of the same, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.types import GroupedSample

LEAST_IMAGES = 8  # of a source that is left out alone, and of small ones that are left out together
MOST_FOLDS = 6  # of a label; more cost time and say little more about the mean


@dataclass(frozen=True, slots=True)
class SourceFold:
    """Sources of one label (`target`: 1 generated, 0 real) that are left out together; `rows` marks their samples."""

    name: str
    target: int
    rows: NDArray[np.bool_]


def origin(member: GroupedSample) -> str:
    """What a slice is named after: the generator of a generated picture, the source of a real one."""
    sample = member.sample
    if sample.target == 1:
        return sample.generator or f"unknown ({sample.source})"
    return sample.source


def source_folds(
    members: Sequence[GroupedSample], target: int, *, least: int = LEAST_IMAGES, most: int = MOST_FOLDS
) -> list[SourceFold]:
    """At most `most` folds of at least `least` pictures, largest first; none when there are fewer than two.

    The largest sources are folds of their own; those that are left are shared out over a few folds, if they have
    enough pictures together. The same members give the same folds.
    """
    names = np.array([origin(member) if member.sample.target == target else "" for member in members], dtype=object)
    counts = Counter(name for name in names.tolist() if name)
    by_size = sorted(counts, key=lambda name: (-counts[name], name))
    large = [name for name in by_size if counts[name] >= least]
    alone = large if len(large) == len(by_size) <= most else large[: most - 1]
    shared = _shared_out([name for name in by_size if name not in alone], counts, least, most - len(alone))
    folds = [
        SourceFold(_name(group), target, np.isin(names, group)) for group in [*([name] for name in alone), *shared]
    ]
    return folds if len(folds) > 1 else []


def _shared_out(names: Sequence[str], counts: Counter[str], least: int, most: int) -> list[list[str]]:
    """Each name to the fold that has the fewest pictures so far; fewer folds where one would be too small."""
    for number in range(min(most, sum(counts[name] for name in names) // least), 0, -1):
        folds: list[list[str]] = [[] for _ in range(number)]
        sizes = [0] * number
        for name in names:
            smallest = sizes.index(min(sizes))
            folds[smallest].append(name)
            sizes[smallest] += counts[name]
        if min(sizes) >= least:
            return folds
    return []


def _name(group: Sequence[str]) -> str:
    return (
        group[0] if len(group) == 1 else f"{len(group)} small ones ({', '.join(group[:3])}{', …' * (len(group) > 3)})"
    )
