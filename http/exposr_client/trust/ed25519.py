"""Ed25519 signature verification (RFC 8032, section 5.1.7), nothing else.

Why not a library: the client promises to need httpx only, so that Exposr-Core can install it anywhere. That is
acceptable for this one job because it handles public data only (a public key, a public message, a public signature):
there is no secret whose timing could leak. Never sign or hold a private key with code like this.

Strict: canonical encodings of key and R, S < L, no keys of small order, cofactorless equation, R compared as bytes.
Whatever passes here passes OpenSSL too; tests/client/trust/test_ed25519.py holds it to that.
"""

from __future__ import annotations

import hashlib

KEY_BYTES = 32
SIGNATURE_BYTES = 64

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)

# extended coordinates (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z
Point = tuple[int, int, int, int]
NEUTRAL: Point = (0, 1, 1, 0)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """True when `signature` (64 bytes) of `message` was made with the private half of `public_key` (32 bytes)."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    key = _decode(public_key)
    if key is None or _has_small_order(key):
        return False
    encoded_r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if s >= L:  # S and S + L would both fit the equation: only one of them is the signature
        return False
    k = int.from_bytes(hashlib.sha512(encoded_r + public_key + message).digest(), "little") % L
    expected = _add(_multiply(s, BASE), _multiply(k, _negate(key)))
    return _encode(expected) == encoded_r


def is_valid_key(public_key: bytes) -> bool:
    """True for a canonically encoded curve point that is not of small order."""
    key = _decode(public_key)
    return key is not None and not _has_small_order(key)


def _decode(encoded: bytes) -> Point | None:
    """The point that these 32 bytes encode canonically, or None (RFC 8032, section 5.1.3)."""
    if len(encoded) != KEY_BYTES:
        return None
    number = int.from_bytes(encoded, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= P:
        return None
    # x^2 = u / v; the candidate root is u * v^3 * (u * v^7)^((p-5)/8)
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * SQRT_MINUS_ONE % P
        if v * x * x % P != u:
            return None
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def _encode(point: Point) -> bytes:
    x, y, z, _ = point
    inverse = pow(z, -1, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _add(one: Point, other: Point) -> Point:
    """Complete addition on the twisted Edwards curve, a = -1 (RFC 8032, section 5.1.4); also doubles."""
    x1, y1, z1, t1 = one
    x2, y2, z2, t2 = other
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _negate(point: Point) -> Point:
    x, y, z, t = point
    return (-x % P, y, z, -t % P)


def _multiply(scalar: int, point: Point) -> Point:
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _has_small_order(point: Point) -> bool:
    """True for the eight points whose order divides the cofactor."""
    x, y, z, _ = _multiply(8, point)
    return x == 0 and y == z


def _base_point() -> Point:
    base = _decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    assert base is not None
    return base


BASE = _base_point()
