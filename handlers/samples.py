"""Samples brought in line with their files and their metadata: loaded once, decided on, written once."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import replace
from pathlib import Path

from handlers.index.phash import is_near
from handlers.index.rows import StoredMetadata, StoredSample
from handlers.index.store import Index
from handlers.labels.person import PersonLabels, is_persons
from handlers.metadata_files import MetaFiles
from handlers.paths import is_scraped_place, stem
from handlers.sample_state import SampleState, decide, first_statement, may_be_about
from utils.images.facts import ImageFacts
from utils.metadata import Label


class Samples:
    """Called inside the caller's transaction. `undescribed`: count already; their metadata is still to be written."""

    def __init__(self, root: Path, index: Index, files: MetaFiles, people: PersonLabels, distance: int) -> None:
        self._root = root
        self._index = index
        self._files = files
        self._people = people
        self._distance = distance
        self.undescribed: deque[str] = deque()

    def is_in_use(self, row: StoredMetadata) -> bool:
        """Whether a sample has this metadata as its own."""
        return self._index.sample(row.stem) is not None

    def load(self, sample: StoredSample) -> SampleState:
        files = self._index.files_of(sample.id)
        present = [row.path for row in files if row.gone is None]
        return SampleState(sample, files, self._index.metadata_of(sample.id, sample.sha256, present) if present else [])

    def refresh(self, sample_id: str, *, keeps_label: bool = False) -> None:
        """Bring a sample in line with its files and its metadata: place, label, conflicts, metadata file."""
        sample = self._index.sample(sample_id)
        if sample is None:
            return
        state = self.load(sample)
        if not state.present and state.is_held:
            self._index.set_away(sample)
        elif not state.present:
            self._index.set_missing(sample)
            self._index.near.set_conflicts(sample.key, [])
        elif keeps_label and state.own is None:
            self._index.place_sample(sample, state.primary)  # its metadata may come back: the label stays until then
        else:
            self.write(state)

    def write(self, state: SampleState, facts: ImageFacts | None = None) -> None:
        """Decide and store; `facts` of a new sample, or of new content."""
        self._bind_copies(state)
        sample, own = state.sample, state.own
        asks = own is None or (state.is_new and not is_persons(own))
        word = self._people.word(sample.sha256) if asks else None
        decision = decide(state, word, is_undecided=self._is_undecided(state))
        for change in decision.changes:
            self._files.update(change.row, change.statement, change.sha256, change.note)
        self._people.remember(sample, decision.spoken)
        if facts is not None:
            self._index.put_sample(sample, facts, decision.primary, decision.resolution, self._distance)
        else:
            self._index.resolve_sample(sample, decision.primary, decision.resolution)
        if facts is not None or sample.path is None or sample.label != decision.resolution.label:
            # else whoever has changed has found this one
            self._find_conflicts(sample, decision.resolution.label, is_new=state.is_new)
        if own is None:
            self.undescribed.append(sample.id)

    def describe(self, sample_id: str) -> None:
        """Write the metadata of a picture that came without."""
        sample = self._index.sample(sample_id)
        state = self.load(sample) if sample is not None else None
        if sample is not None and state is not None and state.present and state.own is None:
            word = self._people.word(sample.sha256)
            self._files.create(sample, first_statement(state.primary, word), word.note if word is not None else None)

    def _is_undecided(self, state: SampleState) -> bool:
        """A file is there that was not looked at yet: the one that metadata names has not moved, as far as we know."""
        path = state.own.statement.image if state.own is not None else b""
        if not path or path in state.present:
            return False
        row = self._index.file(path)
        return (row is None or row.gone is not None) and os.path.lexists(self._root / os.fsdecode(path))

    def _bind_copies(self, state: SampleState) -> None:
        """A collected copy has metadata of its own, by its name; from here on it is known by its content, too."""
        sample = state.sample
        for path in state.present:
            if not is_scraped_place(path) or stem(path) == sample.id:
                continue
            for row in self._index.metadata_named(stem(path)):
                is_other = row.problem is None and row.sha256 != sample.sha256
                if is_other and may_be_about(row, path, sample.sha256) and not self.is_in_use(row):
                    bound = self._files.update(row, replace(row.statement, image=path), sample.sha256)
                    state.metadata = [*(known for known in state.metadata if known.path != row.path), bound]

    def _find_conflicts(self, sample: StoredSample, label: Label | None, *, is_new: bool) -> None:
        near: list[int] = []
        if sample.phash is not None and sample.thumb is not None and label is not None:
            near = [
                other
                for other, phash, thumb in self._index.near.candidates(sample.phash, label, self._distance)
                if is_near(sample.phash, phash, sample.thumb, thumb, self._distance)
            ]
        if near or not is_new:
            self._index.near.set_conflicts(sample.key, near)
