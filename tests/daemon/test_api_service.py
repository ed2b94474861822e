"""The service as the API sees it, over the daemon's real parts."""

from __future__ import annotations

import contextlib

import pytest

from daemon.api_service import TrainerService
from daemon.application import Application
from fake_clock import FakeClock
from utils.config_loader import Config


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
def test_prometheus_gets_the_format_that_it_asks_for(config: Config, fake_clock: FakeClock, kind: str) -> None:
    with contextlib.closing(Application(config, fake_clock)) as application:
        body, content_type = TrainerService(application).prometheus(f"{kind}; version=1.0.0")
    assert content_type.startswith(kind)
    assert body.endswith(b"# EOF\n") == (kind == "application/openmetrics-text")
