"""How what people say in metadata files gets into the history of labels, and out of it again."""

from __future__ import annotations

from collections.abc import Iterable

from handlers.index.rows import StoredMetadata, StoredSample
from handlers.index.store import Index
from handlers.labels.history import Entry, LabelHistory
from utils.clock import Clock, to_iso


class PersonLabels:
    """Between the index and the history; `word` is what a person's label was before the picture went away."""

    def __init__(self, index: Index, history: LabelHistory, clock: Clock) -> None:
        self._index = index
        self._history = history
        self._clock = clock
        if history.is_empty():
            self._remember_all()

    def word(self, sha256: str) -> Entry | None:
        """The label that stands for this content."""
        return self._history.last(sha256)

    def remember(self, sample: StoredSample, spoken: Iterable[StoredMetadata]) -> None:
        """A person's label in a metadata file goes into the history, unless it stands there already."""
        said = next((row.statement for row in spoken if is_persons(row)), None)
        if said is None:
            return
        last = self._history.last(sample.sha256)
        if last is not None and last.label == said.label:
            return
        before = (sample.label, sample.label_source) if sample.label_source != "person" else (None, None)
        self._history.add(sample.sha256, Entry(self._now(), "label", said.label, None, "file", *before))

    def withdraw(self, sample_id: str) -> None:
        """Somebody took the label out of the metadata file."""
        sample = self._index.sample(sample_id)
        if sample is not None and self._history.last(sample.sha256) is not None:
            self._history.add(sample.sha256, Entry(self._now(), "withdraw", way="file"))

    def _remember_all(self) -> None:
        """Into a history that is new: what the metadata files say in people's names."""
        for sample_id in self._index.labelled_by_people():
            sample = self._index.sample(sample_id)
            if sample is not None:
                self.remember(sample, self._index.metadata_of(sample.id, sample.sha256, []))

    def _now(self) -> str:
        return to_iso(self._clock.now())


def is_persons(row: StoredMetadata | None) -> bool:
    return row is not None and row.statement.label_source == "person"
