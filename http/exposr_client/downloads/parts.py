"""A download on its way: one part file, its running checksum, and what each answer to a Range request means.

A part is written only by the process that made it (it holds a lock on it while it lives); another process that wants
the same file copies what is there into a part of its own. Wrong bytes cost a download, never a wrong file: size and
sha256 are checked over everything before the part gets its final name.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from exposr_client.downloads.answers import require_success
from exposr_client.errors import IntegrityError, TrainerUnavailable, UnexpectedAnswerError
from exposr_client.trust.pointer import FileFacts

PART_SUFFIX = ".part"
COPY_CHUNK_BYTES = 1 << 20
SLOW_AFTER_SECONDS = 60.0  # an attempt that is slower than SLOW_BYTES_PER_SECOND by then is given up
SLOW_BYTES_PER_SECOND = 4 * 1024
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class Part:
    """Bytes 0 to `size` of a file whose signed facts are `facts`."""

    def __init__(self, path: Path, facts: FileFacts) -> None:
        self.path = path
        self.facts = facts
        self.size = 0
        self._digest = hashlib.sha256()
        self._began, self._began_at = time.monotonic(), 0
        # locked before it has the name that others look for: the lock tells them that its maker lives
        unnamed = path.with_name(f"{uuid.uuid4().hex}{PART_SUFFIX}")
        self._stream = unnamed.open("xb", buffering=0)
        fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(path)

    @classmethod
    def create(cls, folder: Path, facts: FileFacts) -> Self:
        """A new part, beginning with a copy of the longest one that a cut download of the same file left."""
        earlier = sorted(folder.glob(f"{facts.sha256}.*{PART_SUFFIX}"), key=_size, reverse=True)
        part = cls(folder / f"{facts.sha256}.{uuid.uuid4().hex}{PART_SUFFIX}", facts)
        for index, path in enumerate(earlier):
            part._take_over(path, copy=index == 0)
        return part

    @property
    def is_complete(self) -> bool:
        return self.size == self.facts.size_bytes

    def request_headers(self) -> dict[str, str]:
        """Ask for what is missing, and only if the file is still the same one."""
        if self.size == 0:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": f'"{self.facts.sha256}"'}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Judge the answer's head before its bytes are taken. Raises, or leaves the part where the bytes continue."""
        self._began, self._began_at = time.monotonic(), self.size
        if status == 206:
            found = CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
            expected = (self.size, self.facts.size_bytes - 1, self.facts.size_bytes)
            if found is None or tuple(map(int, found.groups())) != expected:
                size = self.size
                self.restart()  # whoever answers so cannot resume: the next attempt asks for the whole file
                raise UnexpectedAnswerError(f"asked for bytes from {size}, got {headers.get('content-range')!r}")
            return
        if status == 416:
            self.restart()
            raise UnexpectedAnswerError(f"the trainer does not have bytes from {self.size} on")
        require_success(status, headers, b"")
        if status != 200:
            raise UnexpectedAnswerError(f"status {status} to the download of a file")
        self.restart()  # the whole file comes, whatever was asked for
        self._began_at = 0

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises IntegrityError for too many, TrainerUnavailable when they only trickle."""
        if self.size + len(chunk) > self.facts.size_bytes:
            raise IntegrityError(f"more bytes than the signed size, {self.facts.size_bytes}, were sent")
        view = memoryview(chunk)
        while view:
            view = view[self._stream.write(view) :]
        self._digest.update(chunk)
        self.size += len(chunk)
        elapsed = time.monotonic() - self._began
        if elapsed > SLOW_AFTER_SECONDS and self.size - self._began_at < elapsed * SLOW_BYTES_PER_SECOND:
            raise TrainerUnavailable(f"the download is too slow: {self.size - self._began_at} bytes in {elapsed:.0f} s")

    def restart(self) -> None:
        """Forget all bytes."""
        self._stream.seek(0)
        self._stream.truncate()
        self.size = 0
        self._digest = hashlib.sha256()

    def require_complete(self) -> None:
        if not self.is_complete:
            raise TrainerUnavailable(f"the download ended after {self.size} of {self.facts.size_bytes} bytes")

    def move_to(self, final: Path) -> None:
        """Check size and sha256, flush, and give the file its name. Raises IntegrityError."""
        self.require_complete()
        if self._digest.hexdigest() != self.facts.sha256:
            raise IntegrityError(f"{final.name}: sha256 is {self._digest.hexdigest()}, signed is {self.facts.sha256}")
        os.fsync(self._stream.fileno())
        self.path.replace(final)
        self._stream.close()

    def close(self) -> None:
        """Leave the bytes for the next attempt; an empty part goes."""
        if not self._stream.closed:
            if self.size == 0:
                with contextlib.suppress(OSError):  # a disk that fails has been reported; what stays goes a day later
                    self.path.unlink()
            self._stream.close()

    def _take_over(self, path: Path, *, copy: bool) -> None:
        """Copy an earlier part's bytes, and remove it when its maker is gone."""
        gone_or_alive = contextlib.suppress(FileNotFoundError, BlockingIOError)  # its maker is done, or still at work
        with gone_or_alive, path.open("rb") as source:
            while copy and (chunk := source.read(min(COPY_CHUNK_BYTES, self.facts.size_bytes - self.size))):
                self.write(chunk)
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
