"""Pairs of perceptual hashes that are close, without comparing all with all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 64
BLOCK = 1 << 14  # hashes that are compared at a time: they stay in the processor's cache


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
        order = np.argsort(band, kind="stable")
        for firsts, seconds in _close_in_band(band[order], values[order], distance):
            one, other = known[order[firsts]], known[order[seconds]]
            for pair in zip(np.minimum(one, other).tolist(), np.maximum(one, other).tolist(), strict=True):
                if pair not in seen:
                    seen.add(pair)
                    yield pair


def _close_in_band(
    band: NDArray[np.uint64], values: NDArray[np.uint64], distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Places of close values, where `band` is sorted: each is compared with its k-th successor, while they share it."""
    successors = np.searchsorted(band, band, side="right") - np.arange(len(band)) - 1
    for start in range(0, len(band), BLOCK):
        block = values[start : start + BLOCK]
        for step in range(1, int(successors[start : start + BLOCK].max()) + 1):
            after = values[start + step : start + step + BLOCK]
            differing = np.bitwise_count(block[: len(after)] ^ after)
            firsts = start + np.flatnonzero(differing <= distance)
            if len(firsts):
                yield firsts, firsts + step
