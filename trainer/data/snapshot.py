"""The frozen list of samples of one training: written by the daemon before the job starts, read by the job.

One JSON object a line, sorted by sha256. The fingerprint covers what a training depends on (content, label and the
facts that tie samples together), not where a file lies or when it came. Imports neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from utils.errors import StopRunError
from utils.files import open_atomically
from utils.metadata import LABELS, Label
from utils.sample import Sample

__all__ = ["Sample", "Snapshot", "read_snapshot", "stream_snapshot", "write_snapshot"]

FIELDS = tuple(field.name for field in fields(Sample))
# said of many samples: each text is kept once
SHARED_FIELDS = ("label", "source", "format", "creator", "post", "generator", "series", "added")
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


def write_snapshot(file: Path, samples: Iterable[Sample]) -> Snapshot:
    """Store samples in any order at `file`, atomically."""
    ordered = sorted({sample.sha256: sample for sample in samples}.values(), key=lambda sample: sample.sha256)
    stream_snapshot(file, ordered)
    return Snapshot(tuple(ordered), _fingerprint(ordered))


def stream_snapshot(file: Path, samples: Iterable[Sample]) -> int:
    """The same for samples that come sorted by sha256, each once: none is kept in memory. Returns their number."""
    count, last = 0, ""
    with open_atomically(file) as stream:
        for sample in samples:
            if sample.sha256 <= last:
                raise ValueError(f"{sample.sha256} comes after {last}")
            facts = {name: getattr(sample, name) for name in FIELDS}
            stream.write(json.dumps(facts, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n")
            count, last = count + 1, sample.sha256
    return count


def read_snapshot(file: Path) -> Snapshot:
    """Raises StopRunError, naming the line, when the file is no snapshot."""
    samples: dict[str, Sample] = {}
    with file.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            try:
                sample = _sample(json.loads(line))
                if sample.label not in LABELS:
                    raise ValueError(f"label is {sample.label!r}, allowed are {' and '.join(LABELS)}")
            except (TypeError, ValueError) as error:
                raise StopRunError(f"{file}, line {number}: not a sample: {error}") from error
            samples[sample.sha256] = sample
    ordered = sorted(samples.values(), key=lambda sample: sample.sha256)
    return Snapshot(tuple(ordered), _fingerprint(ordered))


def _sample(facts: Any) -> Sample:
    """Raises TypeError when they are no facts of a sample."""
    sample = {**facts}
    sample |= {name: sys.intern(facts[name]) for name in SHARED_FIELDS if facts.get(name)}
    return Sample(**sample)


def _fingerprint(samples: Iterable[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        facts = [getattr(sample, name) for name in FINGERPRINT_FIELDS]
        facts += [sample.series] if sample.series else []
        digest.update(json.dumps(facts, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()
