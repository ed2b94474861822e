"""A sandbox over a few real files, and ways to collect from it in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifted import lifted_config
from PIL import Image

from scrapers.harvest import Harvest, SourceOutcome
from scrapers.sandbox.server import SandboxServer
from scrapers.sandbox.settings import SandboxSettings
from utils.config_loader import Config


@pytest.fixture(scope="session")
def few_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few_pictures")
    for label, count in (("real", 30), ("ai_generated", 12)):
        (folder / label / "Model A").mkdir(parents=True)
        for index in range(count):
            picture = Image.effect_noise((100 + index, 80), 40 + index).convert("RGB")
            picture.save(folder / label / "Model A" / f"{index}.{('jpg', 'png', 'webp')[index % 3]}")
    return folder


@pytest.fixture(scope="session")
def sandbox_server(few_pictures: Path) -> Iterator[SandboxServer]:
    with SandboxServer(few_pictures) as server:
        yield server


@pytest.fixture
def sandbox(sandbox_server: SandboxServer) -> Iterator[SandboxServer]:
    """The running sandbox, well-behaved, with an empty journal."""
    sandbox_server.sandbox.configure(SandboxSettings())
    sandbox_server.sandbox.reset()
    yield sandbox_server
    sandbox_server.sandbox.configure(SandboxSettings())


Configure = Callable[..., Config]
Collect = Callable[..., dict[str, SourceOutcome]]


@pytest.fixture
def configure(tmp_path: Path, sandbox: SandboxServer) -> Configure:
    def make(**changes: Any) -> Config:
        return lifted_config(tmp_path, sandbox.url, **changes)

    return make


@pytest.fixture
def collect() -> Collect:
    """Run a harvest to its end; sleeping takes no time."""

    def run(config: Config, run_id: str = "run-1", **changes: Any) -> dict[str, SourceOutcome]:
        harvest = Harvest(config, run_id, **{"sleep": lambda seconds: asyncio.sleep(0), **changes})
        return {outcome.name: outcome for outcome in asyncio.run(harvest.run())}

    return run
