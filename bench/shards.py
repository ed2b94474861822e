"""Training pictures out of shards: writing, fetching and reading, beside the files themselves.

    python bench/shards.py [--pictures 2000] [--side 512] [--place s3://bucket/folder] [--shard-mb 32]

Writes the shards of drawn pictures to --place (default: a folder), again with nothing new, and again with 1 % new ones.
Fetches them into a cache. Decodes pictures from files, from the cache and from the place, in turns, so that a busy
machine is equally unfair to each. Peers: a copy of the folder, and reading its files. Demands: nothing is written
again, 1 % costs at most two shards, and reading from the cache is at 90 % of reading files.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "trainer"))

from pictures import encoded, scene, stored

from trainer.data.images import ImageFolder, Images
from trainer.data.snapshot import Sample
from trainer.shards.cache import ShardCache
from trainer.shards.images import ShardedImages
from trainer.shards.manifest import Manifest
from trainer.shards.store import ShardStore
from trainer.shards.writer import write_shards

BASES = 16  # drawn pictures; the others are the same with other bytes behind them
TURNS, PER_TURN = 21, 30
DEMANDED_SHARE = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--place")
    parser.add_argument("--shard-mb", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        samples = make_pictures(root / "data", given.pictures + given.pictures // 100, given.side)
        first = samples[: given.pictures]
        mb = sum(sample.size_bytes for sample in first) / 1e6
        store = ShardStore(given.place or str(root / "shards"))

        def write(wanted: Sequence[Sample]) -> tuple[float, Manifest]:
            began = time.monotonic()
            made = write_shards(
                store, wanted, root / "data", root / "scratch", lambda *_: None, shard_bytes=given.shard_mb << 20
            )
            return time.monotonic() - began, made

        copied = timed(lambda: shutil.copytree(root / "data", root / "copy"))
        written, manifest = write(first)
        again, same = write(first)
        more, grown = write(samples)
        new = {shard.sha256 for shard in grown.shards} - {shard.sha256 for shard in manifest.shards}
        cache = ShardCache(root / "cache", 1 << 40)
        fetched = timed(lambda: cache.fetch(store, grown, lambda *_: None))
        rates = read_rates(
            {
                "files": ImageFolder(root / "data"),
                "cache": ShardedImages(grown, store, cache),
                "place": ShardedImages(grown, store, ShardCache(root / "none", 0)),
            },
            samples,
        )
    print(f"{given.pictures} pictures, {mb:.0f} MB, {len(manifest.shards)} shards at {given.place or 'a folder'}")
    print(f"copy of the files     {mb / copied:8.0f} MB/s")
    print(f"writing shards        {mb / written:8.0f} MB/s")
    print(f"nothing new           {again:8.2f} s, {'nothing' if same == manifest else 'something'} written")
    print(f"1 % new               {more:8.2f} s, {len(new)} shards written")
    print(f"fetching              {mb / fetched:8.0f} MB/s")
    for kind, rate in rates.items():
        print(f"decoding from {kind:8}{rate:8.0f} pictures/s, {rate / rates['files']:.2f} of files")
    return int(same != manifest or len(new) > 2 or rates["cache"] < DEMANDED_SHARE * rates["files"])


def make_pictures(data: Path, count: int, side: int) -> list[Sample]:
    bases = [encoded(scene(number, side, side), quality=90) for number in range(BASES)]
    contents = (bases[number % BASES] + number.to_bytes(8, "big") for number in range(count))
    return [stored(data, f"{number // 1000}/{number}.jpg", content, "real") for number, content in enumerate(contents)]


def read_rates(places: dict[str, Images], samples: Sequence[Sample]) -> dict[str, float]:
    """Decoded pictures a second, the median over turns; every turn reads other pictures, in a scattered order."""
    rates: dict[str, list[float]] = {kind: [] for kind in places}
    for turn in range(TURNS):
        mine = [samples[(turn * PER_TURN + number) * 997 % len(samples)] for number in range(PER_TURN)]
        for kind, images in places.items():
            rates[kind].append(PER_TURN / timed(lambda images=images, mine=mine: [images.open(s) for s in mine]))  # type: ignore[misc]
    return {kind: statistics.median(measured) for kind, measured in rates.items()}


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
