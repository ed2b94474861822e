"""The sources that are datasets and no APIs: what is new comes in at each run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from encoded_pictures import noise_picture
from scrapers.harvest import Harvest
from scrapers.outcomes.outcome import SourceOutcome
from scrapers.status import source_states
from utils.config_loader import Config
from utils.images.check_pool import CheckPool
from utils.metadata import Metadata, read_metadata


def configure(folder: Path, **settings: Any) -> Config:
    places = {"local_path": folder / "datasets", "state_path": folder / "state", "models_path": folder / "models"}
    sources = {"folder": {"enabled": True, **settings}}
    return Config(storage={**places, "min_free_gb": 0}, sources=sources, harvest={"check_workers": 1})


def harvest(config: Config, checks: CheckPool, **changes: Any) -> SourceOutcome:
    (outcome,) = asyncio.run(Harvest(config, "run", ["folder"], checks=checks, **changes).run())
    return outcome


def draw(file: Path, seed: int) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    noise_picture(seed, (96, 72)).save(file)
    return file


def stored(config: Config) -> list[Metadata]:
    return [read_metadata(file) for file in (config.storage.local_path / "meta").rglob("*.json")]


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    for index in range(6):
        draw(tmp_path / "mount" / ("real/phone" if index % 2 else "ai/flux") / f"{index}.png", index)
    return tmp_path / "mount"


def test_what_is_new_in_a_folder_comes_in_and_nothing_twice(mount: Path, tmp_path: Path, checks: CheckPool) -> None:
    config = configure(tmp_path / "here", paths=[str(mount)])
    first = harvest(config, checks)
    assert (first.tally.total("stored"), first.result.state) == (6, "finished")
    assert {(found.label, found.source, found.api_data.get("generator")) for found in stored(config)} == {
        ("real", "phone", None),
        ("ai_generated", "mount", "flux"),
    }
    draw(mount / "real" / "phone" / "new.png", 50)
    second = harvest(config, checks)
    assert (second.tally.total("stored"), second.tally.known) == (1, 6)
    assert second.is_good


def test_a_file_that_was_still_arriving_comes_in_when_it_is_whole(
    mount: Path, tmp_path: Path, checks: CheckPool
) -> None:
    config = configure(tmp_path / "here", paths=[str(mount)])
    file = mount / "real" / "phone" / "1.png"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert harvest(config, checks).tally.total("stored") == 5
    file.write_bytes(whole)
    assert harvest(config, checks).tally.total("stored") == 1


def test_what_a_person_deleted_stays_away_until_it_is_imported_by_hand(
    mount: Path, tmp_path: Path, checks: CheckPool
) -> None:
    config = configure(tmp_path / "here", paths=[str(mount)])
    harvest(config, checks)
    for file in (config.storage.local_path / "images").rglob("*.png"):
        file.unlink()
    assert harvest(config, checks).tally.total("stored") == 0


def test_a_refusal_is_looked_at_again_when_the_settings_change(mount: Path, tmp_path: Path, checks: CheckPool) -> None:
    (mount / "ai").rename(mount / "mystery")
    config = configure(tmp_path / "here", paths=[str(mount)])
    first = harvest(config, checks)
    assert (first.tally.total("stored"), first.tally.counts["filtered"]["label"]) == (3, 3)
    assert "sources.folder.map" in first.describe()
    assert harvest(config, checks).tally.left_out == 0
    explained = configure(tmp_path / "here", paths=[str(mount)], map=["mystery=ai_generated"])
    assert harvest(explained, checks).tally.total("stored") == 3


def test_a_run_takes_no_more_than_its_limit(mount: Path, tmp_path: Path, checks: CheckPool) -> None:
    config = configure(tmp_path / "here", paths=[str(mount)], limit_per_run=4)
    assert harvest(config, checks, limit=1).tally.total("stored") == 1
    assert harvest(config, checks).tally.total("stored") == 4
    assert harvest(config, checks).tally.total("stored") == 1


def test_a_folder_that_is_not_there_is_a_problem_and_the_others_are_read(
    mount: Path, tmp_path: Path, checks: CheckPool
) -> None:
    config = configure(tmp_path / "here", paths=[str(tmp_path / "away"), str(mount)])
    outcome = harvest(config, checks)
    assert (outcome.result.state, outcome.tally.total("stored")) == ("blocked", 6)
    (state,) = [state for state in source_states(config) if state.name == "folder"]
    assert "there is nothing" in state.problem


@pytest.mark.parametrize("place", ["datasets", "datasets/real", "."])
def test_the_data_folder_is_no_source_of_its_own(place: str, tmp_path: Path, checks: CheckPool) -> None:
    draw(tmp_path / "here" / "datasets" / "real" / "1.png", 1)
    config = configure(tmp_path / "here", paths=[str(tmp_path / "here" / place)])
    outcome = harvest(config, checks)
    assert outcome.result.state == "blocked"
    assert "data folder" in outcome.result.message


def test_a_source_without_a_place_says_what_it_needs(tmp_path: Path, checks: CheckPool) -> None:
    outcome = harvest(configure(tmp_path / "here"), checks)
    assert (outcome.result.state, outcome.result.message) == (
        "blocked",
        "needs sources.folder.paths: what to take in",
    )


def test_columns_that_hold_nothing_known_are_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="what a column can hold"):
        configure(tmp_path, columns={"lable": "x"})


def test_times_up_ends_the_run_and_the_next_goes_on(mount: Path, tmp_path: Path, checks: CheckPool) -> None:
    config = configure(tmp_path / "here", paths=[str(mount)])
    short = config.model_copy(update={"harvest": config.harvest.model_copy(update={"max_run_minutes": -1.0})})
    assert harvest(short, checks).tally.total("stored") == 0
    assert harvest(config, checks).tally.total("stored") == 6
