"""SIGKILL at random moments of `exposr-trainer import`: the stored set is exactly the dataset's.

bench/import.py is the same trial with 10,000 pictures.
"""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from datasets_made import config_file, draw, write_parquet, write_tars

from utils.files import sha256_of_file
from utils.metadata import read_metadata

PICTURES = draw(300)
KILLS = 3


def start(config: Path, dataset: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "daemon", "import", str(dataset), "--config", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def stored(data: Path) -> dict[str, Path]:
    return {file.stem: file for file in (data / "images").rglob("*") if file.is_file()}


@pytest.mark.parametrize(("write", "name"), [(write_parquet, "set.parquet"), (write_tars, "tars")])
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_three_kills_lose_and_repeat_nothing(
    write: Callable[[Path, Sequence[bytes]], Path], name: str, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    config, dataset = config_file(tmp_path / "here"), write(tmp_path / name, [*PICTURES, *PICTURES[:5]])
    data = tmp_path / "here" / "datasets"
    rng = random.Random(7)
    for _ in range(KILLS):
        process = start(config, dataset)
        goal = len(stored(data)) + rng.randint(5, 25)
        while process.poll() is None and len(stored(data)) < goal:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"it was killed at work, not after it: {said}"
    process = start(config, dataset)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said

    files = stored(data)
    metas = {file.stem: read_metadata(file) for file in (data / "meta").rglob("*.json")}
    hashes = {name: sha256_of_file(file) for name, file in files.items()}
    assert hashes == {name: metadata.sha256 for name, metadata in metas.items()}
    assert sorted(hashes.values()) == sorted(hashlib.sha256(picture).hexdigest() for picture in PICTURES)
    assert not list((data / ".tmp").iterdir())
    assert "5 duplicates" in said
