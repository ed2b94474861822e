"""The signing key and the pointer it signs."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_public_key
from structlog.testing import capture_logs

from daemon.serving.signing import PUBLIC_KEY_FILE, SIGNING_KEY_FILE, PointerSigner, load_signer
from utils.errors import OperatorError

FILES = {"weights.pt": {"sha256": "a" * 64, "size_bytes": 7, "more": "is not signed"}}
ISSUED = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def signer(tmp_path: Path) -> PointerSigner:
    return load_signer(tmp_path / "keys", tmp_path / "models")


def public_key(signer: PointerSigner) -> Ed25519PublicKey:
    key = load_pem_public_key(signer.public_pem)
    assert isinstance(key, Ed25519PublicKey)
    return key


def test_the_key_is_made_once_and_kept_from_others(signer: PointerSigner, tmp_path: Path) -> None:
    private, public = tmp_path / "keys" / SIGNING_KEY_FILE, tmp_path / "models" / PUBLIC_KEY_FILE
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    assert public.read_bytes() == signer.public_pem
    assert load_signer(tmp_path / "keys", tmp_path / "models").key_id == signer.key_id


def test_the_signature_is_over_the_exact_payload_bytes(signer: PointerSigner) -> None:
    pointer = json.loads(signer.sign("vit", "v2", 5, FILES, ISSUED, timedelta(hours=72)))
    payload, signature = base64.b64decode(pointer["payload"]), base64.b64decode(pointer["signature"])
    public_key(signer).verify(signature, payload)
    assert pointer["key_id"] == hashlib.sha256(public_key(signer).public_bytes_raw()).hexdigest()
    assert json.loads(payload) == {
        "model": "vit",
        "version": "v2",
        "serial": 5,
        "files": {"weights.pt": {"sha256": "a" * 64, "size_bytes": 7}},
        "issued": "2026-01-01T12:00:00Z",
        "expires": "2026-01-04T12:00:00Z",
    }
    for changed in (payload.replace(b"v2", b"v1"), payload + b" ", payload[:-1]):
        with pytest.raises(InvalidSignature):
            public_key(signer).verify(signature, changed)


def test_exposr_core_accepts_what_is_signed_here(signer: PointerSigner) -> None:
    from exposr_client.trust.keys import parse_key
    from exposr_client.trust.pointer import read_pointer

    info = read_pointer(signer.sign("vit", "v2", 5, FILES, ISSUED, timedelta(hours=72)), parse_key(signer.public_pem))
    assert (info.model, info.version, info.serial) == ("vit", "v2", 5)
    assert info.files["weights.pt"].size_bytes == 7
    assert info.expires - info.issued == timedelta(hours=72)


def test_a_damaged_key_stops_the_start_instead_of_being_replaced(signer: PointerSigner, tmp_path: Path) -> None:
    file = tmp_path / "keys" / SIGNING_KEY_FILE
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for damage in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", other, b"\xff" * 100):
        file.write_bytes(damage)
        with pytest.raises(OperatorError, match=r"is not an Ed25519 private key.*pin the new public key"):
            load_signer(tmp_path / "keys", tmp_path / "models")
        assert file.read_bytes() == damage


def test_a_key_that_others_could_read_is_closed_and_reported(signer: PointerSigner, tmp_path: Path) -> None:
    file = tmp_path / "keys" / SIGNING_KEY_FILE
    file.chmod(0o640)
    with capture_logs() as logged:
        load_signer(tmp_path / "keys", tmp_path / "models")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "signing_key_was_open" in [line["event"] for line in logged]


def test_the_public_half_is_written_again_when_it_was_changed(signer: PointerSigner, tmp_path: Path) -> None:
    public = tmp_path / "models" / PUBLIC_KEY_FILE
    public.write_text("something else")
    load_signer(tmp_path / "keys", tmp_path / "models")
    assert public.read_bytes() == signer.public_pem
