from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from console_kit import (
    enter,
    hand_over_observations,
    open_browser,
    publish_versions,
    sign_in,
    write_data,
    write_run,
    write_what_a_training_says,
)
from playwright.sync_api import Browser, BrowserContext, Page

from service_process import ServiceProcess


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """One service for all tests of a module."""
    made = ServiceProcess(
        tmp_path_factory.mktemp("console"),
        {"EXPOSR_SCHEDULER__SCRAPE_INTERVAL_HOURS": "8760", "EXPOSR_GATE__ENABLED": "false"},
    )
    write_data(made)
    publish_versions(made.models)
    write_run(made)
    made.start()
    made.wait_for_counts(30, pending=0, unlabeled=14)
    write_what_a_training_says(made)
    hand_over_observations(made)
    yield made
    made.end()


@pytest.fixture(scope="module")
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    client = sign_in(service.url)
    yield client
    client.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, service: ServiceProcess) -> Page:
    return enter(context, service.url)
