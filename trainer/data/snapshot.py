"""The frozen list of samples of one training: written by the daemon before the job starts, read by the job.

One JSON object a line, sorted by sha256. The fingerprint covers what a training depends on (content, label and the
facts that tie samples together), not where a file lies or when it came. Imports neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from utils.errors import StopRunError
from utils.files import write_atomically
from utils.metadata import LABELS, Label
from utils.sample import Sample

__all__ = ["Sample", "Snapshot", "read_snapshot", "write_snapshot"]

FINGERPRINT_FIELDS = ("sha256", "label", "source", "phash", "creator", "post", "generator")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Samples sorted by sha256, each content once, and the sha256 over what a training depends on."""

    samples: tuple[Sample, ...]
    fingerprint: str

    def where(self, keep: Callable[[Sample], bool]) -> Snapshot:
        kept = tuple(sample for sample in self.samples if keep(sample))
        return Snapshot(kept, _fingerprint(kept))

    def count(self, label: Label) -> int:
        return sum(sample.label == label for sample in self.samples)


def write_snapshot(file: Path, rows: Iterable[Sample]) -> Snapshot:
    """Store `rows` (anything with the attributes of Sample, such as the index's rows) at `file`, atomically."""
    names = [field.name for field in fields(Sample)]
    samples = [Sample(**{name: getattr(row, name) for name in names}) for row in rows]
    samples = sorted({sample.sha256: sample for sample in samples}.values(), key=lambda sample: sample.sha256)
    lines = (json.dumps(asdict(sample), ensure_ascii=True, allow_nan=False) + "\n" for sample in samples)
    write_atomically(file, "".join(lines).encode())
    return Snapshot(tuple(samples), _fingerprint(samples))


def read_snapshot(file: Path) -> Snapshot:
    """Raises StopRunError, naming the line, when the file is no snapshot."""
    samples: dict[str, Sample] = {}
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                sample = Sample(**json.loads(line))
                if sample.label not in LABELS:
                    raise ValueError(f"label is {sample.label!r}, allowed are {' and '.join(LABELS)}")
            except (TypeError, ValueError) as error:
                raise StopRunError(f"{file}, line {number}: not a sample: {error}") from error
            samples[sample.sha256] = sample
    ordered = sorted(samples.values(), key=lambda sample: sample.sha256)
    return Snapshot(tuple(ordered), _fingerprint(ordered))


def _fingerprint(samples: Iterable[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        facts = [getattr(sample, name) for name in FINGERPRINT_FIELDS]
        facts += [sample.series] if sample.series else []
        digest.update(json.dumps(facts, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()
