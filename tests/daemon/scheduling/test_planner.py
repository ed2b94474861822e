from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.scheduling.planner import (
    DRIFT_SCRAPE,
    SCRAPE_ATTEMPT,
    SCRAPE_END,
    START_GRACE_SECONDS,
    TRAIN_ATTEMPT,
    Amounts,
    Planner,
)
from daemon.state.deadlines import Timekeeper
from daemon.state.store import Store
from fake_clock import FakeClock
from utils.config_loader import Config

PLENTY = Amounts(real=300, ai_generated=300, pending=0, seconds_since_change=3600)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "daemon.sqlite")
    yield opened
    opened.close()


def restart(store: Store, clock: FakeClock, boot: str = "boot-a") -> Planner:
    return Planner(store, Timekeeper(clock, boot))


def test_the_first_scrape_starts_a_minute_after_the_first_start(
    store: Store, fake_clock: FakeClock, config: Config
) -> None:
    planner = restart(store, fake_clock)
    assert planner.scrape_decision(config, is_running=False).code == "starting"
    fake_clock.pass_time(START_GRACE_SECONDS)
    assert planner.scrape_decision(config, is_running=False).is_due


def test_a_restart_moves_no_deadline(store: Store, fake_clock: FakeClock, config: Config) -> None:
    planner = restart(store, fake_clock)
    planner.mark_now(SCRAPE_END)
    for _ in range(11):
        fake_clock.pass_time(3600)
        planner = restart(store, fake_clock)
        fake_clock.pass_time(START_GRACE_SECONDS)
        assert not planner.scrape_decision(config, is_running=False).is_due
    fake_clock.pass_time(3600)
    assert planner.scrape_decision(config, is_running=False).code == "elapsed"


def test_drift_asks_for_a_scrape_once_a_day_and_leaves_the_schedule_alone(
    store: Store, fake_clock: FakeClock, config: Config
) -> None:
    planner = restart(store, fake_clock)
    assert planner.scrape_decision(config, is_running=False, drift="risen").code == "starting"
    fake_clock.pass_time(START_GRACE_SECONDS)
    planner.mark_now(SCRAPE_END)
    assert planner.scrape_decision(config, is_running=True, drift="risen").code == "running"
    decision = planner.scrape_decision(config, is_running=False, drift="risen")
    assert (decision.is_due, decision.code, decision.reason) == (True, "drift", "risen")
    for mark in (DRIFT_SCRAPE, SCRAPE_ATTEMPT, SCRAPE_END):
        planner.mark_now(mark)
    planner = restart(store, fake_clock)
    fake_clock.pass_time(6 * 3600)
    assert planner.scrape_decision(config, is_running=False, drift="risen").code == "not_due"
    fake_clock.pass_time(6 * 3600)
    assert planner.scrape_decision(config, is_running=False, drift="risen").code == "elapsed"
    fake_clock.pass_time(12 * 3600)
    assert planner.scrape_decision(config, is_running=False, drift="risen").code == "drift"
    planner.mark_now(SCRAPE_ATTEMPT)
    assert planner.scrape_decision(config, is_running=False, drift="risen").code != "drift"
    assert planner.scrape_decision(config, is_running=False).code != "drift"


def test_a_scrape_that_never_finishes_is_not_started_in_a_hot_loop(
    store: Store, fake_clock: FakeClock, config: Config
) -> None:
    planner = restart(store, fake_clock)
    fake_clock.pass_time(START_GRACE_SECONDS)
    planner.mark_now(SCRAPE_ATTEMPT)
    assert planner.scrape_decision(config, is_running=False).code == "cooldown"


def test_a_finished_training_becomes_the_baseline_and_a_failed_one_does_not(
    store: Store, fake_clock: FakeClock, config: Config
) -> None:
    planner = restart(store, fake_clock)
    planner.training_ended("succeeded", 600)
    planner.mark_now(TRAIN_ATTEMPT)
    fake_clock.pass_time(7200)
    decision = planner.training_decision(config, PLENTY, is_running=False, is_scraping=False)
    assert decision.reason.startswith("0 of 60")
    planner.training_ended("failed", 9999)
    assert restart(store, fake_clock).training_facts(PLENTY, False, False).baseline_labelled == 600
    assert restart(store, fake_clock).training_facts(PLENTY, False, False).unpublished_streak == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(1, 5e5), st.sampled_from(["run", "restart", "reboot", "back", "forward"])), max_size=40
    )
)
def test_trainings_never_come_twice_within_the_cooldown_nor_fail_to_come(
    tmp_path_factory: pytest.TempPathFactory, config: Config, steps: list[tuple[float, str]]
) -> None:
    """Time passes; now and then the process, the machine or the wall clock misbehaves. Truth is `clock.true`."""
    clock = FakeClock()
    store = Store(tmp_path_factory.mktemp("state") / "daemon.sqlite")
    boot, true_time, last_start, was_disturbed = 0, 0.0, None, False
    planner = restart(store, clock, "boot-0")
    for passed, event in steps:
        clock.pass_time(passed)
        true_time += passed
        if event == "reboot":
            boot += 1
            clock.boot = 1.0
            was_disturbed = True
        if event in ("restart", "reboot"):
            planner = restart(store, clock, f"boot-{boot}")
        if event in ("back", "forward"):
            clock.wall += timedelta(days=-3 if event == "back" else 3)
            was_disturbed = True
        decision = planner.training_decision(config, PLENTY, is_running=False, is_scraping=False)
        if not was_disturbed and last_start is not None and true_time - last_start > 7 * 86_400:
            assert decision.is_due
        if decision.is_due:
            assert was_disturbed or last_start is None or true_time - last_start >= 3600
            planner.mark_now(TRAIN_ATTEMPT)
            planner.training_ended("succeeded", PLENTY.real + PLENTY.ai_generated)
            last_start, was_disturbed = true_time, False
    store.close()
