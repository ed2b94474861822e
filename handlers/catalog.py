"""What the index and the metadata files say after a change on disk: the one place that makes samples out of files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from handlers.file_signature import Found
from handlers.index.phash import is_near
from handlers.index.rows import HELD, FileRow, FileState, StoredMetadata, StoredSample
from handlers.index.store import Index
from handlers.label_history import Entry, LabelHistory
from handlers.label_rules import Resolution, follow, resolve
from handlers.links import Links
from handlers.loss import SMALLEST_LOSS
from handlers.metadata_files import MetaFiles
from handlers.paths import folder_label, is_scraped_place, stem
from handlers.scan import Changes
from utils.clock import Clock, to_iso
from utils.images.facts import ImageFacts
from utils.logs import get_logger

log = get_logger(__name__)

ARRIVAL_SECONDS = 600.0  # a file that ends too early is not given up before it has stood still for this long
METADATA_WAIT_SECONDS = 10.0  # a scraper writes the image first; an editor may delete and write anew


class Catalog:
    """Applies changes inside the caller's transaction. `pend` is told of every file that has to be checked."""

    def __init__(
        self,
        root: Path,
        index: Index,
        clock: Clock,
        history: LabelHistory,
        distance: int,
        pend: Callable[[Found], None],
        pulse: Callable[[], None],
    ) -> None:
        self._root = root
        self._index = index
        self._clock = clock
        self._history = history
        self._distance = distance
        self._pend = pend
        self._pulse = pulse
        self.files = MetaFiles(root, index, clock)
        self._links = Links(index)
        self._waiting: dict[bytes, tuple[float, Found, ImageFacts]] = {}  # checked, metadata not there yet
        self._bereft: dict[str, float] = {}  # samples whose metadata file went, and when
        self._unsaid: set[str] = set()  # of these, the ones whose file held a person's label

    @property
    def waiting(self) -> int:
        """Pictures under images/ that wait for their metadata."""
        return len(self._waiting)

    def apply(self, changes: Changes) -> None:
        """Take over what a scan saw. Appearances come before disappearances, so that a rename keeps its sample."""
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
            sample = self._index.sample(twin.sample) if twin is not None and twin.sample is not None else None
            if sample is None or (is_scraped_place(found.path) and not self._index.metadata_named(stem(found.path))):
                self._pend(found)
            elif twin is not None and twin.signature == found.signature:
                self._join(found, sample.id)  # a folder was renamed: nothing of its files changed
            else:
                if twin is None or twin.path != found.path:
                    self._join(found._replace(signature=found.signature.unproven()), sample.id)
                self._pend(found)  # the bytes may be others, with size and mtime put back: only reading tells
        for path, there in changes.vanished:
            self._pulse()
            self._vanished(path, now if there else HELD)

    def accept(self, found: Found, facts: ImageFacts, *, wait: bool = True) -> None:
        """A file passed its check; with `wait`, one under images/ may wait for its metadata."""
        sample = self._index.sample_of_content(facts.sha256)
        if sample is None:
            self._put_sample(found, facts, wait=wait)
        else:
            self._join(found, sample.id)
        if facts.note and self._index.set_note(found.path, facts.note):
            log.info("side_data_left_out", path=os.fsdecode(found.path), reason=facts.note)

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
        self._index.put_file(found, state, now, reason=reason)
        if before is None or (before.state, before.signature) != (state, found.signature):
            event = "file_incomplete" if is_arriving else "file_rejected"
            log.info(event, path=os.fsdecode(found.path), reason=reason)
        self._refresh_others(found.path, before, None)

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
                self._take_back(sample_id, is_loss=is_loss)
                self._refresh(sample_id)
                self._say_again(sample_id)
                if self.files.problem:
                    self._bereft.clear()  # the next whole scan finds them again
                    break

    def next_tick(self) -> float | None:
        """Monotonic time at which `tick` has something to do."""
        since = [entry[0] for entry in self._waiting.values()] + list(self._bereft.values())
        return min(since) + METADATA_WAIT_SECONDS if since else None

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
        for sample_id in self._index.without_metadata():
            self._bereft.setdefault(sample_id, self._clock.monotonic())

    def forget_deleted(self, grace_seconds: float, waiting_sizes: set[int]) -> int:
        """Drop what has been missing for so long; a deleted picture takes its metadata with it.

        Files of the sizes that wait for their check are spared: the missing one may be among them, moved.
        """
        now = self._clock.now().timestamp()
        missing = self._index.gone_outside(now - grace_seconds, now)
        rows = [row for row in missing if row.signature.size not in waiting_sizes]
        for row in rows:
            self._index.forget_file(row.path)
        orphans = {row.sample for row in rows if row.sample is not None and not self._index.has_files(row.sample)}
        for row in rows:
            if row.sample is not None and row.sample not in orphans and is_scraped_place(row.path):
                named = self._index.metadata_named(stem(row.path))
                self._delete_metadata(own for own in named if not self._links.is_in_use(own))
                self._refresh(row.sample)
        for sample_id in orphans:
            self._pulse()
            sample = self._index.sample(sample_id)
            if sample is not None:
                self._delete_metadata(self._index.metadata_of(sample.id, sample.sha256, None))
                self._index.forget_sample(sample, self._distance)
        return len(orphans)

    # files

    def _put_sample(self, found: Found, facts: ImageFacts, *, wait: bool) -> None:
        """Content that the index has not seen yet."""
        before = self._index.file(found.path)
        replaced = self._index.sample(before.sample) if before is not None and before.sample is not None else None
        if replaced is not None and self._links.is_only_file(replaced, found.path):
            sample_id = replaced.id  # edited in place: the same sample with other content
            self._index.forget_bands(replaced, self._distance)
        else:
            described = self._links.description_of(found.path, facts.sha256)
            if described is None and wait and is_scraped_place(found.path) and self._just_arrived(found):
                self._waiting[found.path] = (self._clock.monotonic(), found, facts)
                return
            sample_id = described.stem if described is not None else self._links.new_id(found.path)
        self._index.put_sample(sample_id, facts, to_iso(self._clock.now()), self._distance)
        self._join(found, sample_id)
        self._say_again(sample_id)

    def _join(self, found: Found, sample_id: str) -> None:
        """Make the file one of the sample's."""
        before = self._index.file(found.path)
        self._waiting.pop(found.path, None)
        self._index.put_file(found, "good", self._clock.now().timestamp(), sample=sample_id)
        self._refresh_others(found.path, before, sample_id)
        self._refresh(sample_id)

    def _refresh_others(self, path: bytes, before: FileRow | None, sample_id: str | None) -> None:
        """Samples that had this file, or whose metadata names it."""
        for other in self._links.samples_at(path, before) - {sample_id}:
            self._refresh(other)

    def _just_arrived(self, found: Found) -> bool:
        """By its ctime, which a rename into place sets; a clock that was set back must not make it wait for ever."""
        age = self._clock.now().timestamp() - found.signature.ctime_ns / 1e9
        return age < METADATA_WAIT_SECONDS

    def _vanished(self, path: bytes, gone: float) -> None:
        row = self._index.file(path)
        if row is None:
            return
        self._waiting.pop(path, None)
        if row.state == "metadata":
            if gone != HELD:
                self._metadata_vanished(row)
            else:
                self._index.set_gone(path, gone)
            return
        if row.sample is None and gone != HELD:
            self._index.forget_file(path)
            return
        self._index.set_gone(path, gone)
        if row.sample is not None:
            self._refresh(row.sample)

    # metadata

    def _metadata_appeared(self, found: Found) -> None:
        before = self._index.metadata(found.path)
        row = self.files.read(found, before)
        if row is None:
            return
        samples = self._links.samples_about(row) | (self._links.samples_about(before) if before is not None else set())
        for sample_id in samples:
            self._bereft.pop(sample_id, None)
            self._unsaid.discard(sample_id)
            if _is_persons(before) and not _is_persons(row):
                self._withdraw(sample_id)
            self._refresh(sample_id)

    def _metadata_vanished(self, row: FileRow) -> None:
        known = self._index.metadata(row.path)
        self._index.forget_file(row.path)
        self._index.forget_metadata(row.path)
        if known is not None:
            for sample_id in self._links.samples_about(known):
                self._bereft.setdefault(sample_id, self._clock.monotonic())
                if _is_persons(known):
                    self._unsaid.add(sample_id)

    def _delete_metadata(self, rows: Iterable[StoredMetadata]) -> None:
        for row in rows:
            self.files.delete(row)

    # samples

    def _refresh(self, sample_id: str) -> None:
        """Bring a sample in line with its files and its metadata: place, label, conflicts, metadata file."""
        sample = self._index.sample(sample_id)
        if sample is None:
            return
        files = self._index.files_of(sample_id)
        if not files and self._index.is_held(sample_id):
            self._index.set_away(sample_id)
            return
        if not files:
            self._index.set_missing(sample_id)
            self._index.set_conflicts(sample_id, [])
            return
        paths = [row.path for row in files]
        named = self._index.metadata_named(sample_id)
        places = [row.statement.image for row in named] + [sample.path or b""]
        primary = next((path for path in places if path in paths), paths[0])
        if sample_id in self._bereft and not named:
            self._index.resolve_sample(sample_id, primary, Resolution(sample.label, sample.label_source, sample.clash))
            return  # its metadata may come back within seconds: the label stays until then
        spoken = self._metadata_for(sample, primary, paths)
        self._remember(sample, spoken)
        resolution = resolve([row.statement for row in spoken], [(path, folder_label(path)) for path in paths])
        self._index.resolve_sample(sample_id, primary, resolution)
        self._find_conflicts(replace(sample, label=resolution.label))

    def _metadata_for(self, sample: StoredSample, primary: bytes, paths: list[bytes]) -> list[StoredMetadata]:
        """All that speaks of the sample, its own file first: made when missing, brought in line with where it lies."""
        self._bind_by_name(sample, paths)
        spoken = self._index.metadata_of(sample.id, sample.sha256, primary)
        own = next((row for row in spoken if row.stem == sample.id), None)
        others = [self._bind(row, sample.sha256) for row in spoken if row.stem != sample.id]
        if own is None:
            return [self.files.create(sample, primary), *others]
        if self._is_undecided(own.statement.image):
            return [own, *others]
        said = follow(own.statement, primary, folder_label(primary))
        if own.problem is None and (said != own.statement or own.sha256 != sample.sha256):
            own = self.files.update(own, said, sample.sha256)
        else:
            own = replace(own, statement=said)
        return [own, *others]

    def _is_undecided(self, path: bytes) -> bool:
        """A file is there that was not looked at yet: the one that metadata names has not moved, as far as we know."""
        row = self._index.file(path) if path else None
        return bool(path) and (row is None or row.gone is not None) and os.path.lexists(self._root / os.fsdecode(path))

    def _bind_by_name(self, sample: StoredSample, paths: list[bytes]) -> None:
        """A collected copy has metadata of its own, by its name; from here on it is known by its content, too."""
        for path in paths:
            for row in self._links.named_after(path, sample.sha256):
                if not self._links.is_in_use(row) and row.problem is None and row.sha256 != sample.sha256:
                    self.files.update(row, replace(row.statement, image=path), sample.sha256)

    def _bind(self, row: StoredMetadata, sha256: str) -> StoredMetadata:
        """Metadata that knew its picture only by place now knows it by content, and stays with it when it moves."""
        if row.sha256 or row.problem is not None:
            return row
        return self.files.update(row, row.statement, sha256)

    # what people have said

    def remember_all(self) -> None:
        """Into a history that is new: what the metadata files say in people's names."""
        for sample_id in self._index.labelled_by_people():
            sample = self._index.sample(sample_id)
            if sample is not None:
                self._remember(sample, self._index.metadata_of(sample.id, sample.sha256, None))

    def _remember(self, sample: StoredSample, spoken: Iterable[StoredMetadata]) -> None:
        """A person's label in a metadata file goes into the history, unless it stands there already."""
        said = next((row.statement for row in spoken if _is_persons(row)), None)
        if said is None:
            return
        last = self._history.last(sample.sha256)
        if last is not None and last.label == said.label:
            return
        is_known = sample.label_source != "person"
        before = (sample.label, sample.label_source) if is_known else (None, None)
        at = to_iso(self._clock.now())
        self._history.add(sample.sha256, Entry(at, "label", said.label, None, "file", *before))

    def _say_again(self, sample_id: str) -> None:
        """What a person has said of this content, before it went away, counts again."""
        sample = self._index.sample(sample_id)
        last = self._history.last(sample.sha256) if sample is not None else None
        if sample is None or last is None or sample.label_source == "person":
            return
        own = next(iter(self._index.metadata_named(sample_id)), None)
        if own is not None and own.problem is None:
            said = replace(own.statement, label=last.label, label_source="person")
            self.files.update(own, said, sample.sha256, last.note)
            log.info("label_said_again", sample=sample_id, label=last.label)
            self._refresh(sample_id)

    def _take_back(self, sample_id: str, *, is_loss: bool) -> None:
        """Who deletes the metadata of a picture that stays takes back what was said in it; a loss of most does not."""
        if sample_id in self._unsaid and not is_loss and not self._index.metadata_named(sample_id):
            self._withdraw(sample_id)
        self._unsaid.discard(sample_id)

    def _withdraw(self, sample_id: str) -> None:
        sample = self._index.sample(sample_id)
        if sample is not None and self._history.last(sample.sha256) is not None:
            self._history.add(sample.sha256, Entry(to_iso(self._clock.now()), "withdraw", way="file"))

    def _find_conflicts(self, sample: StoredSample) -> None:
        near: list[str] = []
        if sample.phash is not None and sample.thumb is not None:
            near = [
                other
                for other, phash, thumb in self._index.candidates(sample, self._distance)
                if is_near(sample.phash, phash, sample.thumb, thumb, self._distance)
            ]
        self._index.set_conflicts(sample.id, near)


def _is_persons(row: StoredMetadata | None) -> bool:
    return row is not None and row.statement.label_source == "person"
