"""Rows spell ids shortly, and give back exactly the name that was given."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as some

from handlers.index.packing import pack_hex, pack_id, unpack_id


@given(some.uuids())
def test_a_uuid_takes_16_bytes(known: uuid.UUID) -> None:
    assert pack_id(str(known)) == known.bytes
    assert unpack_id(pack_id(str(known))) == str(known)


@pytest.mark.parametrize(
    "name",
    [
        *("", "IMG_1", "6F1C2F64-4A3B-4A8E-9F52-0D5F7F6F2C11", "6f1c2f64-4a3b-4a8e-9f52-0d5f7f6f2c1"),
        *(
            "6f1c2f64-4a3b-4a8e-9f52-0d5f7f6f2c1g",
            "6f1c2f64-4a3b-4a8e-9f52- d5f7f6f2c11",
            "{6f1c2f64-4a3b-4a8e-9f52-0d5}",
        ),
        *("6f1c2f64 4a3b-4a8e-9f52-0d5f7f6f2c11", "é" * 36, "6f1c 2f6-4a3b-4a8e-9f52-0d5f7f6f2c11"),
    ],
)
def test_any_other_name_stays_as_it_is(name: str) -> None:
    assert unpack_id(pack_id(name)) == name


def test_what_is_no_hash_equals_none() -> None:
    assert pack_hex("ff00") == b"\xff\x00"
    assert pack_hex("no hash") == b""
