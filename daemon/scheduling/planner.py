"""What is due: scrapes by time, trainings by the policy, from marks that survive restarts and clock steps."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.scheduling.policy import DueDecision, TrainingFacts, TrainingRules, decide_training
from daemon.state.deadlines import Mark, Timekeeper
from daemon.state.store import Store
from utils.config_loader import Config

HOUR_SECONDS = 3600.0
START_GRACE_SECONDS = 60.0  # an operator who has just started the service gets to act first
DRIFT_SCRAPE_SECONDS = 24 * HOUR_SECONDS  # between two scrapes that drift asks for
SCRAPE_RETRY_SECONDS = 15 * 60.0  # between two attempts when none finishes
QUIET_SECONDS = 30.0  # the folder counts as quiet after this long without a change

FIRST_START = "first_start"
SCRAPE_END = "scrape_end"
SCRAPE_ATTEMPT = "scrape_attempt"
TRAIN_END = "train_end"
TRAIN_ATTEMPT = "train_attempt"
DRIFT_SCRAPE = "drift_scrape"
MARKS = (FIRST_START, SCRAPE_END, SCRAPE_ATTEMPT, TRAIN_END, TRAIN_ATTEMPT, DRIFT_SCRAPE)
DRIFT = "drift"  # code of the verdict
BASELINE = "train_baseline"
STREAK = "unpublished_streak"


@dataclass(frozen=True, slots=True)
class Amounts:
    """What the data folder holds now, as far as the plan needs it."""

    real: int
    ai_generated: int
    pending: int
    seconds_since_change: float
    missing: str = ""  # why part of it is not there


def training_rules(config: Config) -> TrainingRules:
    triggers = config.triggers
    return TrainingRules(
        train_interval_days=config.scheduler.train_interval_days,
        growth_images=triggers.growth_images,
        growth_fraction=triggers.growth_fraction,
        min_per_class=triggers.min_per_class,
        cooldown_minutes=triggers.cooldown_minutes,
        max_backoff_days=triggers.max_backoff_days,
    )


class Planner:
    """Keeps the marks, in memory and in the store. Written from the supervisor's thread, read from any."""

    def __init__(self, store: Store, time: Timekeeper) -> None:
        self._store = store
        self._time = time
        self._started = time.mark()
        self._marks = {name: mark for name in MARKS if (mark := store.mark(name)) is not None}
        self._baseline: int | None = store.fact(BASELINE)
        self._streak = int(store.fact(STREAK) or 0)
        if FIRST_START not in self._marks:
            self._set(FIRST_START, self._started)
        for name, mark in list(self._marks.items()):
            if time.is_in_future(mark):
                self._set(name, self._started)

    def mark_now(self, name: str) -> None:
        self._set(name, self._time.mark())

    def scrape_decision(self, config: Config, *, is_running: bool, drift: str = "") -> DueDecision:
        """Whether the scheduler starts a scrape now. `drift` says in words why new data is needed, else it is empty."""
        if is_running:
            return DueDecision(False, "running", "a scrape is running")
        if drift and self._may_answer_drift():
            return DueDecision(True, DRIFT, drift)
        interval = config.scheduler.scrape_interval_hours * HOUR_SECONDS
        since = self._since(SCRAPE_END)
        if since is not None and since < interval:
            reason = f"{since / HOUR_SECONDS:.1f} h of {interval / HOUR_SECONDS:g} h"
            return DueDecision(False, "not_due", reason, interval - since)
        uptime = self._time.seconds_since(self._started)
        if uptime < START_GRACE_SECONDS:
            return DueDecision(False, "starting", "the service has just started", START_GRACE_SECONDS - uptime)
        attempt = self._since(SCRAPE_ATTEMPT)
        if attempt is not None and attempt < SCRAPE_RETRY_SECONDS:
            return DueDecision(
                False, "cooldown", "a scrape was started a short time ago", SCRAPE_RETRY_SECONDS - attempt
            )
        if since is None:
            return DueDecision(True, "first", "nothing was collected yet")
        return DueDecision(True, "elapsed", f"{since / HOUR_SECONDS:.1f} h since the last scrape")

    def _may_answer_drift(self) -> bool:
        """Once a day, and not right after another scrape."""
        answered, attempt = self._since(DRIFT_SCRAPE), self._since(SCRAPE_ATTEMPT)
        is_new = answered is None or answered >= DRIFT_SCRAPE_SECONDS
        has_rested = attempt is None or attempt >= HOUR_SECONDS
        return is_new and has_rested and self._time.seconds_since(self._started) >= START_GRACE_SECONDS

    def training_decision(
        self, config: Config, amounts: Amounts, *, is_running: bool, is_scraping: bool
    ) -> DueDecision:
        return decide_training(self.training_facts(amounts, is_running, is_scraping), training_rules(config))

    def training_facts(self, amounts: Amounts, is_running: bool, is_scraping: bool) -> TrainingFacts:
        first_start = self._since(FIRST_START)
        return TrainingFacts(
            real=amounts.real,
            ai_generated=amounts.ai_generated,
            baseline_labelled=self._baseline,
            since_success=self._since(TRAIN_END),
            since_attempt=self._since(TRAIN_ATTEMPT),
            since_first_start=first_start or 0.0,
            unpublished_streak=self._streak,
            is_training=is_running,
            is_settling=is_scraping or amounts.pending > 0 or amounts.seconds_since_change < QUIET_SECONDS,
            missing=amounts.missing,
        )

    def training_ended(self, result: str, labelled: int) -> None:
        """Keep what the next decision needs: only a finished training moves the clock and the baseline."""
        self._streak = 0 if result == "succeeded" else self._streak + 1
        self._store.set_fact(STREAK, self._streak)
        if result in ("succeeded", "rejected"):
            self._baseline = labelled
            self._store.set_fact(BASELINE, labelled)
            self.mark_now(TRAIN_END)

    def last(self, name: str) -> str | None:
        """ISO time of a mark, for people."""
        mark = self._marks.get(name)
        return mark.at if mark else None

    def at(self, decision: DueDecision) -> str | None:
        """ISO time at which time alone changes the verdict; None when it is due, or when time alone does not."""
        return None if decision.wait_seconds is None else self._time.after(decision.wait_seconds)

    def _since(self, name: str) -> float | None:
        mark = self._marks.get(name)
        return None if mark is None else self._time.seconds_since(mark)

    def _set(self, name: str, mark: Mark) -> None:
        self._marks[name] = mark
        self._store.set_mark(name, mark)
