"""What people decide in the console: said as on the command line, remembered for the queue, taken back on wish.

Several may label at once. What somebody who is labelling looks at is kept from the others for a while, nobody overrides
another's decision unseen, and each takes back only their own.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from handlers.index.gallery import Picture
from handlers.labels.commands import label_history, undo_label, write_label
from handlers.labels.history import standing
from utils.clock import Clock
from utils.config_loader import Config
from utils.errors import ExposrError
from utils.logs import get_logger
from utils.metadata import Label

log = get_logger(__name__)

WAY = "console"
HOLD_SECONDS = 120.0  # a picture that somebody looks at is shown to nobody else,
ACTIVE_SECONDS = 120.0  # when they have decided something within this time; a look alone keeps nothing
MAX_PEOPLE = 100  # whose last decisions are remembered
MAX_UNDO = 500  # decisions of one person
MAX_LEFT_OUT = 5000  # pictures; the index knows of a decision after a second, long before this is full


@dataclass(frozen=True, slots=True)
class Labelled:
    """How many of the pictures were written, had been decided by somebody else, or could not be written."""

    written: int = 0
    taken: int = 0
    failed: int = 0


@dataclass(slots=True)
class Person:
    """`taken_back`: pictures of the last undo, to be shown next; `acted_at`: when they last decided something."""

    decisions: deque[tuple[list[Picture], Label | None]] = field(default_factory=lambda: deque(maxlen=MAX_UNDO))
    taken_back: list[Picture] = field(default_factory=list)
    decided: int = 0
    acted_at: float = -math.inf


class LabelDesk:
    """Thread-safe. `who` is a session. The files are written at once; the index follows, as after any edit."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._people: OrderedDict[str, Person] = OrderedDict()
        self._left_out: OrderedDict[str, str] = OrderedDict()  # picture -> who decided; empty: it was skipped
        self._held: dict[str, tuple[str, float]] = {}  # picture -> who looks at it, until when

    def person(self, who: str) -> Person:
        with self._lock:
            return self._person(who)

    def decided(self) -> Collection[str]:
        """Ids of the pictures that were decided or skipped."""
        with self._lock:
            return frozenset(self._left_out)

    def left_out(self, who: str) -> Collection[str]:
        """The same, and those that somebody else looks at."""
        now = self._clock.monotonic()
        with self._lock:
            self._held = {picture: held for picture, held in self._held.items() if held[1] > now}
            return frozenset((*self._left_out, *(picture for picture, (by, _) in self._held.items() if by != who)))

    def hold(self, who: str, pictures: Iterable[Picture]) -> None:
        """These are shown to `who` now, and nothing else is any more."""
        now = self._clock.monotonic()
        with self._lock:
            self._held = {picture: held for picture, held in self._held.items() if held[0] != who}
            if now - self._person(who).acted_at <= ACTIVE_SECONDS:
                self._held |= {picture.id: (who, now + HOLD_SECONDS) for picture in pictures}

    def pop_taken_back(self, who: str) -> list[Picture]:
        """What the last undo gave back, once: the index may not know of it yet."""
        with self._lock:
            person = self._person(who)
            found, person.taken_back = person.taken_back, []
            return found

    def label(self, who: str, pictures: Sequence[Picture], label: Label | None, *, override: bool = False) -> Labelled:
        """Say for each what a person has decided. Without `override`, what somebody else has decided stays."""
        with self._lock:
            taken = [] if override else [each for each in pictures if self._left_out.get(each.id, "") not in ("", who)]
        ours = [each for each in pictures if each not in taken]
        done = [picture for picture in ours if self._write(picture, label)]
        with self._lock:
            person = self._person(who)
            person.acted_at = self._clock.monotonic()
            if done:
                person.decisions.append((done, label))
            person.decided += len(done)
            self._leave_out(ours, who)
        return Labelled(len(done), len(taken), len(ours) - len(done))

    def skip(self, who: str, pictures: Sequence[Picture]) -> None:
        with self._lock:
            self._leave_out([each for each in pictures if each.id not in self._left_out], "")
            self._person(who).acted_at = self._clock.monotonic()

    def undo(self, who: str) -> str:
        """Take back the last decision of `who`; in words what was, empty when there is none."""
        with self._lock:
            person = self._person(who)
            person.acted_at = self._clock.monotonic()
            if not person.decisions:
                return ""
            pictures, label = person.decisions.pop()
            person.decided -= len(pictures)
        done = [picture for picture in pictures if self._take_back(picture, label)]
        with self._lock:
            for picture in done:
                self._left_out.pop(picture.id, None)
            person.taken_back = done
        name = pictures[0].name if len(pictures) == 1 else f"{len(pictures)} pictures"
        if not done:
            return f"Not taken back: {name}. The label has changed since, or the picture is gone."
        rest = (
            ""
            if len(done) == len(pictures)
            else f" Without {len(pictures) - len(done)} that changed since or went away."
        )
        return f"Taken back: {name}.{rest}"

    def _person(self, who: str) -> Person:
        person = self._people.pop(who, None) or Person()
        self._people[who] = person
        while len(self._people) > MAX_PEOPLE:
            self._people.popitem(last=False)
        return person

    def _leave_out(self, pictures: Sequence[Picture], who: str) -> None:
        for picture in pictures:
            self._left_out[picture.id] = who
        while len(self._left_out) > MAX_LEFT_OUT:
            self._left_out.popitem(last=False)

    def _write(self, picture: Picture, label: Label | None) -> bool:
        try:
            write_label(self._config, self._file(picture), label, way=WAY)
        except (ExposrError, OSError) as error:
            log.error("label_not_written", path=picture.path, reason=str(error))
            return False
        return True

    def _take_back(self, picture: Picture, label: Label | None) -> bool:
        """Unless somebody has said something else since."""
        try:
            said = standing(label_history(self._config, self._file(picture)))
            if not said or said[-1].label != label:
                return False
            undo_label(self._config, self._file(picture), way=WAY)
        except (ExposrError, OSError) as error:
            log.error("label_not_taken_back", path=picture.path, reason=str(error))
            return False
        return True

    def _file(self, picture: Picture) -> str:
        return os.fspath(self._config.storage.local_path / picture.path)
