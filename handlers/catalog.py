"""What the index and the metadata files say after a change on disk: the one place that makes samples out of files.

A sample's state is loaded once, decided on (`handlers/sample_state.py`), and written once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from handlers.deletions import Deletions
from handlers.file_signature import Found
from handlers.index.rows import HELD, FileRow, FileState, StoredMetadata, StoredSample, Twin
from handlers.index.store import Index
from handlers.labels.history import LabelHistory
from handlers.labels.person import PersonLabels, is_persons
from handlers.loss import SMALLEST_LOSS
from handlers.metadata_files import MetaFiles
from handlers.paths import folder_label, is_scraped_place, stem
from handlers.sample_state import SampleState, descriptions, is_uuid
from handlers.samples import Samples
from handlers.scan import Changes
from utils.clock import Clock, to_iso
from utils.images.facts import ImageFacts
from utils.logs import get_logger
from utils.metadata import new_sample_id

log = get_logger(__name__)

ARRIVAL_SECONDS = 600.0  # a file that ends too early is not given up before it has stood still for this long
METADATA_WAIT_SECONDS = 10.0  # a scraper writes the image first; an editor may delete and write anew
DESCRIBE_BATCH = 256  # metadata files written in one go


class Catalog:
    """Applies changes inside the caller's transaction. `wrote` hears of every file that it writes."""

    def __init__(
        self,
        root: Path,
        index: Index,
        clock: Clock,
        history: LabelHistory,
        distance: int,
        pulse: Callable[[], None],
        wrote: Callable[[bytes], None],
    ) -> None:
        self._root = root
        self._index = index
        self._clock = clock
        self._people = PersonLabels(index, history, clock)
        self._distance = distance
        self._pulse = pulse
        self.files = MetaFiles(root, index, clock, wrote)
        self._waiting: dict[bytes, tuple[float, Found, ImageFacts]] = {}  # checked, metadata not there yet
        self._bereft: dict[str, float] = {}  # samples whose metadata file went, and when
        self._unsaid: set[str] = set()  # of these, the ones whose file held a person's label
        self._samples = Samples(root, index, self.files, self._people, distance)
        self._deletions = Deletions(index, self.files, distance, pulse)

    @property
    def waiting(self) -> int:
        """Pictures under images/ that wait for their metadata."""
        return len(self._waiting)

    @property
    def has_chores(self) -> bool:
        """Whether metadata is to be written or deleted pictures are to be forgotten."""
        return bool(self._samples.undescribed or self._deletions)

    @property
    def undescribed(self) -> int:
        """How many samples wait for their metadata to be written."""
        return len(self._samples.undescribed)

    def apply(self, changes: Changes) -> list[Found]:
        """Take over what a scan saw; the files that have to be checked.

        Appearances come before disappearances, so that a rename keeps its sample.
        """
        unknown = []
        now = self._clock.now().timestamp()
        for folder, device in changes.moved_device:
            self._index.set_device(folder, device)
        for found in changes.metadata:
            self._pulse()
            self._metadata_appeared(found)
        for found, reason in changes.special:
            self.reject(found, reason, retryable=False)
        for found in changes.returned:
            self._index.set_gone(found.path, None, found.device)
            row = self._index.file(found.path)
            if row is not None and row.sample is not None:
                self._refresh(row.sample)
        for found in changes.appeared:
            self._pulse()
            if found.path in self._waiting and self._waiting[found.path][1].signature == found.signature:
                continue
            twin = self._index.same_inode(found.signature)
            if twin is None or (is_scraped_place(found.path) and not self._index.metadata_named(stem(found.path))):
                unknown.append(found)
            elif twin.signature == found.signature:
                self._join(found, self._known(twin))  # a folder was renamed: nothing of its files changed
                self._index.copy_note(twin.path, found.path)
            else:
                if twin.path != found.path:
                    self._join(found._replace(signature=found.signature.unproven()), self._known(twin))
                    self._index.copy_note(twin.path, found.path)
                # the bytes may be others, with size and mtime put back: only reading tells
                unknown.append(found._replace(expected=self._known(twin).sha256))
        for path in changes.companions:
            row = self._index.file(path)
            if row is not None and row.gone is None:
                self._vanished(path, now)
        for path, there in changes.vanished:
            self._pulse()
            self._vanished(path, now if there else HELD)
        return unknown

    def accept(self, found: Found, facts: ImageFacts, *, wait: bool = True) -> None:
        """A file passed its check; with `wait`, one under images/ may wait for its metadata."""
        sample = self._index.sample_of_content(facts.sha256)
        before = self._index.file(found.path) if sample is None else None
        if sample is not None:
            self._join(found, sample)
        elif before is not None and before.sample is not None and self._is_edited(before):
            self._edit(found, before.sample, facts)
        else:
            self._add(found, before, facts, wait=wait)
        if facts.note and self._index.set_note(found.path, facts.note):
            log.info("side_data_left_out", path=os.fsdecode(found.path), reason=facts.note)

    def confirm(self, found: Found) -> None:
        """A file has the bytes that it was expected to have; only its signature is another."""
        self._index.set_signature(found)

    def reject(self, found: Found, reason: str, *, retryable: bool, incomplete: bool = False) -> None:
        """A file cannot be used; it stays where it is. What it was before is no longer true of it.

        One that ends too early may be a download that pauses: it is looked at again with every whole scan, and rejected
        when it has not changed for a while.
        """
        before = self._index.file(found.path)
        if retryable and before is not None and before.state == "good":
            return  # what was known of it may still be true: the next whole scan tries again
        self._waiting.pop(found.path, None)
        now = self._clock.now().timestamp()
        is_arriving = incomplete and now - found.signature.changed < ARRIVAL_SECONDS
        state: FileState = "unreadable" if retryable or is_arriving else "rejected"
        if is_arriving:
            minutes = ARRIVAL_SECONDS / 60
            reason += f"; the rest may still arrive, and is waited for ({minutes:g} minutes without any)"
        self._index.put_file(found, state, reason=reason)
        if before is None or (before.state, before.signature) != (state, found.signature):
            event = "file_incomplete" if is_arriving else "file_rejected"
            log.info(event, path=os.fsdecode(found.path), reason=reason)
        self._refresh_others(before, self._index.metadata_about(found.path), None)

    def tick(self) -> None:
        """What becomes due by waiting: pictures without metadata, samples whose metadata went."""
        now = self._clock.monotonic()
        for path, (since, found, facts) in list(self._waiting.items()):
            if now - since >= METADATA_WAIT_SECONDS or self._index.metadata_named(stem(path)):
                del self._waiting[path]
                self.accept(found, facts, wait=False)
        is_loss = len(self._bereft) > max(SMALLEST_LOSS, self._index.metadata_files())
        for sample_id, since in list(self._bereft.items()):
            if now - since >= METADATA_WAIT_SECONDS or self._index.metadata_named(sample_id):
                del self._bereft[sample_id]
                # who deletes the metadata of a picture that stays takes its label back; a loss of most does not
                if sample_id in self._unsaid and not is_loss and not self._index.metadata_named(sample_id):
                    self._people.withdraw(sample_id)
                self._unsaid.discard(sample_id)
                self._refresh(sample_id)

    def next_tick(self) -> float | None:
        """Monotonic time at which `tick` has something to do."""
        since = [entry[0] for entry in self._waiting.values()] + list(self._bereft.values())
        return min(since) + METADATA_WAIT_SECONDS if since else None

    def do_chores(self) -> None:
        """A batch of what the counts do not wait for: metadata of new pictures, and deleted ones to be forgotten."""
        for _ in range(min(DESCRIBE_BATCH, len(self._samples.undescribed))):
            self._samples.describe(self._samples.undescribed.popleft())
            if self.files.problem:
                self._samples.undescribed.clear()  # the next whole scan finds them again
                break
        for sample_id in self._deletions.forget_some():
            self._refresh(sample_id)

    def accept_loss(self) -> None:
        """A person has said that what is missing was deleted."""
        for sample_id in self._index.release_held():
            self._refresh(sample_id)

    def relabel(self) -> None:
        """Other folder names say labels now."""
        changed = {
            sample_id for sample_id, path, label in self._index.labelled_by_folders() if folder_label(path) != label
        }
        for sample_id in changed:
            self._pulse()
            self._refresh(sample_id)

    def complete_metadata(self) -> None:
        """After a whole scan: a sample whose metadata file is missing (a crash, a full disk) gets it in due time."""
        undescribed = set(self._samples.undescribed)
        for sample_id in self._index.without_metadata():
            if sample_id not in undescribed:
                self._bereft.setdefault(sample_id, self._clock.monotonic())

    def forget_deleted(self, grace_seconds: float, waiting_sizes: set[int]) -> int:
        """Drop what has been missing for so long; a deleted picture takes its metadata with it. Returns the files.

        Files of the sizes that wait for their check are spared: the missing one may be among them, moved.
        """
        now = self._clock.now().timestamp()
        missing = self._index.gone_outside(now - grace_seconds, now)
        self._deletions.confirm(row for row in missing if row.signature.size not in waiting_sizes)
        return len(self._deletions)

    def spare_deleted(self) -> None:
        """What was taken for deleted is lost: nothing is forgotten."""
        self._deletions.confirm([])

    # files

    def _add(self, found: Found, before: FileRow | None, facts: ImageFacts, *, wait: bool) -> None:
        """Content that the index has not seen yet."""
        path = found.path
        name = stem(path) if is_scraped_place(path) else None
        rows = self._index.metadata_for(path, facts.sha256, name)
        waiting = descriptions(rows, path, facts.sha256, name) if rows else []
        described = next((row for row in waiting if not self._samples.is_in_use(row)), None)
        if described is None and wait and name is not None and self._just_arrived(found):
            self._waiting[path] = (self._clock.monotonic(), found, facts)
            return
        self._waiting.pop(path, None)
        sample_id = described.stem if described is not None else self._new_id(name)
        sample = StoredSample.new(self._index.new_key(), sample_id, facts, to_iso(self._clock.now()))
        if described is not None:
            rows = self._index.metadata_of(sample.id, sample.sha256, [path])
        row = FileRow(found.folder, found.name, found.device, found.signature, "good", sample.id, None)
        self._index.put_file(found, "good", sample=sample.key)
        self._samples.write(SampleState(sample, [row], rows, is_new=True), facts)
        self._refresh_others(before, [about for about in rows if about.statement.image == path], sample.id)

    def _edit(self, found: Found, sample_id: str, facts: ImageFacts) -> None:
        """Edited in place: the same sample with other content."""
        sample = self._index.sample(sample_id)
        assert sample is not None
        self._waiting.pop(found.path, None)
        self._index.near.forget(sample, self._distance)
        self._index.put_file(found, "good", sample=sample.key)
        self._samples.write(self._samples.load(sample.with_content(facts)), facts)

    def _known(self, twin: Twin) -> StoredSample:
        sample = self._index.sample(twin.sample)
        assert sample is not None
        return sample

    def _join(self, found: Found, sample: StoredSample) -> None:
        """Make the file one of the sample's."""
        before = self._index.file(found.path)
        self._waiting.pop(found.path, None)
        self._index.put_file(found, "good", sample=sample.key)
        self._refresh_others(before, self._index.metadata_about(found.path), sample.id)
        self._refresh(sample.id)

    def _refresh_others(self, before: FileRow | None, about: Iterable[StoredMetadata], sample_id: str | None) -> None:
        """Samples that had this file, or whose metadata names it."""
        others = {row.stem for row in about}
        others |= {before.sample} if before is not None and before.sample is not None else set()
        for other in others - {sample_id}:
            self._refresh(other)

    def _is_edited(self, before: FileRow) -> bool:
        """Whether the file that was there was the only one of its sample."""
        assert before.sample is not None
        files = self._index.files_of(before.sample)
        return [row.path for row in files if row.gone is None] == [before.path]

    def _just_arrived(self, found: Found) -> bool:
        """By its ctime, which a rename into place sets; a clock that was set back must not make it wait for ever."""
        age = self._clock.now().timestamp() - found.signature.ctime_ns / 1e9
        return age < METADATA_WAIT_SECONDS

    def _vanished(self, path: bytes, gone: float) -> None:
        row = self._index.file(path)
        if row is None:
            return
        self._waiting.pop(path, None)
        if row.state == "metadata" and gone != HELD:
            self._metadata_vanished(row)
            return
        if row.sample is None and gone != HELD and row.state != "metadata":
            self._index.forget_file(path)
            return
        self._index.set_gone(path, gone)
        if row.sample is not None:
            self._refresh(row.sample)

    # metadata

    def _new_id(self, name: str | None) -> str:
        """The name of a collected picture, which is a UUID; any other gets a new one."""
        if name is not None and is_uuid(name) and self._index.sample(name) is None:
            return name
        return new_sample_id(self._clock.now())

    def _samples_about(self, row: StoredMetadata) -> set[str]:
        """Samples that this metadata speaks of."""
        by_content = self._index.sample_of_content(row.sha256) if row.sha256 else None
        at_place = self._index.file(row.statement.image) if row.statement.image else None
        found = {row.stem} if self._samples.is_in_use(row) else set()
        found |= {by_content.id} if by_content is not None else set()
        return found | ({at_place.sample} if at_place is not None and at_place.sample is not None else set())

    def _metadata_appeared(self, found: Found) -> None:
        before = self._index.metadata(found.path)
        row = self.files.read(found, before)
        if row is None:
            return
        for sample_id in self._samples_about(row) | (self._samples_about(before) if before is not None else set()):
            self._bereft.pop(sample_id, None)
            self._unsaid.discard(sample_id)
            if is_persons(before) and not is_persons(row):
                self._people.withdraw(sample_id)
            self._refresh(sample_id)

    def _metadata_vanished(self, row: FileRow) -> None:
        known = self._index.metadata(row.path)
        self._index.forget_file(row.path)
        if known is not None:
            for sample_id in self._samples_about(known):
                self._bereft.setdefault(sample_id, self._clock.monotonic())
                if is_persons(known):
                    self._unsaid.add(sample_id)

    def _refresh(self, sample_id: str) -> None:
        """Bring a sample in line with what is there; while its metadata may come back, its label stays."""
        self._samples.refresh(sample_id, keeps_label=sample_id in self._bereft)
