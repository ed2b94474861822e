"""What lies in a training's folder before its job starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.runs.launcher import JobLauncher
from daemon.state.store import Run, Store
from handlers.dataset import Dataset
from utils.config_loader import Config
from utils.job_protocol import REPORTED_FILE, read_job

VERDICTS = {"a" * 64: ["real", "uncertain"]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "daemon.sqlite")
    yield store
    store.close()


class NoPictures(Dataset):
    def __init__(self) -> None:
        """Has nothing to open."""

    def labelled_samples(self) -> Iterator[object]:  # type: ignore[override]
        return iter(())

    def unlabelled(self, limit: int) -> list[tuple[str, str]]:
        return []


def test_a_training_gets_what_was_reported_and_a_scrape_does_not(config: Config, store: Store, tmp_path: Path) -> None:
    launcher = JobLauncher(lambda: config, NoPictures(), store, lambda: VERDICTS)
    for kind in ("train", "scrape"):
        folder = tmp_path / kind
        folder.mkdir()
        launcher.prepare(Run("r1", kind, "queued", "manual", "asked for", "2026-01-01T00:00:00Z"), folder)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "train" / REPORTED_FILE).read_text()) == VERDICTS
    assert not (tmp_path / "scrape" / REPORTED_FILE).exists()
    assert "notify" not in read_job(tmp_path / "train")["config"]  # its address may be a secret
