"""Drift is called risen only when that is sure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.field.drift import LEAST_PICTURES, Baseline, baseline_of, decide_drift, wilson_low

BASELINE = Baseline(0.05, 0.10)


@pytest.mark.parametrize(
    ("pictures", "uncertain", "state"),
    [
        (0, 0, "too_few"),
        (LEAST_PICTURES - 1, LEAST_PICTURES - 1, "too_few"),
        (LEAST_PICTURES, 0, "steady"),
        (1000, 50, "steady"),
        (1000, 110, "steady"),  # above, but not surely
        (1000, 140, "risen"),
        (100_000, 10_500, "risen"),
        (LEAST_PICTURES, LEAST_PICTURES, "risen"),
    ],
)
def test_the_share_must_have_surely_risen(pictures: int, uncertain: int, state: str) -> None:
    found = decide_drift(pictures, uncertain, BASELINE)
    assert found.state == state
    assert bool(found.as_public()["advice"]) is (state == "risen")


def test_without_a_baseline_nothing_is_said() -> None:
    assert decide_drift(10_000, 10_000, None).state == "no_baseline"


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_lower_limit_lies_below_the_share(number: int, share: float) -> None:
    successes = round(share * number)
    low = wilson_low(successes, number)
    assert 0.0 <= low <= successes / number + 1e-12


def test_the_baseline_is_of_the_label_that_is_harder() -> None:
    rate = {"value": 0.02, "low": 0.0, "high": 0.05, "n": 100}
    card = {"evaluation": {"validation": {"verdicts": {"real_uncertain": rate, "ai_uncertain": {**rate, "high": 0.2}}}}}
    assert baseline_of(card) == Baseline(0.02, 0.2)
    verdicts = card["evaluation"]["validation"]["verdicts"]
    verdicts["ai_uncertain"] = None  # type: ignore[assignment]
    assert baseline_of(card) == Baseline(0.02, 0.05)
    for broken in ({}, {"evaluation": None}, {"evaluation": {"validation": {"verdicts": {}}}}):
        assert baseline_of(broken) is None
