"""A data folder, pictures to put into it, and ways to run the data set's parts on it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image

from fake_clock import FakeClock
from handlers.index import queries
from handlers.index.rows import Counts, Problem
from handlers.reconcile import Reconciler
from utils.config.sections import Intake, Scheduler, Storage
from utils.config_loader import Config
from utils.images.check_pool import CheckPool
from utils.sample import Sample

SIZE = (96, 80)
pillow_heif.register_heif_opener()


class Folder:
    """The data folder of one test."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "datasets"
        self.root.mkdir(parents=True, exist_ok=True)
        self.config = Config(
            storage=Storage(local_path=self.root, models_path=base / "models", state_path=base / "state"),
            intake=Intake(settle_seconds=0.3, workers=1),
            scheduler=Scheduler(reconcile_interval_seconds=3600),
        )

    def picture(self, path: str, seed: int = 0, **options: Any) -> Path:
        """A picture whose look depends on `seed` only; the suffix gives the format."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(seed).save(file, **options)
        return file

    def metadata(self, sample_id: str, label: str | None, **fields: Any) -> Path:
        """A metadata file in the guide's form."""
        file = self.root / "meta/2025/10/28" / f"{sample_id}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        value = {"id": sample_id, "source": "pexels", "label": label, "timestamp": "2025-10-28T20:00:00Z"}
        file.write_text(json.dumps(value | fields), encoding="utf-8")
        return file

    def metadata_files(self) -> list[Path]:
        return sorted((self.root / "meta").rglob("*.json"))

    def only_metadata(self) -> dict[str, Any]:
        (file,) = self.metadata_files()
        value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return value


class Runner:
    """Reconciles step by step in the test's own thread, on a clock that the test moves."""

    def __init__(self, folder: Folder, pool: CheckPool) -> None:
        self.folder = folder
        self.pool: CheckPool | None = pool
        self.clock = FakeClock()
        self.clock.wall = datetime.now(UTC)  # compared with the times of real files
        self.reconciler = Reconciler(folder.config, self.clock, lambda: None, lent_pool=pool)

    def restart(self) -> None:
        self.reconciler.close()
        self.reconciler = Reconciler(self.folder.config, self.clock, lambda: None, lent_pool=self.pool)

    def settle(self, seconds: float = 1.0) -> Counts:
        """Scan, let `seconds` pass, and go on until nothing waits for a checker."""
        self.reconciler.compare_all()
        self.finish()
        self.clock.pass_time(seconds)
        self.finish()
        return self.reconciler.count()

    def finish(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            self.reconciler.advance()
            due = self.reconciler._intake.next_due()
            if not len(self.reconciler._intake) or (due is not None and not self.reconciler._intake._in_flight):
                return
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def forget(self) -> Counts:
        """Let missing files be confirmed as deleted."""
        self.clock.pass_time(10)
        return self.settle()

    def problems(self) -> list[Problem]:
        return queries.list_problems(self.reconciler._index.connection, 1000)

    def samples(self) -> list[Sample]:
        return list(queries.labelled_samples(self.reconciler._index.connection))


def draw(seed: int) -> Image.Image:
    noise = Image.frombytes("RGB", (12, 10), random.Random(seed).randbytes(12 * 10 * 3))
    return noise.resize(SIZE, Image.Resampling.BICUBIC)


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Until it holds; the limit is for a broken product, not a measurement."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true"
        time.sleep(0.02)
