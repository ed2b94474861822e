from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fake_clock import FakeClock
from scrapers.limits.budget import Budget, QuotaReading
from scrapers.store.item_store import ItemStore
from utils.config.sources import Source


@pytest.fixture
def item_store(tmp_path: Path) -> Iterator[ItemStore]:
    item_store = ItemStore(tmp_path, "run")
    yield item_store
    item_store.close()


def make(item_store: ItemStore, clock: FakeClock, hourly: int | None = None, **settings: Any) -> Budget:
    source = Source.model_validate({"base_url": "http://127.0.0.1:1", **settings})
    return Budget(item_store, clock, "unsplash", source, hourly)


def spend_all(budget: Budget) -> int:
    count = 0
    while budget.rest_seconds()[0] == 0 and count < 10_000:
        budget.spend()
        count += 1
    return count


def test_the_hour_slides_and_keeps_a_reserve(item_store: ItemStore, fake_clock: FakeClock) -> None:
    budget = make(item_store, fake_clock, hourly=50)
    assert spend_all(budget) == 47
    fake_clock.pass_time(1800)
    assert budget.rest_seconds() == (1800, "its 50 calls of one hour")
    fake_clock.pass_time(1801)
    assert spend_all(budget) == 47


def test_the_budget_survives_a_restart(item_store: ItemStore, fake_clock: FakeClock, tmp_path: Path) -> None:
    assert spend_all(make(item_store, fake_clock, hourly=50)) == 47
    item_store.close()
    again = ItemStore(tmp_path, "another run")
    try:
        fake_clock.pass_time(60)
        assert make(again, fake_clock, hourly=50).rest_seconds()[0] == 3540
    finally:
        again.close()


def test_no_sliding_hour_ever_holds_more_than_the_limit(item_store: ItemStore, fake_clock: FakeClock) -> None:
    budget = make(item_store, fake_clock, hourly=20)
    times: list[float] = []
    for step in range(400):
        fake_clock.pass_time((step * 37) % 211)
        if budget.rest_seconds()[0] == 0:
            budget.spend()
            times.append(fake_clock.now().timestamp())
    assert len(times) > 100
    assert max(sum(start <= time < start + 3600 for time in times) for start in times) <= 20


def test_headers_raise_the_hourly_limit_and_set_the_interval(item_store: ItemStore, fake_clock: FakeClock) -> None:
    budget = make(item_store, fake_clock, hourly=50, base_url="https://api.example.org")
    assert budget.interval_seconds() == pytest.approx(3600 / 47)
    budget.learn(QuotaReading("hour", 5000, 4999))
    assert budget.interval_seconds() == pytest.approx(3600 / 4750)
    assert make(item_store, fake_clock, hourly=50, min_interval_seconds=5).interval_seconds() == 5


def test_a_sandbox_is_asked_without_waiting_but_within_its_quota(item_store: ItemStore, fake_clock: FakeClock) -> None:
    budget = make(item_store, fake_clock, hourly=50)
    assert budget.interval_seconds() == 0
    assert spend_all(budget) == 47


def test_it_stops_at_the_reserve_that_the_source_reports(item_store: ItemStore, fake_clock: FakeClock) -> None:
    budget = make(item_store, fake_clock, hourly=50)
    budget.learn(QuotaReading("hour", 100, 6))
    assert budget.rest_seconds()[0] == 0
    budget.spend()
    assert budget.rest_seconds() == (3600, "the hour's quota of 100")
    fake_clock.pass_time(3601)
    assert budget.rest_seconds()[0] == 0, "a new hour has begun"


def test_exhaustion_rests_to_the_hour_or_to_the_months_end(item_store: ItemStore, fake_clock: FakeClock) -> None:
    fake_clock.pass_time(600)
    budget = make(item_store, fake_clock)
    assert budget.exhausted("hour").until.isoformat() == "2026-03-01T13:00:00+00:00"
    assert budget.exhausted("day").until.isoformat() == "2026-03-02T00:00:00+00:00"
    resets = fake_clock.now() + timedelta(days=12)
    budget.learn(QuotaReading("month", 20_000, 17, resets))
    assert budget.exhausted("hour").until.hour == 13, "the month has some left: it is the hour"
    budget.learn(QuotaReading("month", 20_000, 0, resets))
    assert budget.exhausted("hour").until == resets.replace(microsecond=0)


def test_days_have_a_limit_of_their_own(item_store: ItemStore, fake_clock: FakeClock) -> None:
    budget = make(item_store, fake_clock, requests_per_day=100)
    assert spend_all(budget) == 95
    fake_clock.pass_time(7200)
    assert budget.rest_seconds()[0] == 86_400 - 7200


def test_a_clock_that_steps_back_waits_a_window_at_most(item_store: ItemStore, fake_clock: FakeClock) -> None:
    budget = make(item_store, fake_clock, hourly=20)
    spend_all(budget)
    fake_clock.wall -= timedelta(days=3)
    assert budget.rest_seconds()[0] <= 3600
