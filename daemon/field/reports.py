"""Reports about pictures that a version got wrong: checked, kept once each, and first in line for a person.

A picture that is known, or nearly the same as one that is, gets no second copy: the report is kept with the known one.

    upload -> .tmp/<id>.upload -> known? -> checked in a confined process -> meta/…/<id>.json -> images/…/<id>.jpg

The metadata comes first, so that the sample index never meets the picture without its source; a crash in between leaves
an upload, which `repair` removes together with that metadata.
"""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from daemon.field.store import FieldStore, StoredReport
from daemon.monitoring.disk import DiskFloor
from exposr_api.protocols import STORED, Decision, Report
from handlers.index.phash import is_near
from handlers.index.rows import KnownSample
from scrapers.forget import is_forgotten
from utils.clock import Clock, to_iso
from utils.config_loader import Config
from utils.files import fsync_folder
from utils.images.check_pool import CheckPool
from utils.images.facts import CheckLimits, ImageFacts
from utils.logs import get_logger
from utils.metadata import META_FOLDER, Metadata, image_path, metadata_path, new_sample_id, write_metadata

log = get_logger(__name__)

SOURCE = "feedback"
TEMPORARY_FOLDER = ".tmp"  # of the data folder: on its file system, and ignored by the watcher
UPLOAD_SUFFIX = ".upload"
COPY_CHUNK_BYTES = 1 << 20
AT_ONCE = 4  # uploads that are looked at; others are told to wait
REPORTS_OF_A_PICTURE = 20  # that are kept
MAX_PLACED = 1000  # pictures that are remembered until the index has them
HOUR_SECONDS = 3600.0
BUSY = Decision(False, "busy", "other reports are being looked at; send it again in a moment")


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture that was put into the data folder a moment ago."""

    file: Path
    facts: ImageFacts

    @property
    def sample(self) -> KnownSample:
        return KnownSample(self.file.stem, self.facts.sha256)

    def is_near(self, other: ImageFacts, distance: int) -> bool:
        hashes, thumbs = (self.facts.phash, other.phash), (self.facts.thumb, other.thumb)
        if None in hashes or None in thumbs or not self.file.exists():
            return False
        one, another = (bytes.fromhex(str(thumb)) for thumb in thumbs)
        return is_near(str(hashes[0]), str(hashes[1]), one, another, distance)


class Pictures(Protocol):
    """What is known of the data folder (`handlers.dataset.Dataset` fits)."""

    def ready(self) -> bool: ...
    def missing(self) -> str: ...
    def known_sample(self, sha256: str) -> KnownSample | None: ...
    def near_samples(self, phash: str, thumb: bytes) -> list[KnownSample]: ...
    def undecided(self, source: str) -> tuple[int, int]: ...


class ReportDesk:
    """Implements `exposr_api.protocols.Feedback`. Thread-safe; `report` takes as long as the picture's check."""

    def __init__(
        self, config: Callable[[], Config], store: FieldStore, pictures: Pictures, disk: DiskFloor, clock: Clock
    ) -> None:
        self._config = config
        self._store = store
        self._pictures = pictures
        self._disk = disk
        self._clock = clock
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._pace = Pace(clock)
        self._lock = threading.Lock()  # two uploads of the same bytes become one picture
        self._placed: OrderedDict[str, Placed] = OrderedDict()  # by sha256, until the index has it
        intake = config().intake
        self._checks = CheckPool(
            1, CheckLimits.from_settings(intake), intake.check_timeout_seconds, intake.check_memory_mb
        )

    def close(self) -> None:
        self._checks.close()

    def repair(self) -> int:
        """At start: remove what a crash left half-done. Returns how many uploads that were."""
        data = self._config().storage.local_path
        uploads = list((data / TEMPORARY_FOLDER).glob(f"*{UPLOAD_SUFFIX}"))
        for upload in uploads:
            for metadata in (data / META_FOLDER).glob(f"*/*/*/{upload.stem}.json"):
                metadata.unlink(missing_ok=True)
            upload.unlink(missing_ok=True)
        return len(uploads)

    def report(self, report: Report, picture: BinaryIO) -> Decision:
        """Take a report, or say why not. The picture is stored once, whoever reports it how often."""
        if not self._slots.acquire(blocking=False):
            return BUSY
        try:
            refusal = self._refusal()
            if refusal is not None:
                return refusal
            sample_id = new_sample_id(self._clock.now())
            upload = self._config().storage.local_path / TEMPORARY_FOLDER / f"{sample_id}{UPLOAD_SUFFIX}"
            try:
                return self._take(report, sample_id, upload, _copy(picture, upload))
            finally:
                upload.unlink(missing_ok=True)
        finally:
            self._slots.release()

    def reports(self, sha256: str) -> Sequence[dict[str, Any]]:
        return [report.as_public() for report in self._store.reports_of(sha256)]

    def newest(self, limit: int) -> Sequence[dict[str, Any]]:
        """Newest first, each with what a person has said of its picture since."""
        found = []
        for report in self._store.reports(limit):
            sample = self._known(report.sha256)
            found.append({**report.as_public(), "sample": sample.id if sample else None, "state": _state(sample)})
        return found

    def _refusal(self) -> Decision | None:
        settings = self._config().feedback
        if not settings.enabled:
            return Decision(False, "feedback_off", "this service takes no reports (feedback.enabled is false)")
        if not self._pictures.ready():
            return Decision(False, "busy", "the data folder is still being read; send it again in a moment")
        if missing := self._pictures.missing():
            return Decision(False, "data_away", missing)
        wait = self._pace.take(settings.max_per_hour)
        if wait:
            text = f"{settings.max_per_hour} reports in an hour (feedback.max_per_hour); the next one in {wait} s"
            return Decision(False, "too_many_reports", text, {"retry_after_seconds": wait})
        disk = self._disk.state()
        return None if disk.ok else Decision(False, "disk_full", disk.reason)

    def _take(self, report: Report, sample_id: str, upload: Path, sha256: str) -> Decision:
        known = self._known(sha256)
        if known is not None:
            return self._note(report, known)
        if is_forgotten(self._config(), sha256):
            return Decision(False, "forgotten", "this picture was deleted at its owner's wish and is not taken again")
        facts = self._check(upload)
        if isinstance(facts, Decision):
            return facts
        with self._lock:
            known = self._known(sha256) or self._near(report, facts)
            if known is None:
                if refusal := self._refusal_of_a_new_one():
                    return refusal
                self._place(report, sample_id, upload, facts)
        if known is None:
            return self._note(report, KnownSample(sample_id, sha256), is_new=True)
        return self._note(report, known, is_nearly=known.sha256 != sha256)

    def _known(self, sha256: str) -> KnownSample | None:
        sample = self._pictures.known_sample(sha256)
        placed = self._placed.get(sha256)  # the index follows within seconds
        if sample is None and placed is not None and placed.file.exists():
            return placed.sample
        if sample is not None:
            self._placed.pop(sha256, None)
        return sample

    def _near(self, report: Report, facts: ImageFacts) -> KnownSample | None:
        """The sample of nearly the same picture: not one whose label the reporter denies, since a generator may have
        made this picture out of that photograph."""
        if facts.phash is None or facts.thumb is None:
            return None
        distance = self._config().intake.near_duplicate_distance
        found = self._pictures.near_samples(facts.phash, bytes.fromhex(facts.thumb))
        found += [placed.sample for placed in list(self._placed.values()) if placed.is_near(facts, distance)]
        fits = (known for known in found if None in (report.label, known.label) or report.label == known.label)
        return next(fits, None)

    def _refusal_of_a_new_one(self) -> Decision | None:
        settings = self._config().feedback
        number, size_bytes = self._pictures.undecided(SOURCE)
        number += sum(self._pictures.known_sample(sha256) is None for sha256 in list(self._placed))
        if number < settings.max_waiting and size_bytes < settings.max_waiting_mb * 1e6:
            return None
        text = (
            f"{number} reported pictures ({size_bytes / 1e6:.0f} MB) wait for a person; at most "
            f"{settings.max_waiting} and {settings.max_waiting_mb:g} MB do (feedback.max_waiting, max_waiting_mb)"
        )
        return Decision(False, "queue_full", text)

    def _check(self, upload: Path) -> ImageFacts | Decision:
        try:
            found = self._checks.submit(upload).result()
        except CancelledError:
            return Decision(False, "busy", "the service is stopping; send it again in a moment")
        if isinstance(found, ImageFacts):
            return found
        return Decision(False, "busy" if found.retryable else "not_a_picture", f"the file {found.reason}")

    def _place(self, report: Report, sample_id: str, upload: Path, facts: ImageFacts) -> None:
        data, now = self._config().storage.local_path, self._clock.now()
        image = image_path(data, sample_id, now, facts.extension)
        said = {key: value for key, value in asdict(report).items() if value not in (None, "")}
        metadata = Metadata(
            id=sample_id,
            source=SOURCE,
            label=None,
            timestamp=to_iso(now),
            path=image.relative_to(data).as_posix(),
            sha256=facts.sha256,
            api_data={"feedback": said},
        )
        described = metadata_path(data, sample_id, now)
        write_metadata(described, metadata)
        try:
            image.parent.mkdir(parents=True, exist_ok=True)
            upload.replace(image)
        except OSError:
            described.unlink(missing_ok=True)
            raise
        fsync_folder(image.parent)
        self._placed[facts.sha256] = Placed(image, facts)
        while len(self._placed) > MAX_PLACED:
            self._placed.popitem(last=False)

    def _note(self, report: Report, known: KnownSample, *, is_new: bool = False, is_nearly: bool = False) -> Decision:
        """Keep the report, unless the same one is there or the picture has enough of them."""
        now = to_iso(self._clock.now())
        said = StoredReport(uuid.uuid4().hex, known.sha256, now, **asdict(report), nearly=is_nearly)
        with self._lock:
            earlier = self._store.reports_of(known.sha256)
            is_repeated = any(replace(one, id=said.id, received=said.received) == said for one in earlier)
            is_kept = not is_repeated and len(earlier) < REPORTS_OF_A_PICTURE
            if is_kept:
                self._store.add_report(said)
        facts = {"sample": known.id, "version": report.version, "verdict": report.verdict}
        log.info("picture_reported", **facts, new=is_new, nearly=is_nearly)
        return Decision(
            True,
            STORED,
            _receipt(is_new=is_new, is_nearly=is_nearly, is_kept=is_kept),
            {"sample": known.id, "reports": len(earlier) + is_kept, **({"nearly": True} if is_nearly else {})},
        )


class Pace:
    """How many reports came in the last hour. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._times: deque[float] = deque()

    def take(self, limit: int) -> int:
        """0 when one more is allowed now, which then counts; else the seconds until it is."""
        now = self._clock.monotonic()
        with self._lock:
            while self._times and self._times[0] <= now - HOUR_SECONDS:
                self._times.popleft()
            if len(self._times) >= limit:
                return int(self._times[0] + HOUR_SECONDS - now) + 1
            self._times.append(now)
            return 0


def _receipt(*, is_new: bool, is_nearly: bool, is_kept: bool) -> str:
    if is_new:
        return "report stored"
    what = "nearly the same picture" if is_nearly else "the picture"
    return f"report stored; {what} is known" if is_kept else "already reported"


def _copy(picture: BinaryIO, upload: Path) -> str:
    """Its sha256; the copy is on the disk for good."""
    upload.parent.mkdir(exist_ok=True)  # the data folder itself is nobody's to make
    digest = hashlib.sha256()
    with upload.open("xb") as stream:
        while chunk := picture.read(COPY_CHUNK_BYTES):
            digest.update(chunk)
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def _state(sample: KnownSample | None) -> str:
    """What has become of a reported picture: waiting, labelled, or gone."""
    if sample is None:
        return "gone"
    return "waiting" if sample.label is None and sample.label_source is None else sample.label or "skipped"
