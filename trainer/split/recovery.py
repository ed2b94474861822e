"""A lost or damaged split ledger, made again from what the published versions say of their splits.

A version's split.jsonl has the part of each sample, the snapshot beside it the perceptual hashes and what ties samples
together. Samples that no published version used are placed anew.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from trainer.data.snapshot import Sample, read_snapshot
from trainer.data.types import Part
from trainer.split.hash import facts_of
from trainer.split.store import add_assignments
from utils.errors import StopRunError
from utils.logs import get_logger

log = get_logger(__name__)

SPLIT_FILE = "split.jsonl"
SNAPSHOT_FILE = "snapshot.jsonl"


def recover(connection: sqlite3.Connection, models: Path) -> int:
    """Enter what the versions in `models` say, the oldest first, but for what cannot be read; the number of samples."""
    samples = 0
    for folder in sorted((file.parent for file in models.glob(f"*/*/{SPLIT_FILE}")), key=_age):
        try:
            parts = dict(read_parts(folder / SPLIT_FILE))
            known = {sample.sha256: sample for sample in read_snapshot(folder / SNAPSHOT_FILE).samples}
        except (OSError, ValueError, KeyError, TypeError, StopRunError) as error:
            log.warning("split_not_read", folder=str(folder), reason=str(error))
            continue
        add_assignments(
            connection,
            ((sha256, known[sha256].phash if sha256 in known else None, part) for sha256, part in parts.items()),
            _facts(parts, known),
        )
        samples = max(samples, len(parts))
    if samples:
        log.warning("split_ledger_rebuilt", samples=samples, models=str(models))
    return samples


def _facts(parts: dict[str, Part], known: dict[str, Sample]) -> Iterator[tuple[str, Part]]:
    for sha256, part in parts.items():
        if sha256 in known:
            yield from ((fact, part) for fact in facts_of(known[sha256]))


def read_parts(file: Path) -> Iterator[tuple[str, Part]]:
    """sha256 and part of each picture of a version. Raises OSError, ValueError, KeyError, TypeError."""
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["part"] not in get_args(Part):
            raise ValueError(f"{row['part']!r} is no part of a split")
        yield row["sha256"], row["part"]


def _age(folder: Path) -> tuple[float, str]:
    return (folder / SPLIT_FILE).stat().st_mtime, folder.name
