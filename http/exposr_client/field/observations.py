"""What a detector has said, as small histograms by day (UTC) and version: counts only, nothing leads back to a picture.

    detector.observations.pending()        # the totals that have changed since they were handed over

Totals, not differences: the trainer keeps the newest of each, so a hand-over that is repeated counts once.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

OBSERVATIONS_PATH = "/observations"
SCORE_BINS = 20  # of equal width over 0..1, the last one closed
VERDICTS = ("ai_generated", "real", "uncertain")
KEEP_DAYS = 2  # of days that were handed over; a trainer that is away for longer loses the days before
MAX_HISTOGRAMS = 64

NOVELTY_TOP = 2.0  # of the histogram of novelty, in cuts of the version; the last bin has all above
Key = tuple[str, str, str]  # day, model, version


class Seen(NamedTuple):
    """What was said of one picture. `novelty` is in cuts of the version, above 1 unfamiliar; None where it has none."""

    probability: float
    verdict: str
    is_unfamiliar: bool = False
    novelty: float | None = None


@dataclass(slots=True)
class _Histogram:
    scores: list[int] = field(default_factory=lambda: [0] * SCORE_BINS)
    verdicts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    unfamiliar: int = 0
    novelty: list[int] = field(default_factory=lambda: [0] * SCORE_BINS)
    changes: int = 0
    handed_over: int = 0

    def as_json(self, key: Key) -> dict[str, Any]:
        day, model, version = key
        counts = {"scores": list(self.scores), "verdicts": dict(self.verdicts), "unfamiliar": self.unfamiliar}
        return {"day": day, "model": model, "version": version, **counts, "novelty": list(self.novelty)}


@dataclass(frozen=True, slots=True)
class Batch:
    """`body` is what POST /observations takes; `state` tells what to tick off when it was accepted."""

    body: bytes
    state: Mapping[Key, int]


class Observations:
    """Thread-safe. `reporter` is a random name of this collection, new with every start of the process."""

    def __init__(self, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        self.reporter = uuid.uuid4().hex
        self._today = today
        self._lock = threading.Lock()
        self._histograms: dict[Key, _Histogram] = {}

    def add(self, model: str, version: str, seen: Iterable[Seen]) -> None:
        """Count pictures that this version has judged."""
        with self._lock:
            key = (self._today().isoformat(), model, version)
            histogram = self._histograms.setdefault(key, _Histogram())
            for one in seen:
                histogram.scores[_bin(one.probability)] += 1
                histogram.verdicts[one.verdict] += 1
                histogram.unfamiliar += one.is_unfamiliar
                if one.novelty is not None:
                    histogram.novelty[_bin(one.novelty / NOVELTY_TOP)] += 1
                histogram.changes += 1
            while len(self._histograms) > MAX_HISTOGRAMS:
                del self._histograms[min(self._histograms)]

    def pending(self) -> Batch | None:
        """The totals that have changed since they were handed over; None when there are none."""
        with self._lock:
            changed = {key: found for key, found in self._histograms.items() if found.changes != found.handed_over}
            if not changed:
                return None
            rows = [found.as_json(key) for key, found in sorted(changed.items())]
            body = json.dumps({"reporter": self.reporter, "histograms": rows}).encode()
            return Batch(body, {key: found.changes for key, found in changed.items()})

    def handed_over(self, batch: Batch) -> None:
        """The trainer has this batch; days that are over and complete there are forgotten here."""
        with self._lock:
            for key, changes in batch.state.items():
                if key in self._histograms:
                    self._histograms[key].handed_over = changes
            oldest = (self._today() - timedelta(days=KEEP_DAYS)).isoformat()
            for key, found in list(self._histograms.items()):
                if key[0] < oldest and found.changes == found.handed_over:
                    del self._histograms[key]


def _bin(share: float) -> int:
    """Of SCORE_BINS equal ones over 0..1; what is beyond either end, or no number, is in the last one."""
    return min(int(share * SCORE_BINS), SCORE_BINS - 1) if 0 <= share < 1 else SCORE_BINS - 1
