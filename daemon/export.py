"""The labelled dataset as others read it: pictures, what is known of them, the split, a Croissant description.

It is made beside its place and renamed when it is whole. The pictures are those of a snapshot, as a training would see
them, and its fingerprint comes with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handlers.index import queries
from handlers.index.schema import INDEX_FILE, connect_reader
from scrapers.exchange.columns import Exported, describe
from scrapers.exchange.readers.beneath import read_beneath
from scrapers.exchange.writers import FORMS, open_writer
from scrapers.exchange.writers.croissant import FILE_NAME, describe_dataset
from trainer.data.snapshot import Sample, Snapshot, write_snapshot
from trainer.split.split import split_samples
from utils.clock import SystemClock
from utils.config_loader import Config
from utils.errors import OperatorError, SkipItemError
from utils.files import PART_SUFFIX
from utils.images.decoding.kinds import KINDS
from utils.job_protocol import SPLIT_LEDGER_FILE
from utils.metadata import Metadata, read_metadata

README_FILE = "README.md"
BYTES_PER_MB = 1_000_000


@dataclass(slots=True)
class ExportReport:
    """What was written; `missing`: pictures that changed or went away meanwhile, with the reason."""

    folder: Path
    fingerprint: str = ""
    pictures: int = 0
    size_bytes: int = 0
    splits: Counter[tuple[str, str]] = field(default_factory=Counter)  # split, label
    licenses: Counter[str] = field(default_factory=Counter)
    missing: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Export:
    """`run` writes the dataset `name` to `folder`, which must not exist or be empty."""

    config: Config
    folder: Path
    form: str
    name: str
    shard_mb: int
    progress: Callable[[int, int], None] = lambda done, total: None

    def run(self) -> ExportReport:
        """Raises OperatorError when the folder is taken, or when there is nothing to export."""
        if self.form not in FORMS:
            raise OperatorError(f"no such form: {self.form!r}; forms are {', '.join(FORMS)}")
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise OperatorError(f"{self.folder}: already exists; name a new or empty folder")
        snapshot, index = self._snapshot()
        with contextlib.closing(index):
            if not snapshot.samples:
                raise OperatorError("nothing is labelled yet: there is nothing to export")
            with _beside(self.folder) as part:
                return self._write(part, snapshot, index)

    def _snapshot(self) -> tuple[Snapshot, sqlite3.Connection]:
        """The samples as the index has them, and a connection that goes on seeing the same index."""
        try:
            index = connect_reader(self.config.storage.state_path / INDEX_FILE)
        except sqlite3.OperationalError as error:
            raise OperatorError(
                "there is no index yet: start the service once, or run exposr-trainer reindex"
            ) from error
        index.execute("BEGIN")
        with tempfile.TemporaryDirectory(prefix="exposr-export-") as folder:
            return write_snapshot(Path(folder) / "snapshot.jsonl", queries.labelled_samples(index)), index

    def _write(self, part: Path, snapshot: Snapshot, index: sqlite3.Connection) -> ExportReport:
        report = ExportReport(self.folder)
        splits = preview_split(self.config, snapshot)
        writer = open_writer(self.form, part, self.shard_mb * BYTES_PER_MB)
        limit = int(self.config.intake.max_file_mb * 1e6)
        written = set()
        for done, sample in enumerate(snapshot.samples):
            self.progress(done, len(snapshot.samples))
            try:
                data = read_beneath(self.config.storage.local_path, sample.path, limit)
            except SkipItemError as error:
                report.missing.append((sample.path, str(error)))
                continue
            if hashlib.sha256(data).hexdigest() != sample.sha256:
                report.missing.append((sample.path, "has changed since it was indexed"))
                continue
            picture = self._describe(sample, splits[sample.sha256], index)
            writer.add(picture, data)
            written.add(sample.sha256)
            report.pictures += 1
            report.size_bytes += len(data)
            report.splits[picture.split, sample.label] += 1
            report.licenses[picture.row["license"] or "not stated"] += 1
        self.progress(len(snapshot.samples), len(snapshot.samples))
        report.fingerprint = snapshot.where(lambda sample: sample.sha256 in written).fingerprint
        text, date = _explain(self.name, report), f"{SystemClock().now():%Y-%m-%d}"
        licenses = sorted(license for license in report.licenses if license != "not stated")
        description = describe_dataset(self.name, text, report.fingerprint, date, licenses, writer.finish())
        (part / FILE_NAME).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        (part / README_FILE).write_text(_page(self.name, text, report), encoding="utf-8")
        return report

    def _describe(self, sample: Sample, split: str, index: sqlite3.Connection) -> Exported:
        metadata = self._metadata(sample, index)
        known: dict[str, Any] = {
            "split": split,
            "labelled_by": self._labelled_by(sample, index),
            **{name: getattr(sample, name) for name in ("label", "source", "generator", "creator", "post", "series")},
            **{name: getattr(sample, name) for name in ("sha256", "width", "height")},
        }
        row = describe(known, metadata.attribution if metadata else {}, metadata.api_data if metadata else {})
        return Exported(sample.sha256, _extension(sample), sample.label, split, row)

    def _metadata(self, sample: Sample, index: sqlite3.Connection) -> Metadata | None:
        found = queries.metadata_file(index, sample.id)
        if found is None:
            return None
        try:
            return read_metadata(self.config.storage.local_path / found)
        except SkipItemError:
            return None  # a broken edit: what it said before is in the index

    def _labelled_by(self, sample: Sample, index: sqlite3.Connection) -> str:
        return "source" if queries.label_source(index, sample.id) == "source" else "person"


def preview_split(config: Config, snapshot: Snapshot) -> Mapping[str, str]:
    """sha256 -> the part that each sample has, or that a training would give it now; nothing is remembered."""
    ledger = config.storage.state_path / SPLIT_LEDGER_FILE
    with tempfile.TemporaryDirectory(prefix="exposr-export-") as folder:
        copy = Path(folder) / SPLIT_LEDGER_FILE
        if ledger.exists():
            _copy_database(ledger, copy)
        training = config.training
        split = split_samples(
            snapshot.samples, copy, key=training.split_key, near_duplicate_distance=training.group_distance
        )
    parts = {member.sample.sha256: str(part) for part, members in split.parts.items() for member in members}
    return {**parts, **dict.fromkeys(split.left_out, "left_out")}


def _copy_database(file: Path, copy: Path) -> None:
    source = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
    with contextlib.closing(source), contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place in the end; what an export that was killed has left goes first."""
    target = folder.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}{PART_SUFFIX}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        os.sync()
        with contextlib.suppress(FileNotFoundError):
            target.rmdir()
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _extension(sample: Sample) -> str:
    kind = KINDS.get(sample.format)
    return kind.extension if kind is not None else Path(sample.path).suffix.lower()


def _explain(name: str, report: ExportReport) -> str:
    labels = Counter[str]()
    for (_, label), count in report.splits.items():
        labels[label] += count
    counts = ", ".join(f"{count} {label}" for label, count in sorted(labels.items()))
    return (
        f"{name}: {report.pictures} pictures ({counts}), exported by Exposr Trainer with the split of its trainings."
        f" Data fingerprint {report.fingerprint}."
    )


def _page(name: str, text: str, report: ExportReport) -> str:
    splits = sorted({split for split, _ in report.splits})
    rows = [
        f"| {split} | {report.splits[split, 'real']} | {report.splits[split, 'ai_generated']} |" for split in splits
    ]
    licenses = [f"- {license.replace(chr(10), ' ')}: {count}" for license, count in report.licenses.most_common(20)]
    return "\n".join(
        [
            f"# {name}",
            "",
            text,
            "",
            "| split | real | ai_generated |",
            "|---|---|---|",
            *rows,
            "",
            "Each picture's licence and author are in its columns `license`, `license_url`, `photographer` and `url`.",
            "",
            *licenses,
            "",
        ]
    )
