"""Sessions that were ended before their time, until that time: on disk, so that a restart does not revive them.

    {"epoch": "…", "ended": {"session id": expiry in unix seconds}}

Every session is of one epoch. Where the file is missing or damaged, nobody knows who has signed out: a new epoch
begins, in which no earlier session is worth anything.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from pathlib import Path

from utils.files import write_json_atomically
from utils.logs import get_logger

log = get_logger(__name__)

SESSIONS_FILE = "sessions.json"  # in the state folder
EPOCH_BYTES = 16
MAX_ENDED = 10_000


class SignedOut:
    """Thread-safe. Without a file it is forgotten with the process, and every session with it."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._ended: dict[str, int] = {}
        self.epoch = self._read() or secrets.token_urlsafe(EPOCH_BYTES)
        self._write()

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._ended

    def add(self, session_id: str, expires: int, now: float) -> None:
        """Durable when this returns; where the disk refuses, at a restart all sessions end."""
        with self._lock:
            kept = {known: until for known, until in self._ended.items() if until > now}
            kept[session_id] = expires
            self._ended = dict(list(kept.items())[-MAX_ENDED:])
            self._write()

    def _read(self) -> str:
        """The epoch; empty when a new one has to begin."""
        if self._file is None:
            return ""
        try:
            found = json.loads(self._file.read_bytes())
            self._ended = {str(session_id): int(expires) for session_id, expires in found["ended"].items()}
            return str(found["epoch"])
        except FileNotFoundError:
            return ""
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.warning("sessions_unreadable", file=str(self._file), reason=repr(error), done="all sessions ended")
            return ""

    def _write(self) -> None:
        if self._file is None:
            return
        try:
            write_json_atomically(self._file, {"epoch": self.epoch, "ended": self._ended}, mode=0o600)
        except OSError as error:
            log.error("sessions_not_written", file=str(self._file), reason=str(error))
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
