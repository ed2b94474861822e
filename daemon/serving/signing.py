"""The signed pointer to the version in service, and the Ed25519 key that signs it.

    {"payload": "<base64>", "signature": "<base64>", "key_id": "<sha256 of the raw public key, hex>"}

The signature is over the exact bytes that `payload` encodes, JSON {model, version, serial, files, issued, expires}:
a reader verifies before it parses. The private key is made at the first start and never leaves `<state>/keys`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from daemon.serving.keys import private_folder
from utils.clock import to_iso
from utils.errors import OperatorError
from utils.files import write_atomically
from utils.logs import get_logger

log = get_logger(__name__)

SIGNING_KEY_FILE = "signing_key.pem"
PUBLIC_KEY_FILE = "signing_key.pub.pem"  # beside the models, for who pins it from the disk


class PointerSigner:
    """Signs pointers with one private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        public = key.public_key()
        self.public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.key_id = hashlib.sha256(public.public_bytes_raw()).hexdigest()

    def sign(
        self,
        model: str,
        version: str,
        serial: int,
        files: Mapping[str, Mapping[str, Any]],
        issued: datetime,
        valid_for: timedelta,
    ) -> bytes:
        """The pointer's JSON. `files`: name -> its facts, of which sha256 and size_bytes are signed."""
        payload = {
            "model": model,
            "version": version,
            "serial": serial,
            "files": {
                name: {"sha256": facts["sha256"], "size_bytes": facts["size_bytes"]}
                for name, facts in sorted(files.items())
            },
            "issued": to_iso(issued),
            "expires": to_iso(issued + valid_for),
        }
        exact = json.dumps(payload, separators=(",", ":")).encode("ascii")
        pointer = {
            "payload": base64.b64encode(exact).decode("ascii"),
            "signature": base64.b64encode(self._key.sign(exact)).decode("ascii"),
            "key_id": self.key_id,
        }
        return json.dumps(pointer).encode("ascii")


def load_signer(keys_folder: Path, models_path: Path) -> PointerSigner:
    """The signer with the stored key, made when there is none; its public half is written beside the models.

    A key that cannot be read stops the start: followers have pinned it, a new one in silence would cut them all off.
    """
    file = private_folder(keys_folder) / SIGNING_KEY_FILE
    signer = PointerSigner(_read_key(file) or _make_key(file))
    public = models_path / PUBLIC_KEY_FILE
    if not public.is_file() or public.read_bytes() != signer.public_pem:
        write_atomically(public, signer.public_pem)
        log.info("public_key_written", file=str(public), key_id=signer.key_id)
    return signer


def _read_key(file: Path) -> Ed25519PrivateKey | None:
    try:
        pem = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperatorError(f"{file}: the signing key cannot be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise OperatorError(_not_ours(file)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise OperatorError(_not_ours(file))
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        file.chmod(0o600)
        log.warning("signing_key_was_open", file=str(file), advice="others could read this key; consider a new one")
    return key


def _not_ours(file: Path) -> str:
    return (
        f"{file}: is not an Ed25519 private key in PEM; restore it from a backup, or remove it to have a new one made: "
        "every Exposr-Core that follows this service must then pin the new public key"
    )


def _make_key(file: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    try:
        write_atomically(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
    except OSError as error:
        raise OperatorError(f"{file}: cannot be written: {error.strerror}; check storage.state_path") from error
    log.info("signing_key_made", file=str(file))
    return key
