"""A sandbox over a few real files, and ways to collect from it in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lifted import lifted_config

from encoded_pictures import noise_picture
from fake_clock import FakeClock
from scrapers.harvest import Harvest
from scrapers.limits.checks import make_check_pool
from scrapers.outcomes.outcome import SourceOutcome
from scrapers.sandbox.server import SandboxServer
from scrapers.sandbox.settings import SandboxSettings
from utils.config_loader import Config
from utils.images.check_pool import CheckPool


@pytest.fixture(scope="session")
def few_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 photos and 12 generated pictures, noise that is no near-duplicate of other noise."""
    folder = tmp_path_factory.mktemp("few_pictures")
    for label, first, count in (("real", 0, 30), ("ai_generated", 30, 12)):
        (folder / label / "Model A").mkdir(parents=True)
        for index in range(count):
            picture = noise_picture(first + index, (100 + index, 80))
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


@pytest.fixture
def misbehave(sandbox: SandboxServer) -> Callable[..., None]:
    """Change the sandbox's settings."""

    def change(**settings: Any) -> None:
        sandbox.sandbox.configure(SandboxSettings.model_validate(settings))

    return change


@pytest.fixture
def configure(tmp_path: Path, sandbox: SandboxServer) -> Callable[..., Config]:
    """A configuration for collecting from the sandbox; keywords as for `lifted_config`."""

    def make(**changes: Any) -> Config:
        return lifted_config(tmp_path, sandbox.url, **changes)

    return make


@pytest.fixture(scope="session")
def checks() -> Iterator[CheckPool]:
    """One pool for all tests: starting a checker takes longer than most of them."""
    with make_check_pool(Config()) as pool:
        yield pool


@pytest.fixture
def collect(checks: CheckPool) -> Callable[..., dict[str, SourceOutcome]]:
    """Run a harvest to its end; sleeping takes no time, and the clock tells that it has passed."""

    def run(config: Config, run_id: str = "run-1", **changes: Any) -> dict[str, SourceOutcome]:
        clock = FakeClock()
        clock.wall = datetime.now(UTC)  # as the sandbox has it

        async def sleep(seconds: float) -> None:
            clock.pass_time(seconds)
            await asyncio.sleep(0)

        harvest = Harvest(config, run_id, **{"clock": clock, "sleep": sleep, "checks": checks, **changes})
        return {outcome.name: outcome for outcome in asyncio.run(harvest.run())}

    return run
