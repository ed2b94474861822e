"""Fixtures over `dataset_kit`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dataset_kit import Folder, Runner

from handlers.dataset import Dataset
from utils.clock import SystemClock
from utils.config.sections import Intake
from utils.images.check_pool import CheckLimits, CheckPool


@pytest.fixture(scope="session")
def pool() -> Iterator[CheckPool]:
    """One checker process for all tests: starting one costs more than most of them."""
    limits = CheckLimits.from_settings(Intake())
    with CheckPool(1, limits, timeout_seconds=30, memory_mb=1536) as pool:
        yield pool


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def runner(folder: Folder, pool: CheckPool) -> Iterator[Runner]:
    runner = Runner(folder, pool)
    yield runner
    runner.reconciler.close()


@pytest.fixture
def dataset(folder: Folder) -> Iterator[Dataset]:
    dataset = Dataset(folder.config, SystemClock())
    dataset.start()
    yield dataset
    dataset.stop()
