"""Pairs of perceptual hashes that are close, without comparing all with all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

HASH_BITS = 64


def close_pairs(hashes: Sequence[str | None], distance: int) -> Iterator[tuple[int, int]]:
    """Index pairs (i < j) whose 64-bit hashes (16 hex digits; None has no neighbour) differ in at most `distance` bits.

    Two hashes that differ in d bits agree wholly in at least one of d + 1 bands (Manku et al. 2007), so only those that
    share a band are compared.
    """
    known = np.array([index for index, text in enumerate(hashes) if text], dtype=np.int64)
    values = np.array([int(hashes[index] or "0", 16) for index in known], dtype=np.uint64)
    edges = [round(band * HASH_BITS / (distance + 1)) for band in range(distance + 2)]
    seen: set[tuple[int, int]] = set()
    for low, high in pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        buckets: dict[int, list[int]] = defaultdict(list)
        for position, value in enumerate(band.tolist()):
            buckets[value].append(position)
        for positions in buckets.values():
            for offset, position in enumerate(positions[:-1]):
                others = np.array(positions[offset + 1 :])
                distances = np.bitwise_count(values[others] ^ values[position])
                for other in others[distances <= distance].tolist():
                    pair = (int(known[position]), int(known[other]))
                    if pair not in seen:
                        seen.add(pair)
                        yield pair
