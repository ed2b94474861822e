"""What people decide in the console: said as on the command line, remembered for the queue, taken back on wish."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Collection, Sequence

from handlers.index.gallery import Picture
from handlers.labels.commands import undo_label, write_label
from utils.config_loader import Config
from utils.errors import ExposrError
from utils.logs import get_logger
from utils.metadata import Label

log = get_logger(__name__)

WAY = "console"
MAX_UNDO = 500  # decisions
MAX_LEFT_OUT = 5000  # pictures; the index knows of a decision after a second, long before this is full


class LabelDesk:
    """Thread-safe. The files are written at once; the index follows by itself, as after any edit."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._decisions: deque[list[Picture]] = deque(maxlen=MAX_UNDO)
        self._left_out: dict[str, None] = {}
        self._taken_back: list[Picture] = []
        self.decided = 0

    @property
    def left_out(self) -> Collection[str]:
        """Ids of the pictures that were decided or skipped."""
        with self._lock:
            return frozenset(self._left_out)

    @property
    def taken_back(self) -> Sequence[Picture]:
        """The pictures of the last undo that wait for a new decision: the index may not know of them yet."""
        return tuple(self._taken_back)

    @property
    def can_undo(self) -> bool:
        return bool(self._decisions)

    def label(self, pictures: Sequence[Picture], label: Label | None) -> int:
        """Say for each what a person has decided; how many could be written."""
        done = [picture for picture in pictures if self._write(picture, label)]
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
            self._taken_back = [picture for picture in self._taken_back if picture.id not in self._left_out]
            while len(self._left_out) > MAX_LEFT_OUT:
                del self._left_out[next(iter(self._left_out))]

    def undo(self) -> str:
        """Take back the last decision; says of which pictures, empty when there is none."""
        with self._lock:
            if not self._decisions:
                return ""
            decision = self._decisions.pop()
        for picture in decision:
            undo_label(self._config, self._file(picture), way=WAY)
        with self._lock:
            for picture in decision:
                self._left_out.pop(picture.id, None)
            self._taken_back = decision
            self.decided -= len(decision)
        return f"Taken back: {decision[0].name if len(decision) == 1 else f'{len(decision)} pictures'}."

    def _write(self, picture: Picture, label: Label | None) -> bool:
        try:
            write_label(self._config, self._file(picture), label, way=WAY)
        except (ExposrError, OSError) as error:
            log.error("label_not_written", path=picture.path, reason=str(error))
            return False
        return True

    def _file(self, picture: Picture) -> str:
        return os.fspath(self._config.storage.local_path / picture.path)
