from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_trainer import API_KEY, SmallTrainer

from exposr_client import ModelFollower


@pytest.fixture
def small_trainer(tmp_path: Path) -> Iterator[SmallTrainer]:
    with SmallTrainer(tmp_path / "published") as trainer:
        yield trainer


@pytest.fixture
def follower(small_trainer: SmallTrainer, tmp_path: Path) -> Iterator[ModelFollower]:
    with ModelFollower(small_trainer.url, API_KEY, tmp_path / "cache", events=False) as follower:
        yield follower
