"""When to train: one pure decision over facts, which always says why.

Two triggers, time and growth, under a floor for each label, a cooldown and a back-off. `POST /train` skips the
triggers, never the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY_SECONDS = 86_400.0
MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class TrainingRules:
    """The settings that the decision depends on (sections `scheduler` and `triggers`)."""

    train_interval_days: float
    growth_images: int
    growth_fraction: float
    min_per_class: int
    cooldown_minutes: float
    max_backoff_days: float


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What is known now. Times are seconds that have passed; None: it never happened.

    `baseline_labelled` is the number of labelled images at the last finished training; `unpublished_streak` counts the
    trainings since the last published version that failed or were rejected.
    """

    real: int
    ai_generated: int
    baseline_labelled: int | None
    since_success: float | None
    since_attempt: float | None
    since_first_start: float
    unpublished_streak: int
    is_training: bool
    is_settling: bool
    missing: str = ""  # why part of the data is not there, in words

    @property
    def labelled(self) -> int:
        return self.real + self.ai_generated


@dataclass(frozen=True, slots=True)
class DueDecision:
    """`is_due` with a stable `code` and the `reason` in words; `wait_seconds`: when time alone would change it."""

    is_due: bool
    code: str
    reason: str
    wait_seconds: float | None = None


def lacks_data(facts: TrainingFacts, rules: TrainingRules) -> str | None:
    """Why there is too little to train on, with the numbers; None when there is enough."""
    if min(facts.real, facts.ai_generated) >= rules.min_per_class:
        return None
    return (
        f"{facts.real} real and {facts.ai_generated} ai_generated usable images; "
        f"a training needs {rules.min_per_class} of each (triggers.min_per_class)"
    )


def backoff_seconds(rules: TrainingRules, unpublished_streak: int) -> float:
    """The least time between two attempts: the cooldown, doubled for each failed or rejected training in a row."""
    cooldown = rules.cooldown_minutes * MINUTE_SECONDS
    return max(cooldown, min(cooldown * 2.0 ** min(unpublished_streak, 32), rules.max_backoff_days * DAY_SECONDS))


def decide_training(facts: TrainingFacts, rules: TrainingRules) -> DueDecision:
    """Whether the scheduler starts a training now. Pure: the same facts give the same verdict."""
    if facts.is_training:
        return DueDecision(False, "running", "a training is running")
    if facts.missing:
        return DueDecision(False, "data_away", facts.missing)
    shortage = lacks_data(facts, rules)
    if shortage:
        return DueDecision(False, "too_little_data", shortage)
    rest = backoff_seconds(rules, facts.unpublished_streak)
    if facts.since_attempt is not None and facts.since_attempt < rest:
        after = f" after {facts.unpublished_streak} without a new version" if facts.unpublished_streak else ""
        return DueDecision(
            False,
            "cooldown",
            f"{_span(facts.since_attempt)} since the last attempt{after}; the next may start after {_span(rest)}",
            rest - facts.since_attempt,
        )
    return _triggered(facts, rules)


def _triggered(facts: TrainingFacts, rules: TrainingRules) -> DueDecision:
    interval = rules.train_interval_days * DAY_SECONDS
    elapsed = facts.since_first_start if facts.since_success is None else facts.since_success
    if elapsed >= interval:
        what = "the first start" if facts.since_success is None else "the last training"
        return DueDecision(True, "elapsed", f"{_span(elapsed)} since {what} (every {_span(interval)})")
    baseline = facts.baseline_labelled or 0
    growth = facts.labelled - baseline
    needed = growth_needed(baseline, rules)
    if growth >= needed:
        if facts.is_settling:
            return DueDecision(False, "settling", f"{growth} new images; waiting until the folder is quiet")
        return DueDecision(
            True, "growth", f"{growth} new labelled images ({needed} needed, {baseline} at the last training)"
        )
    return DueDecision(
        False,
        "not_due",
        f"{max(growth, 0)} of {needed} new labelled images, {_span(elapsed)} of {_span(interval)}",
        interval - elapsed,
    )


def growth_needed(baseline: int, rules: TrainingRules) -> int:
    """New images that make a training due: the fixed number or the share of the baseline, whichever is less."""
    if baseline == 0:
        return rules.growth_images
    return max(1, min(rules.growth_images, int(-(-baseline * rules.growth_fraction // 1))))


def _span(seconds: float) -> str:
    if seconds < 2 * MINUTE_SECONDS:
        return f"{seconds:.0f} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    if seconds < 2 * DAY_SECONDS:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / DAY_SECONDS:.1f} d"
