"""What people are told of the service's life, and how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.monitoring.disk import DiskState
from daemon.notify.alarms import REPEAT_SECONDS, Alarms
from daemon.notify.notices import Notice
from daemon.notify.reporter import Reporter
from daemon.state.store import Run, Store
from fake_clock import FakeClock
from scrapers.status import SourceState
from utils.config_loader import Config

LATEST: dict[str, Any] = {"model_name": "vit", "model_version": "v2", "serial": 2, "metrics": {"val_accuracy": 0.9}}
RUN = Run("train-1", "train", "rejected", "manual", "asked for", "2026-01-01T00:00:00Z")
WELL = SourceState("pexels", enabled=True, usable=True, reason="")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "daemon.sqlite")
    yield store
    store.close()


class Heard:
    """A sender that keeps what it is given."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def send(self, notice: Notice) -> None:
        self.notices.append(notice)

    def stop(self) -> None:
        pass

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for notice in self.notices]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def reporter(config: Config, store: Store, fake_clock: FakeClock, heard: Heard) -> Reporter:
    return Reporter(lambda: config, store, fake_clock, heard)


def test_a_new_version_and_one_that_was_put_back_are_told_apart(reporter: Reporter, heard: Heard) -> None:
    reporter.model_changed(LATEST, {"serial": 2})
    reporter.model_changed({**LATEST, "serial": 3}, {"serial": 1})
    reporter.model_changed({**LATEST, "metrics": {}}, None)
    assert heard.kinds == ["published", "moved", "moved"]
    assert "vit/v2" in heard.notices[0].title
    assert "90.0%" in heard.notices[0].message


def test_what_came_of_a_training_is_told_unless_it_was_published(reporter: Reporter, heard: Heard) -> None:
    for result in ("rejected", "failed", "succeeded", "stopped"):
        reporter.training_ended(RUN, result, "AUC is lower")
    assert heard.kinds == ["rejected", "failed"]
    assert heard.notices[0].message == "AUC is lower"


def test_a_source_that_fails_is_told_once(reporter: Reporter, heard: Heard) -> None:
    broken = replace(WELL, problem="the key is refused")
    parked = replace(WELL, usable=False, reason="rests", parked_until="2026-01-01T01:00:00Z")
    for state in (WELL, parked, broken, broken, broken):
        reporter.look_at_sources([state])
    assert heard.kinds == ["source_failing"]
    assert heard.notices[0].message == "the key is refused"
    reporter.look_at_sources([replace(broken, enabled=False)])
    reporter.look_at_sources([broken])  # switched on again
    assert heard.kinds == ["source_failing"] * 2


def test_a_full_disk_is_told_once_and_not_again_after_a_restart(
    reporter: Reporter, heard: Heard, config: Config, store: Store, fake_clock: FakeClock
) -> None:
    full = DiskState(False, "/data: 0.1 GB free", 0)
    reporter.look_at_disk(full)
    Reporter(lambda: config, store, fake_clock, heard).look_at_disk(full)
    assert heard.kinds == ["disk_full"]


def test_what_comes_and_goes_is_told_now_and_then(store: Store, fake_clock: FakeClock) -> None:
    told: list[float] = []
    alarms = Alarms(store, fake_clock)
    for _ in range(100):
        alarms.update("disk", True, lambda: told.append(fake_clock.monotonic()))
        alarms.update("disk", False, lambda: told.append(-1.0))
        fake_clock.pass_time(REPEAT_SECONDS / 10)
    assert len(told) == 10
    assert min(told) > 0
