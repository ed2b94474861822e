"""The trainer's signed pointer to its current version: what the client believes, and why.

    {"payload": "<base64 of JSON {model, version, serial, files: {name: {sha256, size_bytes}}, issued, expires}>",
     "signature": "<base64, Ed25519 over the exact payload bytes>", "key_id": "<sha256 of the raw public key, hex>"}

Sizes and checksums of a version's files come from here and from nowhere else. Pure: no I/O, no clock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from exposr_client.errors import ExpiredError, KeyChangedError, RollbackError, SignatureError
from exposr_client.trust import ed25519
from exposr_client.trust.keys import PublicKey

MAX_POINTER_BYTES = 64 * 1024
MAX_SERIAL = 10**12 - 1  # fits the cache's file names
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of a model, a version, a file: never a path
SHA256 = re.compile(r"[0-9a-f]{64}")

GUIDE_KEYS = {"model_name": "model", "model_version": "version", "timestamp": "issued"}


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What was signed about one file."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A version that the trainer signed. `serial` grows with every publish, promote and roll-back.

    `document` is the signed pointer itself; `info["version"]` works too, and so do the guide's `model_version` and
    `model_name`.
    """

    model: str
    version: str
    serial: int
    files: Mapping[str, FileFacts]
    issued: datetime
    expires: datetime
    document: bytes = field(repr=False, compare=False)

    def __getitem__(self, key: str) -> Any:
        name = GUIDE_KEYS.get(key, key)
        if name not in self.__slots__:
            raise KeyError(key)
        return getattr(self, name)

    @property
    def names_same_files(self) -> tuple[str, str, tuple[tuple[str, str, int], ...]]:
        """Equal for two pointers that mean the same bytes under the same name."""
        files = tuple((name, facts.sha256, facts.size_bytes) for name, facts in sorted(self.files.items()))
        return (self.model, self.version, files)

    @property
    def folder_name(self) -> str:
        """Names the version and its content, so that a folder of this name never changes its meaning."""
        digest = hashlib.sha256(repr(self.names_same_files).encode()).hexdigest()
        return f"{self.model}-{self.version}-{digest[:12]}"

    def require_valid_at(self, now: datetime) -> None:
        """Raise ExpiredError when the validity is over."""
        if now >= self.expires:
            raise ExpiredError(
                f"the pointer to {self.model}/{self.version} (serial {self.serial}) expired {self.expires.isoformat()};"
                " something may be holding back newer ones, or a clock is wrong"
            )

    def require_not_older_than(self, seen: ModelInfo | None) -> None:
        """Raise RollbackError when `seen`, a pointer accepted earlier, must not be followed by this one."""
        if seen is None or self.serial > seen.serial:
            return
        if self.serial < seen.serial:
            raise RollbackError(
                f"got the pointer with serial {self.serial} ({self.model}/{self.version}) after serial {seen.serial} "
                f"({seen.model}/{seen.version}): an old one was replayed, or the trainer lost its state"
            )
        if self.names_same_files != seen.names_same_files:
            raise RollbackError(f"two different pointers carry serial {self.serial}: {self.version} and {seen.version}")


def read_pointer(document: bytes, key: PublicKey) -> ModelInfo:
    """Check the signature over the payload's exact bytes, then read it. Raises SignatureError."""
    if len(document) > MAX_POINTER_BYTES:
        raise SignatureError(f"the pointer is larger than {MAX_POINTER_BYTES} bytes")
    envelope = _json_object(document, "the pointer")
    payload, signature = _base64(envelope, "payload"), _base64(envelope, "signature")
    key_id = envelope.get("key_id")
    if not ed25519.verify(key.raw, payload, signature):
        if key_id != key.key_id:
            raise KeyChangedError(
                f"the pointer names key {key_id!r}, pinned is {key.key_id}; when the trainer was given a new key on "
                "purpose, pin that one (docs: exposr-core.md, Trust)"
            )
        raise SignatureError("the pointer's signature does not fit its payload: it was altered on its way")
    return _read_payload(_json_object(payload, "the signed payload"), document)


def read_unverified(document: bytes) -> ModelInfo:
    """What a pointer says, whoever signed it: for nothing that is used. Raises SignatureError when it is none."""
    payload = _base64(_json_object(document, "the pointer"), "payload")
    return _read_payload(_json_object(payload, "the signed payload"), document)


def _read_payload(payload: dict[str, Any], document: bytes) -> ModelInfo:
    serial = _count(payload.get("serial"))
    if serial is None or not 0 < serial <= MAX_SERIAL:
        raise SignatureError(
            f"the signed serial is {payload.get('serial')!r}, a number from 1 to {MAX_SERIAL} is needed"
        )
    files = payload.get("files")
    if not isinstance(files, dict) or not files:
        raise SignatureError("the signed payload names no files")
    return ModelInfo(
        model=_name(payload.get("model"), "model"),
        version=_name(payload.get("version"), "version"),
        serial=serial,
        files={_name(name, "file name"): _facts(name, facts) for name, facts in files.items()},
        issued=_time(payload, "issued"),
        expires=_time(payload, "expires"),
        document=document,
    )


def _facts(name: str, facts: Any) -> FileFacts:
    sha256, size = (facts.get("sha256"), _count(facts.get("size_bytes"))) if isinstance(facts, dict) else (None, None)
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256) or size is None:
        raise SignatureError(f"the signed facts of {name!r} are {facts!r}; sha256 and size_bytes are needed")
    return FileFacts(sha256, size)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _name(value: Any, what: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise SignatureError(f"the signed {what} is {value!r}, which is not a plain name")
    return value


def _time(payload: dict[str, Any], key: str) -> datetime:
    value = payload.get(key)
    try:
        moment = datetime.fromisoformat(value)  # type: ignore[arg-type]  # a wrong type is a TypeError
    except (TypeError, ValueError) as error:
        raise SignatureError(f"the signed time {key} is {value!r}, ISO 8601 is needed") from error
    if moment.tzinfo is None:
        raise SignatureError(f"the signed time {key} is {value!r}: it has no zone")
    return moment.astimezone(UTC)


def _json_object(text: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SignatureError(f"{what} is not JSON") from error
    if not isinstance(value, dict):
        raise SignatureError(f"{what} is not a JSON object")
    return value


def _base64(envelope: dict[str, Any], key: str) -> bytes:
    value = envelope.get(key)
    try:
        return base64.b64decode(value, validate=True)  # type: ignore[arg-type]  # a wrong type is a TypeError
    except (TypeError, ValueError, binascii.Error) as error:
        raise SignatureError(f"the pointer's {key} is not base64") from error
