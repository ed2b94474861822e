"""What taking in pictures costs, beside peers in the same run.

    python -P bench/intake.py [check] [burst] [--files 2500] [--repeats 5] [--json FILE] [--folder DIR]

check   one file by the checker, beside Pillow's decode of it
burst   a folder of new pictures renamed into place until all are counted, beside a bare pool of as many processes that
        decodes, hashes and takes the perceptual hash of the same files

Medians; the raw results go to `--json`. What a set costs once it is there: `bench/growth.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from handlers.dataset import Dataset
from utils.clock import SystemClock
from utils.config.sections import Intake, Storage
from utils.config_loader import Config
from utils.images.check import check_image
from utils.images.facts import CheckLimits
from utils.logs import configure_logging

GOALS = {f"{what} {side} px": goal for what, goal in (("check", 1.6), ("burst", 0.85)) for side in (400, 160)}
PROCESSES = 2
KINDS = ((400, 1), (160, 2))  # longer side in pixels, share of the files of one burst
WAIT_SECONDS = 600.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", nargs="*", choices=["check", "burst", []], default=["check", "burst"])
    options.add_argument("--files", type=int, default=2500, help="of one burst; twice as many small ones")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--json", type=Path)
    options.add_argument("--folder", type=Path)
    given = options.parse_args()
    configure_logging("error", to_journal=False)
    base = Path(tempfile.mkdtemp(prefix="bench-intake-", dir=given.folder))
    results: dict[str, Any] = {"load": os.getloadavg()[0], "processors": os.cpu_count()}
    try:
        for side, share in KINDS:
            if "check" in given.what or "burst" in given.what:
                pictures = draw(base / str(side), side, share * given.files)
            if "check" in given.what:
                results[f"check {side} px"] = measure_check(pictures, given.repeats)
            if "burst" in given.what:
                results[f"burst {side} px"] = measure_burst(base, base / str(side), pictures, given.repeats)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    text = json.dumps(results, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")
    missed = [what for what, goal in GOALS.items() if what in results and not is_met(results[what]["ratio"], goal)]
    if missed:
        sys.exit(f"goals missed: {', '.join(missed)}")


def is_met(ratio: float, goal: float) -> bool:
    """A goal above 1 is a cost, at most; one below is a share of the peer's rate, at least."""
    return ratio <= goal if goal > 1 else ratio >= goal


def draw(folder: Path, side: int, files: int, first: int = 0) -> list[Path]:
    """`first` begins another series of pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06d}.jpg" for number in range(files)]
    for number, path in enumerate(paths, first):
        if not path.exists():
            rng = random.Random(number)
            coarse = Image.frombytes("RGB", (side // 8, side // 8), rng.randbytes((side // 8) ** 2 * 3))
            fine = Image.frombytes("RGB", (side // 2, side * 3 // 8), rng.randbytes((side // 2) * (side * 3 // 8) * 3))
            size = side, side * 3 // 4
            Image.blend(coarse.resize(size, Image.Resampling.BICUBIC), fine.resize(size), 0.12).save(path, quality=85)
    return paths


def measure_check(pictures: list[Path], repeats: int) -> dict[str, float]:
    """Microseconds of processor time a file."""
    limits = CheckLimits.from_settings(Intake())
    some = pictures[:500]

    def decode(path: Path) -> None:
        with Image.open(path) as image:
            image.load()

    def cost(look: Callable[[Path], object]) -> float:
        started = time.process_time()
        for path in some:
            look(path)
        return 1e6 * (time.process_time() - started) / len(some)

    pairs = [(cost(lambda path: check_image(path, limits)), cost(decode)) for _ in range(repeats)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return {"check_us": median_of(pairs, 0), "pillow_us": median_of(pairs, 1), "ratio": ratio}


def bare_check(path: str) -> tuple[str, str]:
    """The same checks without a service around them."""
    import imagehash

    data = Path(path).read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return hashlib.sha256(data).hexdigest(), str(imagehash.phash(image))


def measure_burst(base: Path, source: Path, pictures: list[Path], repeats: int) -> dict[str, Any]:
    """Files a second, from the rename into place until all are counted."""
    names = [str(path) for path in pictures]
    pairs, shares = [], []
    for number in range(repeats):
        with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            pool.map(bare_check, names[:64], chunksize=8)  # imports are not what is measured
            started = time.perf_counter()
            pool.map(bare_check, names, chunksize=32)
            bare = len(names) / (time.perf_counter() - started)
        config = make_config(base / f"burst-{number}")
        incoming = base / f"incoming-{number}"
        shutil.copytree(source, incoming)
        with running(config) as dataset:
            started, cpu = time.perf_counter(), time.process_time()
            incoming.rename(config.storage.local_path / "real")
            wait_for(lambda: dataset.counts().real == len(names) and not dataset.counts().pending)
            pairs.append((len(names) / (time.perf_counter() - started), bare))
            shares.append(1e6 * (time.process_time() - cpu) / len(names))
        shutil.rmtree(config.storage.local_path.parent)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return {
        "files_per_s": median_of(pairs, 0),
        "bare_pool_per_s": median_of(pairs, 1),
        "ratio": ratio,
        "daemon_us_per_file": statistics.median(shares),
        "all": pairs,
    }


def make_config(base: Path) -> Config:
    storage = Storage(local_path=base / "data", models_path=base / "models", state_path=base / "state")
    storage.local_path.mkdir(parents=True)
    return Config(storage=storage)


class running:
    """A data set that is ready, and stopped afterwards."""

    def __init__(self, config: Config) -> None:
        self._dataset = Dataset(config, SystemClock())

    def __enter__(self) -> Dataset:
        self._dataset.start()
        wait_for(self._dataset.ready)
        return self._dataset

    def __exit__(self, *_: object) -> None:
        self._dataset.stop()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("did not come true")
        time.sleep(0.005)


def median_of(pairs: list[tuple[float, float]], column: int) -> float:
    return statistics.median(pair[column] for pair in pairs)


if __name__ == "__main__":
    main()
