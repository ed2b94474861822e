"""Near-duplicates: which 64-bit perceptual hashes may be close, and which pictures are.

Two hashes that differ in at most d bits agree in at least one of d + 1 bands (pigeonhole), so that looking up the
bands finds every candidate. With d = 4 and 100,000 pictures that is some 60 candidates instead of 100,000.
"""

from __future__ import annotations

import itertools

HASH_BITS = 64
MAX_THUMB_DIFFERENCE = 12.0  # mean over 4 x 4 x 3 levels of 0..255; re-encoded and resized copies stay under 4


def bands(phash: str, distance: int) -> list[tuple[int, int]]:
    """(number, value) of the `distance` + 1 bands of a hash of 16 hex digits; widths differ by one bit at most."""
    value = int(phash, 16)
    count = distance + 1
    edges = [HASH_BITS * number // count for number in range(count + 1)]
    return [
        (number, (value >> start) & ((1 << (end - start)) - 1))
        for number, (start, end) in enumerate(itertools.pairwise(edges))
    ]


def hamming(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def thumb_difference(one: bytes, other: bytes) -> float:
    """Mean absolute difference of two thumbs' levels, 0..255."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def is_near(one: str, other: str, one_thumb: bytes, other_thumb: bytes, distance: int) -> bool:
    """The same picture: hashes within `distance` bits, and colours that agree (the hash sees neither)."""
    return hamming(one, other) <= distance and thumb_difference(one_thumb, other_thumb) <= MAX_THUMB_DIFFERENCE
