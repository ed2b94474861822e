"""Benchmarks, `<name>/real/…` and `<name>/ai_generated/…`: every version is measured on them, none trained on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainer.benchmarks.pictures import BenchmarkPictures, read_pictures
from trainer.split.near_duplicates import close_pairs
from utils.errors import OperatorError
from utils.logs import get_logger
from utils.sample import Sample

log = get_logger(__name__)

Benchmarks = Mapping[str, BenchmarkPictures]


def read_benchmarks(folder: Path) -> dict[str, BenchmarkPictures]:
    """By name; a folder without a usable picture is named in the log and passed over."""
    found: dict[str, BenchmarkPictures] = {}
    if not folder.is_dir():
        return found
    for place in sorted(folder.iterdir()):
        if place.is_dir() and not place.name.startswith("."):
            try:
                found[place.name] = read_pictures(place)
            except OperatorError as error:
                log.warning("benchmark_passed_over", name=place.name, why=str(error))
    return found


def kept_out(samples: Sequence[Sample], benchmarks: Benchmarks, distance: int) -> dict[str, str]:
    """sha256 of the samples that a benchmark has, or has a near-duplicate of, and the benchmark's name."""
    found: dict[str, str] = {}
    for name, pictures in benchmarks.items():
        own = [member.sample for member in pictures.members]
        contents = {sample.sha256 for sample in own}
        found.update({sample.sha256: name for sample in samples if sample.sha256 in contents})
        hashes = [sample.phash for sample in samples] + [sample.phash for sample in own]
        for first, second in close_pairs(hashes, distance):
            if first < len(samples) <= second:
                found[samples[first].sha256] = name
    return found
