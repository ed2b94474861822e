"""Near-duplicates: no close pair escapes the bands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from handlers.index.phash import bands, hamming, is_near, thumb_difference

HASHES = st.integers(0, 2**64 - 1)


@given(HASHES, st.integers(0, 8), st.data())
def test_hashes_within_the_distance_share_a_band(value: int, distance: int, data: st.DataObject) -> None:
    flipped = data.draw(st.sets(st.integers(0, 63), max_size=distance))
    other = value
    for bit in flipped:
        other ^= 1 << bit
    one, two = f"{value:016x}", f"{other:016x}"
    assert hamming(one, two) == len(flipped)
    assert set(bands(one, distance)) & set(bands(two, distance))


@given(HASHES, st.integers(0, 8))
def test_bands_hold_every_bit_once(value: int, distance: int) -> None:
    parts = bands(f"{value:016x}", distance)
    assert [number for number, _ in parts] == list(range(distance + 1))
    assert sum(part.bit_count() for _, part in parts) == value.bit_count()


def test_the_same_shape_in_other_colours_is_another_picture() -> None:
    red, blue = bytes([200, 0, 0]) * 64, bytes([0, 0, 200]) * 64
    assert thumb_difference(red, blue) > 100
    assert not is_near("0" * 16, "0" * 16, red, blue, 4)
    assert is_near("0" * 16, "0" * 15 + "f", red, red, 4)
