"""What people decide in the console: written to the metadata files, remembered for a while, taken back on wish."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from handlers.index.gallery import Picture
from handlers.label_commands import write_label
from utils.config_loader import Config
from utils.errors import ExposrError
from utils.logs import get_logger
from utils.metadata import Label, LabelSource, update_metadata

log = get_logger(__name__)

MAX_UNDO = 500  # decisions
MAX_LEFT_OUT = 5000  # pictures; the index knows of a decision after a second, long before this is full


@dataclass(frozen=True, slots=True)
class Decided:
    """One picture of a decision: what it was before, and the metadata file that says what it is now."""

    id: str
    name: str
    before: Label | None
    before_source: LabelSource | None
    file: Path


class LabelDesk:
    """Thread-safe. The files are written at once; the index follows by itself, as after any edit."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._decisions: deque[list[Decided]] = deque(maxlen=MAX_UNDO)
        self._left_out: dict[str, None] = {}
        self.decided = 0

    @property
    def left_out(self) -> Collection[str]:
        """Ids of the pictures that were decided or skipped."""
        with self._lock:
            return frozenset(self._left_out)

    @property
    def can_undo(self) -> bool:
        return bool(self._decisions)

    def label(self, pictures: Sequence[Picture], metadata: Sequence[str | None], label: Label | None) -> int:
        """Write a person's label for each; how many could be written.

        `metadata` names each picture's metadata file, relative to the data folder; None where the index knows none.
        """
        found = [self._write(*pair, label) for pair in zip(pictures, metadata, strict=True)]
        done = [decided for decided in found if decided is not None]
        with self._lock:
            if done:
                self._decisions.append(done)
            self.decided += len(done)
        self.skip(pictures)
        return len(done)

    def skip(self, pictures: Sequence[Picture]) -> None:
        with self._lock:
            for picture in pictures:
                self._left_out[picture.id] = None
            while len(self._left_out) > MAX_LEFT_OUT:
                del self._left_out[next(iter(self._left_out))]

    def undo(self) -> str:
        """Give the pictures of the last decision back what they had before; says which, empty when there is none."""
        with self._lock:
            if not self._decisions:
                return ""
            decision = self._decisions.pop()
        for picture in decision:
            update_metadata(picture.file, label=picture.before, label_source=picture.before_source)
        with self._lock:
            for picture in decision:
                self._left_out.pop(picture.id, None)
            self.decided -= len(decision)
        return f"Taken back: {decision[0].name if len(decision) == 1 else f'{len(decision)} pictures'}."

    def _write(self, picture: Picture, metadata: str | None, label: Label | None) -> Decided | None:
        root = self._config.storage.local_path
        file = root / metadata if metadata is not None else None
        try:
            if file is not None and file.is_file():
                update_metadata(file, label=label, label_source="person")
            else:
                file = write_label(self._config, os.fspath(root / picture.path), label)
        except (ExposrError, OSError) as error:
            log.error("label_not_written", path=picture.path, reason=str(error))
            return None
        return Decided(picture.id, picture.name, picture.label, picture.label_source, file)
