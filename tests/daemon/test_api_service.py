"""The service as the API sees it, over the daemon's real parts."""

from __future__ import annotations

import contextlib

import pytest
from pydantic import SecretStr

from daemon.api_service import TrainerService
from daemon.application import Application
from daemon.runs.process import JobEnd
from daemon.scheduling.planner import SCRAPE_END
from fake_clock import FakeClock
from scrapers.outcomes.outcome import SourceOutcome, SourceResult, Tally
from scrapers.outcomes.records import record_outcome
from scrapers.status import EMPTY_RUNS_UNTIL_DEGRADED
from scrapers.store.item_store import ItemStore
from utils.config.sources import Pexels
from utils.config_loader import Config, Secrets


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_prometheus_gets_the_format_that_it_asks_for(config: Config, fake_clock: FakeClock, kind: str) -> None:
    with contextlib.closing(Application(config, fake_clock)) as application:
        body, content_type = TrainerService(application).prometheus(f"{kind}; version=1.0.0")
    assert content_type.startswith(kind)
    assert body.endswith(b"# EOF\n") == (kind == "application/openmetrics-text")


def collected(config: Config, clock: FakeClock, *, stored: int, refused: int) -> None:
    """What a collecting job leaves behind: one run of Pexels."""
    store = ItemStore(config.storage.state_path, f"run-{clock.monotonic()}")
    tally = Tally(pages=1)
    tally.add("stored", "", stored)
    tally.add("refused", "host_not_allowed", refused)
    record_outcome(store, SourceOutcome("pexels", SourceResult(), tally), 1, clock.now().timestamp())
    store.close()


@pytest.fixture
def with_pexels(config: Config) -> Config:
    pexels = Pexels(enabled=True, contact="ops@example.org")
    sources = config.sources.model_copy(update={"pexels": pexels})
    return config.model_copy(update={"sources": sources, "secrets": Secrets(pexels_api_key=SecretStr("k"))})


def test_a_source_that_comes_to_nothing_degrades_health_with_the_remedy(
    with_pexels: Config, fake_clock: FakeClock
) -> None:
    with contextlib.closing(Application(with_pexels, fake_clock)) as application:
        service = TrainerService(application)
        for number in range(1, EMPTY_RUNS_UNTIL_DEGRADED + 1):
            collected(with_pexels, fake_clock, stored=0, refused=20)
            application.look_at_sources()
            (part,) = [part for part in service.health().parts if part.name == "sources"]
            assert part.ok == (number < EMPTY_RUNS_UNTIL_DEGRADED)
        assert "20 refused" in part.reason and "sources.pexels.image_hosts" in part.reason
        (pexels,) = [source for source in service.status()["sources"] if source["name"] == "pexels"]
        assert pexels["outcome"]["refused"] == {"host_not_allowed": 20} and pexels["problem"] == part.reason
        text = service.prometheus("text/plain")[0].decode()
        assert 'exposr_candidates_total{outcome="refused",reason="host_not_allowed",source="pexels"} 60.0' in text
        assert 'exposr_source_empty_runs{source="pexels"} 3.0' in text
        assert 'exposr_part_up{part="sources"} 0.0' in text
        collected(with_pexels, fake_clock, stored=1, refused=20)
        application.look_at_sources()
        assert all(part.ok for part in service.health().parts if part.name == "sources")


@pytest.mark.parametrize(("state", "marked"), [("finished", True), ("parked", False)])
def test_a_failed_collection_that_asked_its_sources_is_not_repeated_at_once(
    with_pexels: Config, fake_clock: FakeClock, state: str, marked: bool
) -> None:
    with contextlib.closing(Application(with_pexels, fake_clock)) as application:
        run = application.runner.queue("scrape", "manual", "")
        assert run is not None
        application._run_ended(run, JobEnd("failed", "", {"sources": {"pexels": {"state": state}}}))
        assert (application.planner.last(SCRAPE_END) is not None) == marked


def test_a_run_is_stopped_once_by_its_id(with_pexels: Config, fake_clock: FakeClock) -> None:
    with contextlib.closing(Application(with_pexels, fake_clock)) as application:
        service = TrainerService(application)
        run = application.runner.queue("scrape", "manual", "a test")
        assert run is not None
        asked = service.stop_run(run.id)
        assert (asked.accepted, asked.details) == (True, {"run_id": run.id})
        assert service.stop_run("scrape-none").code == "not_found"
        application.runner.tick()
        assert service.run(run.id)["state"] == "stopped"  # type: ignore[index]
        assert service.stop_run(run.id).code == "not_running"
