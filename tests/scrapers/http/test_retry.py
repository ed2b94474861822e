from __future__ import annotations

import random
from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_clock import FakeClock
from scrapers.http.retry import (
    BREAK_AFTER,
    BREAK_CAP_SECONDS,
    BREAK_SECONDS,
    RETRY_FLOOR,
    RETRY_WINDOW_SECONDS,
    Breaker,
    RetryBudget,
    backoff_seconds,
    parse_retry_after,
)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("-5", 0), ("999999", 999999), (" 7 ", 7), (None, None), ("soon", None), ("", None)]
)
def test_retry_after_in_seconds(fake_clock: FakeClock, text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, fake_clock.now()) == seconds


def test_retry_after_as_a_date(fake_clock: FakeClock) -> None:
    now = fake_clock.now()
    assert parse_retry_after(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert parse_retry_after(format_datetime(now - timedelta(days=1), usegmt=True), now) == 0
    assert parse_retry_after("Sun, 01 Mar 2026 12:00:30", now) == 30


@given(st.text(max_size=60))
def test_no_retry_after_header_breaks_the_parser(text: str) -> None:
    seconds = parse_retry_after(text, FakeClock().now())
    assert seconds is None or seconds >= 0


@given(st.integers(0, 40), st.integers(0, 2**32))
def test_backoff_is_between_zero_and_its_cap(attempt: int, seed: int) -> None:
    assert 0 <= backoff_seconds(attempt, random.Random(seed)) <= min(60, 2**attempt)


def test_five_failures_in_a_row_open_the_breaker_and_one_probe_closes_it(fake_clock: FakeClock) -> None:
    breaker = Breaker(fake_clock)
    for _ in range(BREAK_AFTER - 1):
        breaker.failed()
    breaker.succeeded()
    assert breaker.wait_seconds() == 0
    for _ in range(BREAK_AFTER):
        breaker.failed()
    assert breaker.wait_seconds() == BREAK_SECONDS
    fake_clock.pass_time(BREAK_SECONDS)
    assert breaker.wait_seconds() == 0, "the probe may go"
    assert breaker.wait_seconds() > 0, "the others wait for it"
    breaker.succeeded()
    assert breaker.wait_seconds() == 0


def test_each_failed_probe_doubles_the_pause_up_to_half_an_hour(fake_clock: FakeClock) -> None:
    breaker = Breaker(fake_clock)
    for _ in range(BREAK_AFTER):
        breaker.failed()
    breaker.failed()  # was under way before the break: says nothing new
    pauses = []
    for _ in range(7):
        pauses.append(breaker.wait_seconds())
        fake_clock.pass_time(pauses[-1])
        assert breaker.wait_seconds() == 0
        breaker.failed()
    assert pauses == [60, 120, 240, 480, 960, BREAK_CAP_SECONDS, BREAK_CAP_SECONDS]


def test_retries_are_a_share_of_the_last_ten_minutes_requests(fake_clock: FakeClock) -> None:
    budget = RetryBudget(fake_clock)
    assert [budget.take() for _ in range(RETRY_FLOOR + 1)] == [True] * RETRY_FLOOR + [False]
    for _ in range(400):
        budget.note_request()
    assert sum(budget.take() for _ in range(400)) == 100 - RETRY_FLOOR
    fake_clock.pass_time(RETRY_WINDOW_SECONDS + 1)
    assert budget.take()
