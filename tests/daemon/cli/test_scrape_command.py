"""`exposr-trainer scrape`: asking first, limits, what it prints, and its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoded_pictures import noise_picture
from scrapers.sandbox.server import SandboxServer
from scrapers.sandbox.settings import SandboxSettings

KEYS = {"PEXELS_API_KEY": "sandbox", "CIVITAI_API_KEY": "sandbox", "UNSPLASH_ACCESS_KEY": "sandbox"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    folder = tmp_path_factory.mktemp("pictures")
    for first, label in ((0, "real"), (8, "ai_generated")):
        (folder / label).mkdir()
        for index in range(8):
            size = (120 + index, 90) if index % 2 else (60, 50)
            noise_picture(first + index, size).save(folder / label / f"street-{index}.jpg")
    with SandboxServer(folder, SandboxSettings(photo_sources=("pexels",))) as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, sandbox: SandboxServer) -> Path:
    sandbox.sandbox.reset()
    lines = [
        "[storage]",
        f'local_path = "{tmp_path}/datasets"',
        f'models_path = "{tmp_path}/models"',
        f'state_path = "{tmp_path}/state"',
        "min_free_gb = 0",
    ]
    for name in ("pexels", "civitai"):
        lines += [
            f"[sources.{name}]",
            "enabled = true",
            "queries = []",
            f'base_url = "{sandbox.url}/{name}"',
            f'image_hosts = ["{sandbox.host}"]',
        ]
    file = tmp_path / "config.toml"
    file.write_text("\n".join(lines))
    return file


def run(settings: Path, *arguments: str, command: str = "scrape", **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "daemon", command, "--config", str(settings), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, **KEYS, **variables},
    )


def images(settings: Path) -> list[Path]:
    return [file for file in (settings.parent / "datasets" / "images").rglob("*") if file.is_file()]


def test_a_dry_run_says_what_would_come_and_fetches_nothing(settings: Path, sandbox: SandboxServer) -> None:
    done = run(settings, "--dry-run", "--limit", "5", "--min-size", "80")
    assert done.returncode == 0, done.stderr
    assert "pexels: would fetch 4 (limit 5): 4 new on 1 pages" in done.stdout
    assert "civitai: would fetch 4 (limit 5)" in done.stdout
    assert "127.0.0.1 (4)" in done.stdout and "quota" in done.stdout and "GB free" in done.stdout
    assert "leaves out 4: is older or smaller than requested" in done.stdout
    assert images(settings) == []
    requests = sandbox.sandbox.journal.counters(with_paths=False)["requests"]
    assert requests == {"pexels api": 1, "civitai api": 1}


def test_a_run_of_which_everything_is_refused_ends_with_status_1_and_status_shows_why(settings: Path) -> None:
    settings.write_text(settings.read_text() + "\nmax_image_mb = 0.00001\n")  # of the last section: civitai
    done = run(settings, "--source", "civitai")
    assert done.returncode == 1
    assert "8 refused (8 too_large)" in done.stdout and "raise sources.civitai.max_image_mb" in done.stdout
    assert "civitai: 8 stored" not in done.stdout and "civitai: 0 stored, 8 left out" in done.stderr
    assert run(settings, "--source", "pexels", "--min-size", "80").returncode == 0
    shown = run(settings, command="status").stdout
    assert (
        "civitai, last run: 0 stored, 8 refused (8 too_large)" in shown
        and "raise sources.civitai.max_image_mb" in shown
    )
    assert "pexels, last run: 4 stored, 4 waiting" in shown and "real: pexels 4 (100%)" in shown


def test_keys_without_a_file_are_told_what_to_type(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[storage]\nstate_path = "{tmp_path}/state"\nlocal_path = "{tmp_path}/d"\nmin_free_gb = 0\n')
    done = run(file)
    assert done.returncode == 1
    assert "export EXPOSR_SOURCES__UNSPLASH__ENABLED=true EXPOSR_SOURCES__UNSPLASH__CONTACT=" in done.stderr
    assert "EXPOSR_SOURCES__CIVITAI__CONTACT" in done.stderr
