"""The trainer's public key: reading it, and pinning it.

A key that the caller names is the safe way. Without one the first key that the trainer shows is pinned in the cache
folder (trust on first use) and every later pointer must be signed by it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from exposr_client.errors import SignatureError
from exposr_client.trust import ed25519

PEM = re.compile(r"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----\s*")
HEX = re.compile(r"\s*([0-9a-fA-F]{64})\s*")
DER_PREFIX = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of an Ed25519 key, RFC 8410
MAX_KEY_FILE_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class PublicKey:
    """32 raw bytes that are a usable Ed25519 key."""

    raw: bytes

    def __post_init__(self) -> None:
        if not ed25519.is_valid_key(self.raw):
            raise SignatureError("the public key is not a valid Ed25519 key")

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.raw).hexdigest()

    def to_pem(self) -> bytes:
        text = base64.b64encode(DER_PREFIX + self.raw)
        return b"-----BEGIN PUBLIC KEY-----\n" + text + b"\n-----END PUBLIC KEY-----\n"


def parse_key(value: str | bytes | Path) -> PublicKey:
    """A key as PEM, as 64 hex digits, as 32 raw bytes, or as the path of a file that holds one of the first two."""
    if isinstance(value, bytes) and len(value) == ed25519.KEY_BYTES:
        return PublicKey(value)
    if isinstance(value, Path):
        return _parse_text(_read(value), str(value))
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    if "-----BEGIN" in text or HEX.fullmatch(text):
        return _parse_text(text, "the given text")
    if isinstance(value, str):
        return _parse_text(_read(Path(value)), value)
    raise SignatureError("the public key is neither PEM, nor 64 hex digits, nor 32 bytes")


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_KEY_FILE_BYTES).decode("ascii", "replace")
    except OSError as error:
        raise SignatureError(f"the public key file {file} cannot be read: {error.strerror}") from error


def _parse_text(text: str, where: str) -> PublicKey:
    if found := HEX.fullmatch(text):
        return PublicKey(bytes.fromhex(found[1]))
    if found := PEM.fullmatch(text):
        try:
            der = base64.b64decode("".join(found[1].split()), validate=True)
        except (ValueError, binascii.Error) as error:
            raise SignatureError(f"{where}: the PEM block is not base64") from error
        if der.startswith(DER_PREFIX) and len(der) == len(DER_PREFIX) + ed25519.KEY_BYTES:
            return PublicKey(der[len(DER_PREFIX) :])
    raise SignatureError(f"{where}: is not an Ed25519 public key in PEM")
