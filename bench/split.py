"""Snapshot, split and near-duplicates of many samples: seconds and memory, and whether they grow linearly.

    python -P bench/split.py [--samples 10000 100000 1000000] [--steps write read first second search] [--repeats 5]
                             [--json FILE]

The samples' facts are drawn, no picture is needed: a tenth are near-duplicates of another (up to 4 of 64 bits differ),
a third have one of as many creators as a tenth of the samples, some a post or a series. Each step is measured in a
process of its own, by processor time and peak memory: the snapshot is written, read, split for the first time, and
again with one in a hundred more. search: the near-duplicates alone, beside faiss's multi-index hashing, which must find
the same pairs (`pip install faiss-cpu`), median of `--repeats`. The demand: with ten times the samples, at most 16
times the seconds (a power of 1.2); all steps with a million take under 10 minutes, and each under 2 GB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.snapshot import Sample, read_snapshot, stream_snapshot
from trainer.split.near_duplicates import close_pairs
from trainer.split.split import Split, split_samples
from utils.logs import configure_logging

DISTANCE = 4
MOST_SECONDS, MOST_BYTES, MOST_GROWTH = 600.0, 2e9, 1.2
STEPS = ("write", "read", "first", "second", "search")


def draw(number: int) -> Iterator[Sample]:
    """Sorted by sha256. The first of many are the same as of few."""
    rng = random.Random(0)
    hashes: list[int] = []
    for index in range(number):
        value = rng.getrandbits(64)
        if hashes and rng.random() < 0.1:
            value = rng.choice(hashes)
            for _ in range(rng.randint(0, DISTANCE)):
                value ^= 1 << rng.randrange(64)
        hashes.append(value)
        tie = rng.random()
        yield Sample(
            id=f"{index:032x}",
            path=f"real/{index // 1000}/{index}.jpg",
            sha256=f"{index:010x}" + rng.randbytes(27).hex(),
            size_bytes=100_000,
            label="real" if index % 2 else "ai_generated",
            source=("unsplash", "pexels", "manual")[index % 3],
            format="jpeg",
            width=1000,
            height=800,
            has_exif=False,
            phash=f"{value:016x}",
            creator=f"creator {rng.randrange(max(1, number // 10))}" if tie < 0.33 else None,
            post=f"post {rng.randrange(max(1, number // 5))}" if 0.33 < tie < 0.4 else None,
            series=f"series {rng.randrange(max(1, number // 50))}" if 0.4 < tie < 0.45 else None,
            added="2026-01-01T00:00:00Z",
        )


def measure(step: str, number: int, folder: Path, repeats: int) -> dict[str, Any]:
    if step == "search":
        return compare([sample.phash for sample in draw(number)], repeats)
    file = folder / f"{number}.jsonl"

    def split(samples: Sequence[Sample]) -> Split:
        return split_samples(samples, folder / f"{number}.sqlite", key="bench", near_duplicate_distance=DISTANCE)

    samples: Sequence[Sample] = ()
    if step in ("first", "second"):
        samples = read_snapshot(file).samples
    if step == "second":
        samples = [*samples, *itertools.islice(draw(number + number // 100), number, None)]
    started = time.process_time()
    if step == "write":
        for _ in draw(number):  # what drawing takes is not counted
            pass
        drawn = time.process_time()
        stream_snapshot(file, draw(number))
        started = 2 * drawn - started
    elif step == "read":
        read_snapshot(file)
    else:
        split(samples)
    seconds = time.process_time() - started
    return {"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def compare(hashes: list[str | None], repeats: int) -> dict[str, Any]:
    pairs: list[tuple[float, float]] = []
    found: list[set[tuple[int, int]]] = []
    for _ in range(repeats):
        started = time.process_time()
        ours = set(close_pairs(hashes, DISTANCE))
        ours_s = time.process_time() - started
        started = time.process_time()
        theirs = faiss_pairs(hashes)
        pairs.append((ours_s, time.process_time() - started))
        found = [ours, theirs]
    assert found[0] == found[1], f"{len(found[0])} pairs, by faiss {len(found[1])}"
    return {
        "pairs": len(found[0]),
        "faiss_s": statistics.median(theirs for _, theirs in pairs),
        "seconds": statistics.median(ours for ours, _ in pairs),
        "ratio": statistics.median(ours / theirs for ours, theirs in pairs),
        "all": pairs,
    }


def faiss_pairs(hashes: list[str | None]) -> set[tuple[int, int]]:
    """All pairs, by an index with one table for each of the bands: two hashes within DISTANCE agree in one of them."""
    import faiss

    faiss.omp_set_num_threads(1)
    codes = np.frombuffer(bytes.fromhex("".join(text or "" for text in hashes)), dtype=np.uint8).reshape(-1, 8)
    index = faiss.IndexBinaryMultiHash(64, DISTANCE + 1, 64 // (DISTANCE + 1))
    index.add(codes)
    limits, _, others = index.range_search(codes, DISTANCE + 1)
    firsts = np.repeat(np.arange(len(codes)), np.diff(limits.astype(np.int64)))
    kept = firsts < others
    return set(zip(firsts[kept].tolist(), others[kept].tolist(), strict=True))


def growth(rows: list[dict[str, Any]], step: str) -> list[float]:
    """The power of the number of samples with which a step's seconds grow, from each size to the next."""
    return [
        math.log(after[step]["seconds"] / before[step]["seconds"]) / math.log(after["samples"] / before["samples"])
        for before, after in itertools.pairwise(rows)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="kept, so that steps can follow in another call")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    configure_logging("error", to_journal=False)
    if options.one:
        print(json.dumps(measure(options.steps[0], options.samples[0], options.folder, options.repeats)))
        return
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-split-") as name:
        folder = options.folder or Path(name)
        folder.mkdir(exist_ok=True)
        for number in options.samples:
            rows.append({"samples": number})
            for step in options.steps:
                command = [sys.executable, "-P", __file__, "--one", "--folder", str(folder), "--samples", str(number)]
                command += ["--repeats", str(options.repeats), "--steps", step]
                output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
                found = rows[-1][step] = json.loads(output)
                beside = (
                    f"faiss {found['faiss_s']:.2f} s" if step == "search" else f"{found['peak_bytes'] / 1e6:.0f} MB"
                )
                print(f"{number:8} samples, {step:6}: {found['seconds']:.2f} s, {beside}", flush=True)
    powers = {step: growth(rows, step) for step in options.steps}
    print("growth:", {step: [round(power, 2) for power in found] for step, found in powers.items()})
    results = {"load": os.getloadavg()[0], "processors": os.cpu_count(), "rows": rows, "growth": powers}
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    steps = [row[step] for row in rows for step in options.steps]
    if (
        any(power > MOST_GROWTH for found in powers.values() for power in found)
        or any(found.get("peak_bytes", 0) > MOST_BYTES for found in steps)
        or any(sum(row[step]["seconds"] for step in options.steps) > MOST_SECONDS for row in rows)
    ):
        sys.exit(f"a power above {MOST_GROWTH}, more than {MOST_BYTES / 1e9:g} GB, or more than {MOST_SECONDS:g} s")


if __name__ == "__main__":
    main()
