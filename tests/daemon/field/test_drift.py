"""Drift is called risen only when that is sure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.field.drift import LEAST_PICTURES, Window, baselines_of, decide_drift, wilson_low

BASELINES = {"uncertain": (0.05, 0.10), "unfamiliar": (0.01, 0.03)}
RATE = {"value": 0.02, "low": 0.0, "high": 0.05, "n": 100}


@pytest.mark.parametrize(
    ("pictures", "uncertain", "unfamiliar", "state"),
    [
        (0, 0, 0, "too_few"),
        (LEAST_PICTURES - 1, LEAST_PICTURES - 1, 0, "too_few"),
        (LEAST_PICTURES, 0, 0, "steady"),
        (1000, 50, 10, "steady"),
        (1000, 110, 0, "steady"),  # above, but not significantly
        (1000, 140, 0, "risen"),
        (1000, 35, 35, "steady"),  # above, but not significantly
        (1000, 60, 60, "risen"),  # no more uncertain ones than in validation, but of another kind
        (100_000, 10_500, 0, "risen"),
        (LEAST_PICTURES, LEAST_PICTURES, 0, "risen"),
    ],
)
def test_a_share_must_have_surely_risen(pictures: int, uncertain: int, unfamiliar: int, state: str) -> None:
    found = decide_drift(Window(pictures, uncertain, unfamiliar), BASELINES)
    assert found.state == state
    assert bool(found.as_public()["advice"]) is (state == "risen")
    if state == "risen":
        kinds = {kind for kind, share in found.shares.items() if share.is_risen}
        assert all((kind in found.reason) is (kind in kinds) for kind in BASELINES)


def test_without_a_baseline_nothing_is_said() -> None:
    assert decide_drift(Window(10_000, 10_000), {}).state == "no_baseline"


def test_a_version_without_novelty_is_judged_by_what_is_uncertain_alone() -> None:
    assert decide_drift(Window(1000, 60, 60), {"uncertain": (0.05, 0.10)}).state == "steady"


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_lower_limit_lies_below_the_share(number: int, share: float) -> None:
    successes = round(share * number)
    low = wilson_low(successes, number)
    assert 0.0 <= low <= successes / number + 1e-12


def test_the_baselines_are_of_the_label_that_is_harder_and_of_what_is_unfamiliar() -> None:
    verdicts: dict[str, Any] = {"real_uncertain": RATE, "ai_uncertain": {**RATE, "high": 0.2}}
    card: dict[str, Any] = {"evaluation": {"validation": {"verdicts": verdicts}}}
    assert baselines_of(card) == {"uncertain": (0.02, 0.2)}
    card["evaluation"]["validation"]["unfamiliar"] = RATE
    assert baselines_of(card) == {"uncertain": (0.02, 0.2), "unfamiliar": (0.02, 0.05)}
    verdicts["ai_uncertain"] = None
    assert baselines_of(card)["uncertain"] == (0.02, 0.05)


@pytest.mark.parametrize(
    "card", [{}, {"evaluation": None}, {"evaluation": {"validation": {"verdicts": {}}}}, {"evaluation": []}], ids=str
)
def test_a_card_without_the_numbers_is_no_fault(card: Any) -> None:
    assert baselines_of(card) == {}
