"""Snapshot, split and near-duplicates of many samples: seconds and memory, and whether they grow linearly.

    python -P bench/split.py [--samples 10000 100000 1000000] [--repeats 5] [--json FILE]

The samples' facts are drawn, no picture is needed: a tenth are near-duplicates of another (up to 4 of 64 bits differ),
a third have one of as many creators as a tenth of the samples, some a post or a series. Each size is measured in a
process of its own: the snapshot is written and read, split for the first time, and again with one in a hundred more.
Beside it, the near-duplicates alone and the same search by faiss's multi-index hashing (`pip install -e .[bench]`),
which must find the same pairs. The demand: with ten times the samples, at most 16 times the seconds (a power of 1.2); a
million take under 10 minutes and 2 GB. Medians of `--repeats` for the search; the rest is measured once.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.snapshot import Sample, read_snapshot, stream_snapshot
from trainer.split.near_duplicates import close_pairs
from trainer.split.split import Split, split_samples
from utils.logs import configure_logging

DISTANCE = 4
MOST_SECONDS, MOST_BYTES, MOST_GROWTH = 600.0, 2e9, 1.2
STEPS = ("write", "read", "first_split", "second_split")


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


def measure(number: int, repeats: int) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    peaks: dict[str, int] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = work()
        seconds[name] = time.process_time() - started
        peaks[name] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return result

    drawn_s = -time.process_time()
    hashes = [sample.phash for sample in draw(number)]
    drawn_s += time.process_time()
    near = compare(hashes, repeats)
    del hashes
    with tempfile.TemporaryDirectory(prefix="bench-split-") as name:
        folder = Path(name)
        timed("write", lambda: stream_snapshot(folder / "snapshot.jsonl", draw(number)))
        seconds["write"] -= drawn_s
        frozen = timed("read", lambda: read_snapshot(folder / "snapshot.jsonl"))

        def split(which: Sequence[Sample]) -> Split:
            return split_samples(which, folder / "split.sqlite", key="bench", near_duplicate_distance=DISTANCE)

        first = timed("first_split", lambda: split(frozen.samples))
        parts = {grouped.sample.sha256: grouped.part for grouped in first.samples()}
        del first
        more = [*frozen.samples, *itertools.islice(draw(number + number // 100), number, None)]
        second = timed("second_split", lambda: split(more))
        assert all(parts.get(grouped.sample.sha256, grouped.part) == grouped.part for grouped in second.samples())
    return {"samples": number, "seconds": seconds, "peak_bytes": peaks, "near_duplicates": near}


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
        "ours_s": statistics.median(ours for ours, _ in pairs),
        "faiss_s": statistics.median(theirs for _, theirs in pairs),
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


def growth(rows: list[dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> list[float]:
    """The power of the number of samples with which a figure grows, from each size to the next."""
    return [
        math.log(of(after) / of(before)) / math.log(after["samples"] / before["samples"])
        for before, after in itertools.pairwise(rows)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    configure_logging("error", to_journal=False)
    if options.one:
        print(json.dumps(measure(options.one, options.repeats)))
        return
    rows = []
    for number in options.samples:
        command = [sys.executable, "-P", __file__, "--one", str(number), "--repeats", str(options.repeats)]
        rows.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))
        row = rows[-1]
        spent = ", ".join(f"{name} {row['seconds'][name]:.1f}" for name in STEPS)
        near, peak = row["near_duplicates"], max(row["peak_bytes"].values())
        print(
            f"{number:8} samples: {spent} s; {peak / 1e6:.0f} MB; near-duplicates {near['ours_s']:.2f} s,"
            f" faiss {near['faiss_s']:.2f} s, {near['pairs']} pairs",
            flush=True,
        )
    powers = {step: growth(rows, lambda row, step=step: row["seconds"][step]) for step in STEPS}  # type: ignore[misc]
    powers["near_duplicates"] = growth(rows, lambda row: row["near_duplicates"]["ours_s"])
    print("growth:", {step: [round(power, 2) for power in found] for step, found in powers.items()})
    results = {"load": os.getloadavg()[0], "processors": os.cpu_count(), "rows": rows, "growth": powers}
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    slow = [step for step, found in powers.items() if any(power > MOST_GROWTH for power in found)]
    large = [r for r in rows if max(r["peak_bytes"].values()) > MOST_BYTES or sum(r["seconds"].values()) > MOST_SECONDS]
    if slow or large:
        sys.exit(f"not linear: {', '.join(slow) or 'none'}; too large: {[row['samples'] for row in large]}")


if __name__ == "__main__":
    main()
