"""What detectors hand over, from the histograms to a scrape, a notice, and the numbers that people watch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from daemon.api_service import TrainerService
from daemon.application import Application
from daemon.field.observations import MAX_REPORTERS
from fake_clock import FakeClock
from trainer.publishing.registry import Registry
from utils.clock import to_iso
from utils.config_loader import Config, Triggers

REPORTER, OTHER = "0" * 32, "1" * 32
RATE = {"value": 0.05, "low": 0.0, "high": 0.10, "n": 200}
SCORES = [5, *[0] * 18, 5]
VERDICTS = {"real_uncertain": RATE, "ai_uncertain": RATE}
CARD = {"evaluation": {"validation": {"verdicts": VERDICTS, "scores": SCORES, "unfamiliar": RATE, "novelty": SCORES}}}


@pytest.fixture
def application(config: Config, fake_clock: FakeClock) -> Iterator[Application]:
    application = Application(config, fake_clock)
    publish(application, fake_clock, CARD)
    yield application
    application.close()


def publish(application: Application, clock: FakeClock, card: Any) -> None:
    registry = Registry(application.config.storage.models_path, clock)
    version = registry.reserve_version("vit")
    staged = registry.stage("vit", version)
    (staged / "weights.pt").write_bytes(version.encode())
    (staged / "model.json").write_text(json.dumps(card))
    registry.publish(staged, {"model": "vit", "version": version, "timestamp": to_iso(clock.now())})
    application.tick()


def histogram(clock: FakeClock, sure: int, uncertain: int, *, days_ago: int = 0, version: str = "v1") -> dict[str, Any]:
    return {
        "day": (clock.now().date() - timedelta(days_ago)).isoformat(),
        "model": "vit",
        "version": version,
        "scores": [sure, *[0] * 9, uncertain, *[0] * 9],
        "verdicts": {"real": sure, "ai_generated": 0, "uncertain": uncertain},
        "unfamiliar": 0,
        "novelty": [0] * 20,
    }


def test_a_share_that_has_surely_risen_is_seen_and_answered(application: Application, fake_clock: FakeClock) -> None:
    desk, service = application.observations, TrainerService(application)
    assert desk.drift().state == "too_few"
    desk.take(REPORTER, [histogram(fake_clock, 950, 50)])
    assert desk.drift().state == "steady"
    desk.take(OTHER, [histogram(fake_clock, 500, 500, days_ago=1)])
    assert desk.drift().state == "risen"
    fake_clock.pass_time(120)
    application.plan_runs()
    drift = service.status()["drift"]
    assert (drift["state"], drift["pictures"], drift["shares"]["uncertain"]["seen"]) == ("risen", 2000, 0.275)
    assert "label" in drift["advice"]
    assert application.plan["scrape"]["code"] == "no_source"  # due for the drift, but no source is enabled here
    exposition = service.prometheus("text/plain")[0].decode()
    assert "exposr_drift_risen 1.0" in exposition
    assert 'exposr_observed_share{kind="uncertain",which="validation"} 0.1' in exposition


def test_pictures_of_a_new_kind_are_drift_even_where_no_more_are_uncertain(
    application: Application, fake_clock: FakeClock
) -> None:
    row = histogram(fake_clock, 950, 50)
    application.observations.take(REPORTER, [row])
    assert application.observations.drift().state == "steady"
    far = [*[0] * 19, 150]
    new = {**histogram(fake_clock, 850, 150), "unfamiliar": 150, "novelty": far}
    application.observations.take(OTHER, [new])
    drift = application.observations.drift()
    assert drift.state == "steady"  # 7.5 % of both together, less than validation allows
    application.observations.take("2" * 32, [{**new, "unfamiliar": 150}] * 1)
    application.observations.take("3" * 32, [{**histogram(fake_clock, 1, 999), "unfamiliar": 999, "novelty": far}])
    drift = application.observations.drift()
    assert drift.state == "risen"
    assert drift.shares["unfamiliar"].is_risen
    [day] = application.observations.summary()["days"]
    assert (day["unfamiliar"], day["novelty"][19]) == (150 + 150 + 999, 450)


def test_it_ends_with_another_version_or_with_time(application: Application, fake_clock: FakeClock) -> None:
    desk = application.observations
    desk.take(REPORTER, [histogram(fake_clock, 500, 500)])
    assert desk.drift().state == "risen"
    publish(application, fake_clock, CARD)
    assert desk.drift().state == "too_few"
    assert application.models.rollback("vit").accepted
    assert desk.drift().state == "risen"
    fake_clock.pass_time(8 * 86_400)
    assert desk.drift().state == "too_few"


def test_totals_that_come_twice_count_once_and_never_shrink(application: Application, fake_clock: FakeClock) -> None:
    desk = application.observations
    for sure in (100, 300, 300, 200):
        desk.take(REPORTER, [histogram(fake_clock, sure, 0)])
    desk.take(OTHER, [histogram(fake_clock, 7, 0)])
    [day] = desk.summary()["days"]
    assert (day["pictures"], day["scores"][0], day["verdicts"]) == (
        307,
        307,
        {"real": 307, "ai_generated": 0, "uncertain": 0},
    )
    assert desk.summary()["validation"] == {
        "model": "vit",
        "version": "v1",
        "scores": SCORES,
        "novelty": SCORES,
    }


def test_what_is_too_old_too_new_or_not_published_is_ignored(application: Application, fake_clock: FakeClock) -> None:
    desk = application.observations
    rows = [
        histogram(fake_clock, 1, 0, days_ago=8),
        histogram(fake_clock, 1, 0, days_ago=-2),
        histogram(fake_clock, 1, 0, version="v9"),
        histogram(fake_clock, 1, 0, days_ago=7),
        histogram(fake_clock, 1, 0, days_ago=-1),
    ]
    assert desk.take(REPORTER, rows).details == {"taken": 2, "ignored": 3}


def test_a_flood_of_detectors_ends(application: Application, fake_clock: FakeClock) -> None:
    desk = application.observations
    row = [histogram(fake_clock, 1, 0)]
    for number in range(MAX_REPORTERS):
        assert desk.take(f"{number:032x}", row).accepted
    refused = desk.take("f" * 32, row)
    assert (refused.accepted, refused.code) == (False, "too_many_reporters")
    assert desk.take(f"{7:032x}", row).accepted  # who is known goes on


def test_it_says_which_version_came_into_service_when(
    application: Application, config: Config, fake_clock: FakeClock
) -> None:
    fake_clock.pass_time(3600)
    publish(application, fake_clock, CARD)
    fake_clock.pass_time(3600)
    assert application.models.promote("vit", "v1").accepted
    assert application.models.promote("vit", "v1").accepted  # nothing else is in service now
    noted = application.observations.summary()["in_service"]
    assert [(move["model"], move["version"]) for move in noted] == [("vit", "v1"), ("vit", "v2"), ("vit", "v1")]
    assert noted[2]["since"] == to_iso(fake_clock.now())
    restarted = Application(config, fake_clock)
    assert restarted.observations.summary()["in_service"] == noted
    restarted.close()


def test_it_can_be_switched_off(application: Application, fake_clock: FakeClock) -> None:
    application.observations.take(REPORTER, [histogram(fake_clock, 500, 500)])
    application.config = application.config.model_copy(update={"triggers": Triggers(drift=False)})
    assert application.observations.drift().state == "off"


@pytest.mark.parametrize("card", [{}, [], "x", {"evaluation": {}}])
def test_a_card_without_the_numbers_is_no_fault(config: Config, fake_clock: FakeClock, card: Any) -> None:
    application = Application(config, fake_clock)
    try:
        publish(application, fake_clock, card)
        application.observations.take(REPORTER, [histogram(fake_clock, 500, 500)])
        assert application.observations.drift().state == "no_baseline"
        assert application.observations.summary()["validation"] is None
    finally:
        application.close()


def test_histograms_outlive_a_restart_and_old_days_go(application: Application, fake_clock: FakeClock) -> None:
    application.observations.take(REPORTER, [histogram(fake_clock, 10, 0)])
    application.close()
    again = Application(application.config, fake_clock)
    try:
        assert [day["pictures"] for day in again.observations.summary()["days"]] == [10]
        fake_clock.pass_time(100 * 86_400)
        again.observations.take(REPORTER, [histogram(fake_clock, 1, 0)])
        assert len(again.field.histograms("2000-01-01")) == 1
    finally:
        again.close()
