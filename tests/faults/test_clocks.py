"""The wall clock is set by hours and months, both ways, and the machine sleeps, in the middle of everything."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from actions import check_data, checks, drop_pictures
from dataset_kit import Folder, Runner
from selection import ALL

from daemon.monitoring.sd_notify import Notifier
from daemon.monitoring.watchdog import Heartbeats, Watchdog
from fake_clock import FakeClock
from handlers.labels.commands import set_label
from scrapers.limits.budget import Budget
from scrapers.status import find_obstacle
from scrapers.store.item_store import ItemStore
from utils.config.sources import Source
from utils.config_loader import Config

pytestmark = pytest.mark.timeout(300 if ALL else 60)

HOURS = (-24 * 400, -6, 6, 24 * 400) if ALL else (-24 * 400, 6)
STAGES = 4


def step(clock: FakeClock, hours: float) -> None:
    clock.wall += timedelta(hours=hours)


@pytest.mark.parametrize("hours", HOURS)
@pytest.mark.parametrize("stage", range(STAGES))
def test_a_step_of_the_clock_loses_no_picture_and_no_label(tmp_path: Path, hours: float, stage: int) -> None:
    folder = Folder(tmp_path)
    runner = Runner(folder, checks())
    stages = itertools.count()

    def pass_stage() -> None:
        if next(stages) == stage:
            step(runner.clock, hours)

    drop_pictures(tmp_path)
    runner.reconciler.compare_all()
    pass_stage()
    counts = runner.settle()
    assert (counts.total, counts.real, counts.ai_generated) == (5, 4, 1)
    pass_stage()
    set_label(folder.config, "real/phone/1.png", "ai_generated")
    (folder.root / "real/phone/2.png").rename(folder.root / "elsewhere/moved.png")
    (folder.root / "real/phone/0.png").unlink()  # there is a copy of it
    (folder.root / "ai_generated/flux/a.webp").unlink()
    runner.settle()
    pass_stage()
    runner.forget()
    counts = runner.settle()
    assert (counts.total, counts.real, counts.ai_generated, counts.pending) == (
        4,
        2,
        1,
        0,
    )  # the moved one lost the word of its folder
    pass_stage()
    folder.picture("real/phone/later.png", 77)
    runner.settle()
    runner.settle(61)
    runner.reconciler.close()
    check_data(tmp_path, total=5, real=3, ai_generated=1)


@pytest.mark.parametrize("hours", [-24 * 400, -6])
def test_a_clock_that_was_ahead_leaves_no_source_resting_for_as_long(
    config: Config, fake_clock: FakeClock, hours: float
) -> None:
    settings = Source(enabled=True, contact="", requests_per_hour=10)
    items = ItemStore(config.storage.state_path, "run")
    budget = Budget(items, fake_clock, "pexels", settings, None)
    while budget.rest_seconds()[0] <= 0:
        budget.spend()
    step(fake_clock, hours)
    budget = Budget(items, fake_clock, "pexels", settings, None)
    wait, _ = budget.rest_seconds()
    assert 0 < wait <= 3600
    fake_clock.pass_time(wait + 1)
    assert budget.rest_seconds()[0] <= 0
    items.close()


def test_a_rest_that_lies_further_away_than_any_source_asks_for_is_none(config: Config, fake_clock: FakeClock) -> None:
    until = fake_clock.now() + timedelta(days=3)
    rests = find_obstacle(config, "openverse", (until, "asked to wait"), fake_clock.now())
    step(fake_clock, -24 * 400)
    later = find_obstacle(config, "openverse", (until, "asked to wait"), fake_clock.now())
    assert rests is None or later is None or later.state != "parked"


def test_after_the_machine_has_slept_no_part_counts_as_silent(fake_clock: FakeClock) -> None:
    beats = {"dataset": fake_clock.monotonic(), "api": fake_clock.monotonic()}
    parts = Heartbeats()
    for name in beats:
        parts.add(name, lambda name=name: beats[name], 45.0)  # type: ignore[misc]
    watchdog = Watchdog(Notifier({}), parts)
    for _ in range(3):
        fake_clock.pass_time(1)
        beats = dict.fromkeys(beats, fake_clock.monotonic())
        assert watchdog.tick(fake_clock.monotonic()) == []
    fake_clock.pass_time(6 * 3600)  # asleep; this loop is the first to wake
    assert watchdog.tick(fake_clock.monotonic()) == []
    for _ in range(44):
        fake_clock.pass_time(1)
        beats["api"] = fake_clock.monotonic()
        assert watchdog.tick(fake_clock.monotonic()) == []
    fake_clock.pass_time(2)
    beats["api"] = fake_clock.monotonic()
    (silent,) = watchdog.tick(fake_clock.monotonic())  # that one did not wake
    assert silent.startswith("dataset")
