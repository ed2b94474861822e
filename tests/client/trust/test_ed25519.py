"""The client's own verification agrees with the library on all that the library makes, and refuses what is odd."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from exposr_client.errors import SignatureError
from exposr_client.trust import ed25519
from exposr_client.trust.keys import PublicKey, parse_key

# RFC 8032, section 7.1: public key, message, signature
RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]

# the eight points of small order and the encodings of the neutral and other points that are not canonical
SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
NOT_CANONICAL = [
    "0100000000000000000000000000000000000000000000000000000000000080",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


def raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def library_accepts(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_the_vectors_of_rfc_8032(key: str, message: str, signature: str) -> None:
    assert ed25519.verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))


@settings(max_examples=60, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
def test_what_the_library_signs_is_accepted(seed: bytes, message: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    assert ed25519.verify(raw(key.public_key()), message, key.sign(message))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.binary(min_size=32, max_size=32),
    message=st.binary(min_size=1, max_size=100),
    where=st.sampled_from(["key", "message", "signature"]),
    bit=st.integers(0, 10**6),
)
def test_one_flipped_bit_anywhere_is_refused_by_both(seed: bytes, message: bytes, where: str, bit: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    parts = {"key": raw(key.public_key()), "message": message, "signature": key.sign(message)}
    changed = bytearray(parts[where])
    changed[bit // 8 % len(changed)] ^= 1 << bit % 8
    parts[where] = bytes(changed)
    assert not ed25519.verify(parts["key"], parts["message"], parts["signature"])
    assert not library_accepts(parts["key"], parts["message"], parts["signature"])


@settings(max_examples=40, deadline=None)
@given(key=st.binary(min_size=32, max_size=32), signature=st.binary(min_size=64, max_size=64), message=st.binary())
def test_random_bytes_are_refused(key: bytes, signature: bytes, message: bytes) -> None:
    assert not ed25519.verify(key, message, signature)


@settings(max_examples=30, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), multiple=st.integers(1, 15))
def test_a_second_signature_made_by_adding_the_group_order_is_refused(seed: bytes, multiple: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    signature = key.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + multiple * ed25519.L
    if s < 2**256:
        malleable = signature[:32] + s.to_bytes(32, "little")
        assert not ed25519.verify(raw(key.public_key()), b"message", malleable)
        assert not library_accepts(raw(key.public_key()), b"message", malleable)


@pytest.mark.parametrize("encoded", SMALL_ORDER + NOT_CANONICAL)
def test_keys_of_small_order_and_odd_encodings_are_refused(encoded: str) -> None:
    key = bytes.fromhex(encoded)
    assert not ed25519.is_valid_key(key)
    with pytest.raises(SignatureError):
        PublicKey(key)
    # with such a key R = key, S = 0 would fit many messages
    for message in (b"", b"a", b"b", b"c", b"d", b"e", b"f", b"g"):
        for r in SMALL_ORDER + NOT_CANONICAL:
            assert not ed25519.verify(key, message, bytes.fromhex(r) + bytes(32))


@pytest.mark.parametrize("r", SMALL_ORDER + NOT_CANONICAL)
def test_r_of_small_order_under_an_honest_key_is_refused(r: str) -> None:
    key = raw(Ed25519PrivateKey.generate().public_key())
    assert not ed25519.verify(key, b"message", bytes.fromhex(r) + bytes(32))


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 128])
def test_wrong_lengths_are_refused(length: int) -> None:
    key = Ed25519PrivateKey.generate()
    assert not ed25519.verify(raw(key.public_key()), b"m", bytes(length))
    assert not ed25519.verify(bytes(length), b"m", key.sign(b"m"))


def test_keys_are_read_in_every_form() -> None:
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for form in (pem, pem.decode(), raw(public), raw(public).hex(), f"  {raw(public).hex().upper()}\n", pem + b"\n"):
        assert parse_key(form).raw == raw(public)
    assert parse_key(pem).to_pem() == pem


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----",
        b"x" * 31,
        b"-----BEGIN PUBLIC KEY-----",
        "0" * 63,
    ],
)
def test_what_is_no_key_is_refused(text: str | bytes) -> None:
    with pytest.raises(SignatureError):
        parse_key(text)


def test_a_private_key_or_another_kind_of_key_is_refused() -> None:
    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(SignatureError):
        parse_key(private)
