"""One daemon for one state folder: a lock that the kernel drops with the process, and a note of who holds it."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from utils.errors import OperatorError

LOCK_FILE = "lock"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who works on a state folder; `address` is the API's, None while there is none."""

    pid: int
    command: str
    address: str | None = None


class StateLock:
    """Held from `acquire` until `release` or the end of the process, however it ends."""

    def __init__(self, state_path: Path) -> None:
        self._file = state_path / LOCK_FILE
        self._stream: IO[str] | None = None

    def acquire(self, command: str) -> None:
        """Raises OperatorError, naming the holder, when another process works on the same state."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        stream = os.fdopen(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+", encoding="utf-8")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read(stream)
            stream.close()
            who = f"process {holder.pid} ({holder.command})" if holder else "another process"
            raise OperatorError(
                f"{self._file.parent}: {who} already works on this state; stop it first, or give this one its own "
                f"storage.state_path"
            ) from None
        self._stream = stream
        self.note(Holder(os.getpid(), command))

    def note(self, holder: Holder) -> None:
        """Tell others who holds the lock and where its API is."""
        assert self._stream is not None
        self._stream.seek(0)
        self._stream.truncate()
        self._stream.write(json.dumps(asdict(holder)))
        self._stream.flush()

    def release(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def current_holder(state_path: Path) -> Holder | None:
    """Who holds the lock now; None when nobody does."""
    try:
        stream = (state_path / LOCK_FILE).open("r", encoding="utf-8")
    except FileNotFoundError:
        return None
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(stream) or Holder(0, "unknown")
        return None


def _read(stream: IO[str]) -> Holder | None:
    try:
        return Holder(**json.loads(stream.read()))
    except (ValueError, TypeError):
        return None
