"""Histograms of what a detector says: kept small, handed over as totals, and never in the way."""

from __future__ import annotations

import json
import threading
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from small_trainer import API_KEY, SmallTrainer

from exposr_client import ModelFollower
from exposr_client.field.observations import MAX_HISTOGRAMS, Batch, Observations, Seen

DAY = date(2026, 3, 1)


def rows(batch: Batch | None) -> list[dict[str, Any]]:
    assert batch is not None
    found: list[dict[str, Any]] = json.loads(batch.body)["histograms"]
    return found


def test_totals_are_handed_over_again_until_they_are_accepted() -> None:
    observations = Observations(lambda: DAY)
    assert observations.pending() is None
    observations.add("vit", "v1", [Seen(0.02, "real"), Seen(1.0, "ai_generated")])
    first = observations.pending()
    observations.add("vit", "v1", [Seen(0.5, "uncertain")])
    [row] = rows(observations.pending())
    assert (sum(row["scores"]), row["scores"][0], row["scores"][19]) == (3, 1, 1)
    assert row["verdicts"] == {"ai_generated": 1, "real": 1, "uncertain": 1}
    assert first is not None
    observations.handed_over(first)
    assert sum(rows(observations.pending())[0]["scores"]) == 3  # what came since is not lost
    second = observations.pending()
    assert second is not None
    observations.handed_over(second)
    assert observations.pending() is None


def test_novelty_is_counted_in_cuts_of_the_version() -> None:
    observations = Observations(lambda: DAY)
    seen = [Seen(0.5, "uncertain", True, novelty) for novelty in (1.01, 2.0, 99.0, float("inf"), float("nan"))]
    observations.add(
        "vit", "v1", [*seen, Seen(0.5, "real", False, 0.0), Seen(0.5, "real", False, 0.99), Seen(0.5, "real")]
    )
    [row] = rows(observations.pending())
    assert row["unfamiliar"] == 5
    assert (row["novelty"][0], row["novelty"][9], row["novelty"][10], row["novelty"][19]) == (1, 1, 1, 4)
    assert sum(row["novelty"]) == 7


def test_days_and_versions_are_kept_apart_and_old_days_are_forgotten() -> None:
    today = [DAY]
    observations = Observations(lambda: today[0])
    for version in ("v1", "v2"):
        observations.add("vit", version, [Seen(0.5, "uncertain")])
    today[0] += timedelta(days=1)
    observations.add("vit", "v2", [Seen(0.5, "uncertain")])
    batch = observations.pending()
    assert [(row["day"], row["version"]) for row in rows(batch)] == [
        ("2026-03-01", "v1"),
        ("2026-03-01", "v2"),
        ("2026-03-02", "v2"),
    ]
    assert batch is not None
    today[0] += timedelta(days=5)
    observations.handed_over(batch)
    observations.add("vit", "v2", [Seen(0.5, "uncertain")])
    assert [row["day"] for row in rows(observations.pending())] == ["2026-03-07"]


def test_a_trainer_that_is_away_for_months_costs_no_memory() -> None:
    today = [DAY]
    observations = Observations(lambda: today[0])
    for _ in range(3 * MAX_HISTOGRAMS):
        today[0] += timedelta(days=1)
        observations.add("vit", "v1", [Seen(0.5, "uncertain")])
    found = rows(observations.pending())
    assert len(found) == MAX_HISTOGRAMS
    assert found[-1]["day"] == today[0].isoformat()


def test_many_threads_count_every_picture() -> None:
    observations = Observations(lambda: DAY)
    seen = [Seen(0.5, "uncertain")]
    threads = [
        threading.Thread(target=lambda: [observations.add("vit", "v1", seen) for _ in range(500)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(rows(observations.pending())[0]["scores"]) == 4000


@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_a_follower_hands_them_over_with_its_poll_and_goes_on_whatever_comes_back(
    small_trainer: SmallTrainer, tmp_path: Path, status: int
) -> None:
    small_trainer.publish("v1", {"weights.pt": b"1", "model.json": b"{}"})
    small_trainer.observations_status = status
    observations = Observations(lambda: DAY)
    observations.add("vit", "v1", [Seen(0.5, "uncertain")])
    handed = threading.Event()
    with ModelFollower(
        small_trainer.url, API_KEY, tmp_path, poll_seconds=0.05, events=False, observations=observations
    ) as follower:
        following = threading.Thread(target=follower.follow, args=(lambda weights: handed.set(),), daemon=True)
        following.start()
        assert handed.wait(20)
        while len(small_trainer.observed) < (1 if status in (200, 400) else 3):
            following.join(0.01)
        follower.stop()
        following.join(10)
    is_done = observations.pending() is None
    assert is_done == (status in (200, 400))
    assert small_trainer.observed[0]["reporter"] == observations.reporter
