"""What the data set costs, beside peers in the same run: check, burst, drop, restart, deletion, room on disk.

    python -P bench/intake.py [check] [burst] [set] [--pictures 100000] [--repeats 5] [--json FILE] [--folder DIR]

check   one file by the checker, beside Pillow's decode of it
burst   a folder of new pictures renamed into place until all are counted, beside a bare pool of as many processes that
        decodes, hashes and takes the perceptual hash of the same files
set     with `--pictures` in the index: READY and the first whole comparison beside `find -printf`; one dropped file
        until it counts beside a bare watchdog handler; half of all deleted with their folder; room of the state; memory

The pictures of `set` are small files whose facts are made up and handed to the catalog, which does all that it does for
real ones: a checker's time is not what is measured there. Medians; the raw results go to `--json`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from handlers.dataset import Dataset
from handlers.file_signature import FileSignature, Found
from handlers.reconcile import Reconciler
from utils.clock import SystemClock
from utils.config.sections import Intake, Storage
from utils.config_loader import Config
from utils.images.check import check_image
from utils.images.facts import CheckLimits, ImageFacts
from utils.logs import configure_logging

PROCESSES = 2
KINDS = ((400, 1), (160, 2))  # longer side in pixels, share of the files of one burst
BATCH = 512
DROPS = 20
WAIT_SECONDS = 600.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", nargs="*", choices=["check", "burst", "set", []], default=["check", "burst", "set"])
    options.add_argument("--pictures", type=int, default=100_000)
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
        if "set" in given.what:
            results["set"] = measure_set(base / "set", given.pictures)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    text = json.dumps(results, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


def draw(folder: Path, side: int, files: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06d}.jpg" for number in range(files)]
    for number, path in enumerate(paths):
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


def measure_set(base: Path, pictures: int) -> dict[str, Any]:
    config = make_config(base)
    root = config.storage.local_path
    result: dict[str, Any] = {"pictures": pictures, "take_over_us": fill(config, pictures)}
    state = config.storage.state_path
    result["state_bytes_per_picture"] = sum(f.stat().st_size for f in state.rglob("*") if f.is_file()) / pictures
    started = time.perf_counter()
    subprocess.run(["find", root, "-printf", "%p %s %T@ %i\n"], stdout=subprocess.DEVNULL, check=True)
    result["find_s"] = time.perf_counter() - started
    started = time.perf_counter()
    dataset = Dataset(config, SystemClock())
    dataset.start()
    result["counts_after_start_s"] = time.perf_counter() - started
    result["counted_at_once"] = dataset.counts().total
    wait_for(dataset.ready)
    result["compared_s"] = time.perf_counter() - started
    result["comparison_by_find"] = result["compared_s"] / result["find_s"]
    result["drop"] = measure_drops(base, dataset, root)
    total = dataset.counts().total
    started = time.perf_counter()
    shutil.rmtree(root / "real")
    result["rmtree_s"] = time.perf_counter() - started
    wait_for(lambda: dataset.counts().total <= total - pictures // 2)
    result["deleted_counted_s"] = time.perf_counter() - started
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    dataset.stop()
    return result


def measure_drops(base: Path, dataset: Dataset, root: Path) -> dict[str, float]:
    """Seconds from the rename into place until the count has changed, and until a bare watchdog handler is called."""
    drops = draw(base / "drops", 120, DROPS)
    ours, theirs = [], []
    seen = threading.Event()

    class Bare(FileSystemEventHandler):
        def dispatch(self, event: FileSystemEvent) -> None:
            seen.set()

    aside = base / "bare"
    aside.mkdir()
    observer = Observer()
    observer.schedule(Bare(), str(aside), recursive=True)
    observer.start()
    for path in drops:
        shutil.copy(path, base / "copy.jpg")
        seen.clear()
        started = time.perf_counter()
        (base / "copy.jpg").rename(aside / path.name)
        seen.wait(10)
        theirs.append(time.perf_counter() - started)
        before = dataset.counts().total
        started = time.perf_counter()
        path.rename(root / "ai_generated" / path.name)
        wait_for(lambda before=before: dataset.counts().total > before)  # type: ignore[misc]
        ours.append(time.perf_counter() - started)
        time.sleep(0.3)
    observer.stop()
    return {"median_s": statistics.median(ours), "worst_s": max(ours), "bare_handler_s": statistics.median(theirs)}


def fill(config: Config, pictures: int) -> float:
    """Microseconds of processor time a picture, for what the catalog does, metadata files included."""
    root = config.storage.local_path
    reconciler = Reconciler(config, SystemClock(), lambda: None)
    reconciler.compare_all()
    catalog, index = reconciler._catalog, reconciler._index
    spent = 0.0
    for first in range(0, pictures, BATCH):
        batch = []
        for number in range(first, min(first + BATCH, pictures)):
            folder = f"{('real', 'ai_generated')[number % 2]}/{number // 2 % 200:03d}"
            (root / folder).mkdir(parents=True, exist_ok=True)
            file = root / folder / f"{number:08d}.jpg"
            file.write_bytes(b"%d" % number)
            place = os.fsencode(folder), os.fsencode(file.name)
            batch.append((Found(*place, FileSignature.of(file.lstat()), file.parent.stat().st_dev), made_up(number)))
        started = time.process_time()
        with index.transaction():
            for found, facts in batch:
                catalog.accept(found, facts)
        while catalog.has_chores:
            with index.transaction():
                catalog.do_chores()
        spent += time.process_time() - started
    reconciler.compare_all()
    reconciler.close()
    return 1e6 * spent / pictures


def made_up(number: int) -> ImageFacts:
    rng = random.Random(number)
    return ImageFacts(
        sha256=rng.randbytes(32).hex(),
        size_bytes=8,
        format="jpeg",
        extension=".jpg",
        width=640,
        height=480,
        phash=rng.randbytes(8).hex(),
        thumb=rng.randbytes(48).hex(),
        has_exif=False,
    )


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
