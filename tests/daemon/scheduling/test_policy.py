from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from daemon.scheduling.policy import (
    DAY_SECONDS,
    TrainingFacts,
    TrainingRules,
    backoff_seconds,
    decide_training,
    growth_needed,
    lacks_data,
)

RULES = TrainingRules(7, 500, 0.10, 25, 60, 28)
FACTS = TrainingFacts(
    real=400,
    ai_generated=400,
    baseline_labelled=800,
    since_success=3600.0 * 5,
    since_attempt=3600.0 * 5,
    since_first_start=DAY_SECONDS * 30,
    unpublished_streak=0,
    is_training=False,
    is_settling=False,
)

rules = st.builds(
    TrainingRules,
    train_interval_days=st.floats(0.01, 365),
    growth_images=st.integers(1, 10_000),
    growth_fraction=st.floats(0.001, 10),
    min_per_class=st.integers(2, 1000),
    cooldown_minutes=st.floats(0, 10_000),
    max_backoff_days=st.floats(0.01, 100),
)
spans = st.floats(0, 1e9)
facts = st.builds(
    TrainingFacts,
    real=st.integers(0, 100_000),
    ai_generated=st.integers(0, 100_000),
    baseline_labelled=st.none() | st.integers(0, 200_000),
    since_success=st.none() | spans,
    since_attempt=st.none() | spans,
    since_first_start=spans,
    unpublished_streak=st.integers(0, 50),
    is_training=st.booleans(),
    is_settling=st.booleans(),
)


@given(facts, rules)
def test_every_verdict_has_a_reason_and_a_wait_that_is_not_negative(facts: TrainingFacts, rules: TrainingRules) -> None:
    decision = decide_training(facts, rules)
    assert decision.reason
    assert decision.code
    assert decision.wait_seconds is None or decision.wait_seconds >= 0


@given(facts, rules)
def test_a_training_is_never_due_below_the_floor_during_another_or_within_the_cooldown(
    facts: TrainingFacts, rules: TrainingRules
) -> None:
    if not decide_training(facts, rules).is_due:
        return
    assert not facts.is_training
    assert min(facts.real, facts.ai_generated) >= rules.min_per_class
    assert facts.since_attempt is None or facts.since_attempt >= rules.cooldown_minutes * 60


@given(facts, rules)
def test_a_training_is_due_only_for_time_or_growth(facts: TrainingFacts, rules: TrainingRules) -> None:
    decision = decide_training(facts, rules)
    if decision.is_due:
        elapsed = facts.since_first_start if facts.since_success is None else facts.since_success
        grown = facts.labelled - (facts.baseline_labelled or 0) >= growth_needed(facts.baseline_labelled or 0, rules)
        assert elapsed >= rules.train_interval_days * DAY_SECONDS or grown


@given(facts, rules)
def test_waiting_as_long_as_the_verdict_says_changes_it(facts: TrainingFacts, rules: TrainingRules) -> None:
    decision = decide_training(facts, rules)
    if decision.wait_seconds is None:
        return
    later = decision.wait_seconds * 1.001 + 1

    def after(span: float | None) -> float | None:
        return None if span is None else span + later

    moved = replace(
        facts,
        since_success=after(facts.since_success),
        since_attempt=after(facts.since_attempt),
        since_first_start=facts.since_first_start + later,
    )
    assert decide_training(moved, rules).code != decision.code


@given(rules, st.integers(0, 60))
def test_backoff_never_shrinks_with_failures_and_stays_below_its_limit(rules: TrainingRules, streak: int) -> None:
    wait = backoff_seconds(rules, streak)
    assert wait <= backoff_seconds(rules, streak + 1)
    assert wait <= max(rules.max_backoff_days * DAY_SECONDS, rules.cooldown_minutes * 60)


def test_a_week_after_the_last_training_the_next_is_due() -> None:
    assert decide_training(replace(FACTS, since_success=7 * DAY_SECONDS), RULES).code == "elapsed"


def test_growth_by_a_tenth_is_enough_and_one_image_less_is_not() -> None:
    assert decide_training(replace(FACTS, real=480), RULES).code == "growth"
    assert decide_training(replace(FACTS, real=479), RULES).code == "not_due"


def test_the_first_training_waits_for_the_fixed_number_or_for_the_interval() -> None:
    young = replace(FACTS, baseline_labelled=None, since_success=None, since_attempt=None, since_first_start=60.0)
    assert decide_training(replace(young, real=60, ai_generated=60), RULES).code == "not_due"
    assert decide_training(replace(young, real=250, ai_generated=250), RULES).code == "growth"
    assert decide_training(replace(young, real=60, ai_generated=60, since_first_start=7 * DAY_SECONDS), RULES).is_due


def test_growth_waits_until_the_folder_is_quiet() -> None:
    assert decide_training(replace(FACTS, real=900, is_settling=True), RULES).code == "settling"


def test_deleted_images_are_no_growth() -> None:
    decision = decide_training(replace(FACTS, real=100), RULES)
    assert not decision.is_due
    assert decision.reason.startswith("0 of 80")


def test_each_rejected_training_doubles_the_wait() -> None:
    waiting = replace(FACTS, real=900, since_attempt=3.9 * 3600, unpublished_streak=2)
    assert decide_training(waiting, RULES).code == "cooldown"
    assert decide_training(replace(waiting, since_attempt=4.1 * 3600), RULES).is_due


def test_too_little_data_is_said_with_the_numbers() -> None:
    shortage = lacks_data(replace(FACTS, ai_generated=3), RULES)
    assert shortage is not None
    assert "400 real" in shortage
    assert "3 ai_generated" in shortage
    assert "25" in shortage
