from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from datasets_made import config_in, draw, write_parquet
from hub_double import NAME, HubDouble

from scrapers.exchange.hub import Hub
from scrapers.exchange.mapping import Terms
from scrapers.exchange.readers.reader import ReaderOptions
from scrapers.exchange.run import Imported, Request, run_import, split_name
from scrapers.harvest import Harvest
from scrapers.outcomes.outcome import SourceOutcome
from utils.errors import OperatorError, RetryLaterError, StopRunError
from utils.images.check_pool import CheckPool
from utils.metadata import read_metadata

pytest.importorskip("pyarrow")
PICTURES = draw(12)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubDouble]:
    double = HubDouble()
    for number, name in enumerate(("data/train-0.parquet", "data/train-1.parquet", "data/test-0.parquet")):
        file = write_parquet(tmp_path / "made.parquet", PICTURES[4 * number : 4 * number + 4])
        double.files[name] = file.read_bytes()
    double.files["README.md"] = b"x"
    with double.running():
        yield double


def take(hub: HubDouble, folder: Path, checks: CheckPool, only: str = "", *, is_dry: bool = False) -> Imported:
    options = ReaderOptions(only=only)
    request = Request(f"hf:{NAME}", Terms(name=NAME), options, is_dry=is_dry)
    return asyncio.run(run_import(config_in(folder), request, "run", Hub(None, hub.url), checks=checks))


def test_a_dataset_comes_in_at_a_commit_with_its_licence(hub: HubDouble, tmp_path: Path, checks: CheckPool) -> None:
    taken = take(hub, tmp_path / "here", checks)
    assert taken.tally.total("stored") == len(PICTURES)
    assert taken.commit == hub.commit
    metadata = read_metadata(next((tmp_path / "here" / "datasets" / "meta").rglob("*.json")))
    assert metadata.attribution["license"] == "cc-by-4.0"
    assert metadata.api_data["import"]["revision"] == hub.commit
    assert metadata.api_data["import"]["dataset"] == f"hf:{NAME}"
    assert not list((tmp_path / "here" / "state" / "hub").rglob("*.parquet"))


def test_a_file_that_was_taken_is_not_fetched_again_and_new_ones_are(
    hub: HubDouble, tmp_path: Path, checks: CheckPool
) -> None:
    take(hub, tmp_path / "here", checks)
    more = draw(3, first_seed=len(PICTURES))
    hub.files["data/train-2.parquet"] = write_parquet(tmp_path / "made.parquet", more).read_bytes()
    again = take(hub, tmp_path / "here", checks)
    assert (again.tally.total("stored"), again.tally.whole_files) == (3, 3)
    assert set(hub.downloads.values()) == {1}


def test_the_source_takes_in_what_is_new_on_the_branch(hub: HubDouble, tmp_path: Path, checks: CheckPool) -> None:
    settings = {"enabled": True, "datasets": [NAME], "base_url": hub.url, "columns": {"label": "label"}}
    config = config_in(tmp_path / "here", sources={"hf": settings})

    def run() -> SourceOutcome:
        (outcome,) = asyncio.run(Harvest(config, "run", ["hf"], checks=checks).run())
        return outcome

    assert run().tally.total("stored") == len(PICTURES)
    assert (run().tally.total("stored"), run().result.state) == (0, "finished")
    hub.files["data/train-2.parquet"] = write_parquet(
        tmp_path / "made.parquet", draw(3, first_seed=len(PICTURES))
    ).read_bytes()
    assert run().tally.total("stored") == 3
    assert set(hub.downloads.values()) == {1}
    hub.is_gated = True
    hub.files["data/train-3.parquet"] = b"x"
    assert run().result.state == "blocked"


def test_only_chooses_files(hub: HubDouble, tmp_path: Path, checks: CheckPool) -> None:
    assert take(hub, tmp_path / "here", checks, only="data/test-*").tally.total("stored") == 4
    assert set(hub.downloads) == {"data/test-0.parquet"}


def test_a_dry_run_stores_nothing(hub: HubDouble, tmp_path: Path, checks: CheckPool) -> None:
    assert take(hub, tmp_path / "here", checks, is_dry=True).tally.total("stored") == len(PICTURES)
    assert not (tmp_path / "here" / "datasets").exists()
    assert not list((tmp_path / "here").rglob("*.parquet"))


def test_a_gated_dataset_says_where_to_ask(hub: HubDouble, tmp_path: Path, checks: CheckPool) -> None:
    hub.is_gated = True
    with pytest.raises(OperatorError, match=r"accept its terms at .* HF_TOKEN"):
        take(hub, tmp_path / "here", checks)


def test_a_dataset_of_loose_pictures_is_pointed_to_the_hubs_conversion(
    hub: HubDouble, tmp_path: Path, checks: CheckPool
) -> None:
    hub.files = {"1.jpg": PICTURES[0]}
    with pytest.raises(OperatorError, match="--revision refs/convert/parquet"):
        take(hub, tmp_path / "here", checks)


def test_a_hub_that_cannot_be_reached_is_for_later(tmp_path: Path, checks: CheckPool) -> None:
    gone = HubDouble()
    gone.url = "http://127.0.0.1:9"
    with pytest.raises(RetryLaterError, match="cannot be reached"):
        take(gone, tmp_path / "here", checks)


def test_a_file_that_does_not_fit_is_not_fetched(hub: HubDouble, tmp_path: Path) -> None:
    found = Hub(None, hub.url).find(NAME, "main")
    with pytest.raises(StopRunError, match="min_free_gb"):
        Hub(None, hub.url).download(found, found.files[0], tmp_path, min_free_gb=1e9)
    assert not hub.downloads


@pytest.mark.parametrize("url", ["http://example.org", "ftp://example.org", "file:///etc"])
def test_a_hub_is_asked_over_https_alone(url: str) -> None:
    with pytest.raises(OperatorError, match="https"):
        Hub(None, url)


def test_a_name_may_carry_its_revision() -> None:
    assert split_name("hf:a/b@c0ffee") == ("hf:a/b", "c0ffee")
    assert split_name("hf:a/b") == ("hf:a/b", "")
    assert split_name("some/folder@home") == ("some/folder@home", "")
    with pytest.raises(OperatorError, match="OWNER/NAME"):
        split_name("hf:b")
