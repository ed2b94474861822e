"""Fixtures that the tests of several folders share."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_clock import FakeClock
from utils.config_loader import Config, load_config


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The defaults, with every folder inside the test's own."""
    return load_config(
        environ={
            "EXPOSR_STORAGE__LOCAL_PATH": str(tmp_path / "datasets"),
            "EXPOSR_STORAGE__MODELS_PATH": str(tmp_path / "models"),
            "EXPOSR_STORAGE__STATE_PATH": str(tmp_path / "state"),
            "EXPOSR_STORAGE__MIN_FREE_GB": "0",
            "EXPOSR_API__PORT": "0",
        }
    )
