"""The signed pointers that one trusted key has given: which serial was accepted last, and which versions are installed.

    <key>/accepted/000000000007.json    the newest pointer that was accepted: no older one is, ever again
    <key>/installed/000000000007.json   the same, once every file it names was downloaded and checked

The newest serial is the largest file name, so several processes need no lock. Another key has its own store: its
serials may begin anew, and nothing that the old key signed is used.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exposr_client.errors import SignatureError
from exposr_client.trust.keys import PublicKey
from exposr_client.trust.pointer import ModelInfo, read_pointer, read_unverified

SERIAL_DIGITS = 12
KEY_DIGITS = 16  # of the key id, in the folder's name

log = logging.getLogger("exposr_client")


@dataclass(frozen=True, slots=True)
class SeenPointer:
    """A stored pointer and the ETag it came with."""

    info: ModelInfo
    etag: str | None


class PointerStore:
    """All methods block on the disk; OSError means that it cannot be used. `write` puts a whole file in place."""

    def __init__(self, cache_folder: Path, key: PublicKey, write: Callable[[Path, bytes], None]) -> None:
        self._key = key
        self._write = write
        folder = cache_folder / key.key_id[:KEY_DIGITS]
        self._accepted = folder / "accepted"
        self._installed = folder / "installed"

    def seen(self) -> SeenPointer | None:
        """The accepted pointer with the highest serial. Raises SignatureError when its file is damaged."""
        serials = _serials(self._accepted)
        return self._read(self._accepted, serials[0]) if serials else None

    def accept(self, info: ModelInfo, etag: str | None) -> None:
        """Store a verified pointer; lower serials go."""
        self._store(self._accepted, info, etag)
        for serial in _serials(self._accepted):
            if serial < info.serial:
                _file(self._accepted, serial).unlink(missing_ok=True)

    def installed_serial(self) -> int:
        """The highest installed serial, 0 when there is none. One directory listing."""
        return max(_serials(self._installed), default=0)

    def installed(self, below: int | None = None) -> list[ModelInfo]:
        """Installed versions (with a serial under `below`), newest first; damaged notes are reported and left out."""
        found = []
        for serial in _serials(self._installed):
            if below is None or serial < below:
                try:
                    pointer = self._read(self._installed, serial)
                except SignatureError as error:
                    log.error("ignoring a damaged note in the cache: %s", error)
                    continue
                found += [pointer.info] if pointer else []
        return found

    def install(self, info: ModelInfo) -> None:
        """Note that every needed file of `info` is in place and was checked."""
        self._store(self._installed, info, None)

    def uninstall(self, serial: int) -> None:
        _file(self._installed, serial).unlink(missing_ok=True)

    def named_by_others(self, used_after: float) -> set[str]:
        """Folders of versions that other keys' followers have installed, where one of them got a pointer since then.

        Their signatures are not checked: nothing is used of them, they are only not removed.
        """
        names: set[str] = set()
        for accepted in self._accepted.parents[1].glob("*/accepted"):
            installed = accepted.with_name(self._installed.name)
            if accepted != self._accepted and _changed(accepted) > used_after:
                for file in installed.glob("*.json"):
                    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, SignatureError):
                        names.add(read_unverified(json.loads(file.read_bytes())["pointer"].encode()).folder_name)
        return names

    def _read(self, folder: Path, serial: int) -> SeenPointer | None:
        file = _file(folder, serial)
        try:
            stored = json.loads(file.read_bytes())
            document, etag = stored["pointer"].encode(), stored["etag"]
        except FileNotFoundError:
            return None  # another process has just replaced it by a higher serial
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SignatureError(f"{file} is damaged; remove it once the reason is known") from error
        info = read_pointer(document, self._key)
        if info.serial != serial:
            raise SignatureError(f"{file} holds the pointer with serial {info.serial}")
        return SeenPointer(info, etag if isinstance(etag, str) else None)

    def _store(self, folder: Path, info: ModelInfo, etag: str | None) -> None:
        text = json.dumps({"etag": etag, "pointer": info.document.decode()})
        self._write(_file(folder, info.serial), text.encode())


def _file(folder: Path, serial: int) -> Path:
    return folder / f"{serial:0{SERIAL_DIGITS}d}.json"


def _changed(folder: Path) -> float:
    """When a pointer was last put there."""
    times = [0.0]
    for file in folder.glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # another process has just replaced it
            times.append(file.stat().st_mtime)
    return max(times)


def _serials(folder: Path) -> list[int]:
    """Highest first."""
    return sorted((int(file.stem) for file in folder.glob("*.json") if file.stem.isdecimal()), reverse=True)
