"""What the data set costs at 100,000 pictures: taking over, scanning, counting, starting, memory.

    python -P bench/reconcile.py [--files 100000] [--folder /tmp/bench-reconcile]

The files are small and are not decoded (a checker's time is not what is measured): their facts are made up and handed
to the catalog, which does all that it does for real files, near-duplicate search and metadata files included.

Measured on 2 cores at a load of 14 (so elapsed times say little; processor times are some 1.4 times those of an idle
machine): taking over 1.7 ms a file; a whole scan of the 200,000 files (100,000 pictures, 100,000 metadata) 1.65 s of
processor, all that follows from it 2.0 s; counting 0.04 s; start() with the counts of 100,000 samples 0.39 s elapsed.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from handlers.dataset import Dataset
from handlers.file_signature import FileSignature, Found
from handlers.index.schema import INDEX_FILE
from handlers.index.store import Index
from handlers.reconcile import Reconciler
from handlers.scan import Scan
from utils.clock import SystemClock
from utils.config.sections import Storage
from utils.config_loader import Config
from utils.images.facts import ImageFacts
from utils.logs import configure_logging


def make_files(root: Path, count: int) -> list[Path]:
    files = []
    for number in range(count):
        label = "real" if number % 2 else "ai_generated"
        folder = root / label / f"{number % 500:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{number:08d}.jpg"
        file.write_bytes(b"%d" % number)
        files.append(file)
    return files


def facts_of(number: int) -> ImageFacts:
    made_up = random.Random(number)
    return ImageFacts(
        sha256=made_up.randbytes(32).hex(),
        size_bytes=8,
        format="jpeg",
        extension=".jpg",
        width=640,
        height=480,
        phash=made_up.randbytes(8).hex(),
        thumb=made_up.randbytes(48).hex(),
        has_exif=False,
    )


def take_over(config: Config, files: list[Path]) -> float:
    root = config.storage.local_path
    reconciler = Reconciler(config, SystemClock(), lambda: None)
    catalog, index = reconciler._catalog, reconciler._index
    started = time.process_time()
    for start in range(0, len(files), 256):
        with index.transaction():
            for number, file in enumerate(files[start : start + 256], start):
                folder = os.fsencode(file.parent.relative_to(root))
                found = Found(folder, os.fsencode(file.name), FileSignature.of(file.lstat()), file.parent.stat().st_dev)
                catalog.accept(found, facts_of(number))
    seconds = time.process_time() - started
    reconciler.close()
    return seconds


def timed(action: Callable[[], object], times: int = 3) -> str:
    """Median processor time (user and system, so that a busy machine does not show), and elapsed time."""
    spent, elapsed = [], []
    for _ in range(times):
        started, cpu = time.perf_counter(), time.process_time()
        action()
        spent.append(time.process_time() - cpu)
        elapsed.append(time.perf_counter() - started)
    return f"{sorted(spent)[times // 2]:8.3f} s of processor, {sorted(elapsed)[times // 2]:.3f} s elapsed"


def line(name: str, text: str) -> None:
    print(f"{name:20}{text}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--files", type=int, default=100_000)
    options.add_argument("--folder", type=Path, default=None)
    given = options.parse_args()
    configure_logging("error", to_journal=False)
    base = given.folder or Path(tempfile.mkdtemp(prefix="bench-reconcile-"))
    config = Config(storage=Storage(local_path=base / "data", models_path=base / "models", state_path=base / "state"))
    try:
        files = make_files(config.storage.local_path, given.files)
        seconds = take_over(config, files)
        line(
            "take over",
            f"{seconds:8.2f} s of processor, {1e6 * seconds / given.files:.0f} us a file, metadata included",
        )
        index = Index(config.storage.state_path / INDEX_FILE)
        line("whole scan", timed(lambda: Scan(config.storage.local_path, index).whole()))
        changes = Scan(config.storage.local_path, index).whole()
        line("", f"   {changes.files} files in {changes.folders} folders; changed: {bool(changes)}")
        index.close()
        reconciler = Reconciler(config, SystemClock(), lambda: None)
        line("reconcile", timed(reconciler.compare_all))
        line("count", timed(reconciler.count))
        reconciler.close()
        started = time.perf_counter()
        dataset = Dataset(config, SystemClock())
        dataset.start()
        line("start()", f"{time.perf_counter() - started:8.3f} s elapsed; counts at once: {dataset.counts().total}")
        while not dataset.ready():
            time.sleep(0.005)
        line("ready()", f"{time.perf_counter() - started:8.3f} s elapsed")
        line("labelled_samples()", timed(lambda: sum(1 for _ in dataset.labelled_samples())))
        dataset.stop()
        line("index file", f"{(config.storage.state_path / INDEX_FILE).stat().st_size / 1e6:8.1f} MB")
        line("memory, highest", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:8.1f} MB")
    finally:
        if given.folder is None:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
