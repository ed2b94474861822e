"""The folder of verified versions. Several processes may share it: what has its final name never changes.

    trusted_key.pem                   the pinned key, when it was trusted on first use
    pointers/000000000007.json        newest signed pointer that was accepted: no older one is, ever again
    installed/000000000007.json       the same, once every file it names was downloaded and checked
    versions/vit-v3-1f0c…/weights.pt  the files
    parts/<sha256>.<random>.part      a download on its way; only its maker writes it, anyone may copy from it

Nothing here needs a lock: files get their name by rename or link, and the newest serial is the largest file name.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from exposr_client.errors import CacheError, SignatureError
from exposr_client.keys import PublicKey, parse_key
from exposr_client.parts import PART_SUFFIX, Part
from exposr_client.pointer import FileFacts, ModelInfo, read_pointer

WEIGHTS_FILE = "weights.pt"
CARD_FILE = "model.json"
NEEDED_FILES = (CARD_FILE, WEIGHTS_FILE)  # the small one first: a wrong card costs no large download
SERIAL_DIGITS = 12
ABANDONED_SECONDS = 24 * 3600.0  # parts and folders that no one finished within a day are removed
SPARE_BYTES = 64 * 1024 * 1024  # left free on the disk beside a download

log = logging.getLogger("exposr_client")


@dataclass(frozen=True, slots=True)
class SeenPointer:
    """A stored pointer and the ETag it came with."""

    info: ModelInfo
    etag: str | None


class Cache:
    """Reads and writes of one cache folder. All methods block on the disk; OSError means that it cannot be used."""

    def __init__(self, folder: Path, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}, at least one version must stay")
        self.folder = folder
        self.keep = keep
        self._pointers = folder / "pointers"
        self._installed = folder / "installed"
        self._versions = folder / "versions"
        self._parts = folder / "parts"
        self._key_file = folder / "trusted_key.pem"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self._pointers, self._installed, self._versions, self._parts):
            folder.mkdir(parents=True, exist_ok=True)

    # -- trust -------------------------------------------------------------------------------------------------------

    def trusted_key(self) -> PublicKey | None:
        """The key that was trusted on first use. Raises SignatureError when the file is damaged: never trust anew."""
        return parse_key(self._key_file) if self._key_file.exists() else None

    def trust(self, key: PublicKey) -> PublicKey:
        """Pin `key`, unless another process was first: its key is returned then."""
        part = self._write_part(key.to_pem())
        try:
            os.link(part, self._key_file)
        except FileExistsError:
            return parse_key(self._key_file)
        finally:
            part.unlink()
        log.warning(
            "trusting this key of the trainer from now on, on first use: key_id=%s file=%s "
            "(to pin a key yourself, pass public_key or set EXPOSR_TRAINER_PUBLIC_KEY)",
            key.key_id,
            self._key_file,
        )
        return key

    # -- pointers ----------------------------------------------------------------------------------------------------

    def seen(self, key: PublicKey) -> SeenPointer | None:
        """The accepted pointer with the highest serial. Raises SignatureError when it is damaged or another key's."""
        return self._read(self._pointers, self._newest(self._pointers), key)

    def remember(self, info: ModelInfo, etag: str | None) -> None:
        """Store an accepted pointer; lower serials go."""
        self._store(self._pointers, info, etag)
        for serial in _serials(self._pointers):
            if serial < info.serial:
                self._file(self._pointers, serial).unlink(missing_ok=True)

    def installed_serial(self) -> int:
        """The highest installed serial, 0 when there is none. One directory listing."""
        return self._newest(self._installed) or 0

    def install(self, info: ModelInfo, key: PublicKey) -> None:
        """Note that every needed file of `info` is in place and was checked; then remove what is too old."""
        self._store(self._installed, info, None)
        self._prune(key)

    def verified(self, key: PublicKey, below: int | None = None) -> ModelInfo | None:
        """The newest installed version (with a serial under `below`) whose signature and file contents are right.

        A damaged one is reported and taken out, so that it is downloaded again.
        """
        for serial in sorted(_serials(self._installed), reverse=True):
            if below is not None and serial >= below:
                continue
            try:
                found = self._read(self._installed, serial, key)
            except SignatureError as error:
                log.error("ignoring the cached pointer with serial %d: %s", serial, error)
                continue
            if found and all(self.has(found.info, name) for name in NEEDED_FILES):
                return found.info
            log.error("the cached files of serial %d are damaged; they will be downloaded again", serial)
            self._file(self._installed, serial).unlink(missing_ok=True)
        return None

    # -- files -------------------------------------------------------------------------------------------------------

    def path(self, info: ModelInfo, name: str) -> Path:
        return self._versions / info.folder_name / name

    def weights(self, info: ModelInfo) -> Path:
        return self.path(info, WEIGHTS_FILE)

    def has(self, info: ModelInfo, name: str) -> bool:
        """True when the file is in place with the signed size and sha256; a damaged one is removed."""
        file, facts = self.path(info, name), info.files[name]
        try:
            with file.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                if size == facts.size_bytes and hashlib.file_digest(stream, "sha256").hexdigest() == facts.sha256:
                    return True
        except FileNotFoundError:
            return False
        file.unlink(missing_ok=True)
        return False

    def open_part(self, facts: FileFacts) -> Part:
        """A new part file for these facts, beginning with what an earlier, cut download left."""
        self.prepare()
        missing = facts.size_bytes + SPARE_BYTES - shutil.disk_usage(self._parts).free
        if missing > 0:
            raise CacheError(f"{self.folder}: {missing} bytes too little space for a file of {facts.size_bytes} bytes")
        return Part.create(self._parts, facts)

    def place(self, part: Part, info: ModelInfo, name: str) -> Path:
        """Check the part's content and give it its final name. Raises IntegrityError."""
        final = self.path(info, name)
        final.parent.mkdir(parents=True, exist_ok=True)
        part.move_to(final)
        return final

    # -- inside ------------------------------------------------------------------------------------------------------

    def _newest(self, folder: Path) -> int | None:
        return max(_serials(folder), default=None)

    def _file(self, folder: Path, serial: int) -> Path:
        return folder / f"{serial:0{SERIAL_DIGITS}d}.json"

    def _read(self, folder: Path, serial: int | None, key: PublicKey) -> SeenPointer | None:
        if serial is None:
            return None
        file = self._file(folder, serial)
        try:
            stored = json.loads(file.read_bytes())
            document, etag = stored["pointer"].encode(), stored["etag"]
        except FileNotFoundError:
            return None  # another process has just replaced it by a higher serial
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SignatureError(f"{file} is damaged; remove it once the reason is known") from error
        info = read_pointer(document, key)
        if info.serial != serial:
            raise SignatureError(f"{file} holds the pointer with serial {info.serial}")
        return SeenPointer(info, etag if isinstance(etag, str) else None)

    def _store(self, folder: Path, info: ModelInfo, etag: str | None) -> None:
        text = json.dumps({"etag": etag, "pointer": info.document.decode()})
        self._write_part(text.encode()).replace(self._file(folder, info.serial))

    def _write_part(self, data: bytes) -> Path:
        self.prepare()
        part = self._parts / f"{uuid.uuid4().hex}{PART_SUFFIX}"
        with part.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        return part

    def _prune(self, key: PublicKey) -> None:
        """Keep the last `keep` installed versions, and what the newest pointer names: it may be on its way."""
        kept: list[str] = []
        for serial in sorted(_serials(self._installed), reverse=True):
            name = self._folder_of(self._installed, serial, key)
            if name is None or name in kept or len(kept) == self.keep:
                self._file(self._installed, serial).unlink(missing_ok=True)
            else:
                kept.append(name)
        coming = self._folder_of(self._pointers, self._newest(self._pointers), key)
        abandoned_before = time.time() - ABANDONED_SECONDS
        for folder in self._versions.iterdir():
            # a folder that no marker names may be one that another process is filling
            if folder.name not in (*kept, coming) and (len(kept) == self.keep or _changed(folder) < abandoned_before):
                shutil.rmtree(folder, ignore_errors=True)
        for part in self._parts.glob(f"*{PART_SUFFIX}"):
            if _changed(part) < abandoned_before:
                part.unlink(missing_ok=True)

    def _folder_of(self, folder: Path, serial: int | None, key: PublicKey) -> str | None:
        try:
            found = self._read(folder, serial, key)
        except SignatureError:
            return None
        return found.info.folder_name if found else None


def _serials(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return [int(file.stem) for file in folder.glob("*.json") if file.stem.isdecimal()]


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
