"""The folder of verified versions. Several processes may share it: what has its final name never changes.

    trusted_key.pem                   the pinned key, when it was trusted on first use
    <key>/…                           the signed pointers of a key (pointer_store.py)
    versions/vit-v3-1f0c…/weights.pt  the files; the folder's name stands for their content
    parts/<sha256>.<random>.part      a download on its way; only its maker writes it, anyone may copy from it

Reading needs no lock: files get their name by rename or link, when they are complete. Who downloads a version locks its
folder, so that the others wait for the result instead of downloading it, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import BinaryIO

from exposr_client.downloads.parts import PART_SUFFIX, Part
from exposr_client.errors import CacheError, IntegrityError
from exposr_client.trust.keys import PublicKey, parse_key
from exposr_client.trust.pointer import FileFacts, ModelInfo
from exposr_client.trust.pointer_store import PointerStore

WEIGHTS_FILE = "weights.pt"
CARD_FILE = "model.json"
LOCK_FILE = ".lock"  # in a version's folder: held by who downloads it
ABANDONED_SECONDS = 24 * 3600.0  # parts and folders that no one finished within a day are removed
OVERLAP_SECONDS = 7 * 24 * 3600.0  # for which the versions of a key that gets no new pointers are kept beside another's
SPARE_BYTES = 64 * 1024 * 1024  # left free on the disk beside a download

log = logging.getLogger("exposr_client")


class Cache:
    """Reads and writes of one cache folder. All methods block on the disk; OSError means that it cannot be used."""

    def __init__(self, folder: Path, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}, at least one version must stay")
        self.folder = folder
        self.keep = keep
        self._versions = folder / "versions"
        self._parts = folder / "parts"
        self._key_file = folder / "trusted_key.pem"

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

    def pointers(self, key: PublicKey) -> PointerStore:
        """What this key has signed."""
        return PointerStore(self.folder, key, self._put)

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

    def verified(self, key: PublicKey, below: int | None = None) -> ModelInfo | None:
        """The newest installed version (with a serial under `below`) whose signature and file contents are right.

        A damaged one is reported and taken out, so that it is downloaded again.
        """
        pointers = self.pointers(key)
        for info in pointers.installed(below):
            if all(self.has(info, name) for name in needed_files(info)):
                return info
            log.error("the cached files of %s/%s are damaged; they will be downloaded again", info.model, info.version)
            pointers.uninstall(info.serial)
        return None

    def begin_filling(self, info: ModelInfo) -> BinaryIO | None:
        """The right to download this version, until it is closed or this process ends; None while another has it."""
        folder = self._versions / info.folder_name
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_FILE).open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return lock

    def received_bytes(self, info: ModelInfo) -> int:
        """What has arrived of the version so far, whoever brings it."""
        names = needed_files(info)
        parts = [part for name in names for part in self._parts.glob(f"{info.files[name].sha256}.*{PART_SUFFIX}")]
        return sum(map(_size, [*parts, *(self.path(info, name) for name in names)]))

    def open_part(self, facts: FileFacts) -> Part:
        """A new part file for these facts, beginning with what an earlier, cut download left."""
        self._parts.mkdir(parents=True, exist_ok=True)
        missing = facts.size_bytes + SPARE_BYTES - shutil.disk_usage(self._parts).free
        if missing > 0:
            raise CacheError(f"{self.folder}: {missing} bytes too little space for a file of {facts.size_bytes} bytes")
        return Part.create(self._parts, facts)

    def place(self, part: Part, info: ModelInfo, name: str) -> None:
        """Check the part's content and give it its final name. Raises IntegrityError."""
        final = self.path(info, name)
        final.parent.mkdir(parents=True, exist_ok=True)
        part.move_to(final)

    def install(self, info: ModelInfo, key: PublicKey) -> None:
        """Note that every needed file of `info` is in place and was checked; then remove what is too old."""
        pointers = self.pointers(key)
        pointers.install(info)
        seen = pointers.seen()
        self._prune(pointers, coming=seen.info.folder_name if seen else "")

    def _prune(self, pointers: PointerStore, coming: str) -> None:
        """Keep the last `keep` installed versions, what the newest pointer names, which may be on its way, and what
        followers with another key have: while a trainer's key is replaced, both keys are in use."""
        kept: list[str] = []
        dropped: set[str] = set()
        for info in pointers.installed():
            if info.folder_name in kept or len(kept) == self.keep:
                pointers.uninstall(info.serial)
                dropped.add(info.folder_name)
            else:
                kept.append(info.folder_name)
        abandoned_before = time.time() - ABANDONED_SECONDS
        others = pointers.named_by_others(time.time() - OVERLAP_SECONDS)
        for folder in self._versions.iterdir():
            # a folder that no note names may be one that another process is filling
            is_old = folder.name in dropped or _changed(folder) < abandoned_before
            if is_old and folder.name not in (*kept, *others, coming):
                shutil.rmtree(folder, ignore_errors=True)
        for part in self._parts.glob(f"*{PART_SUFFIX}"):
            if _changed(part) < abandoned_before:
                part.unlink(missing_ok=True)

    def _put(self, file: Path, data: bytes) -> None:
        part = self._write_part(data)
        file.parent.mkdir(parents=True, exist_ok=True)
        part.replace(file)

    def _write_part(self, data: bytes) -> Path:
        self._parts.mkdir(parents=True, exist_ok=True)
        part = self._parts / f"{uuid.uuid4().hex}{PART_SUFFIX}"
        with part.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        return part


def needed_files(info: ModelInfo) -> list[str]:
    """What is downloaded of a version: the card, where it has one, then the weights. Raises IntegrityError without."""
    if WEIGHTS_FILE not in info.files:
        raise IntegrityError(f"the pointer to {info.model}/{info.version} names no {WEIGHTS_FILE}")
    # the small one first: a wrong card costs no large download
    return [CARD_FILE, WEIGHTS_FILE] if CARD_FILE in info.files else [WEIGHTS_FILE]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
