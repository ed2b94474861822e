from __future__ import annotations

import json
from typing import Any

import pytest

from scrapers.exchange.columns import describe
from scrapers.exchange.mapping import Terms, UnmappedError
from scrapers.exchange.meanings import read_meanings, read_renames
from scrapers.exchange.readers.reader import Item
from utils.errors import OperatorError, SkipItemError


def told(terms: Terms, path: str = "", **columns: Any) -> Any:
    return terms.understand(Item(0, path, columns))


@pytest.mark.parametrize("folder", ["real", "Real", "0_real", "photos", "Nature", "train/real"])
def test_usual_folders_mean_a_photograph(folder: str) -> None:
    assert told(Terms("set"), f"{folder}/1.jpg").label == "real"


@pytest.mark.parametrize("folder", ["fake", "AI Generated", "ai-generated", "synthetic", "1_fake", "test/ai"])
def test_usual_folders_mean_a_generated_picture(folder: str) -> None:
    assert told(Terms("set"), f"{folder}/1.jpg").label == "ai_generated"


def test_the_folder_below_the_label_is_the_source_or_the_generator_and_deeper_ones_are_the_series() -> None:
    real = told(Terms("set"), "train/real/phone/holiday/day 1/1.jpg")
    assert (real.source, real.generator, real.api_data["series"]) == ("phone", None, "real/phone/holiday/day 1")
    made = told(Terms("set"), "fake/flux/1.jpg")
    assert (made.source, made.generator) == ("set", "flux")
    assert "series" not in made.api_data


def test_the_root_folder_names_the_label_when_no_folder_below_does() -> None:
    assert told(Terms("fake", root_name="fake"), "flux/1.jpg").generator == "flux"
    assert told(Terms("fake", root_name="fake"), "real/1.jpg").label == "real"


def test_folders_that_name_both_labels_are_refused_until_one_is_explained() -> None:
    with pytest.raises(SkipItemError, match="both labels"):
        told(Terms("set"), "ai/photos/1.jpg")
    explained = Terms("set", meanings=read_meanings(["photos=ai_generated/painted"]))
    assert told(explained, "ai/photos/1.jpg").generator == "painted"


def test_a_column_stands_over_the_folders() -> None:
    assert told(Terms("set"), "real/1.jpg", label="fake", generator="sd").label == "ai_generated"


@pytest.mark.parametrize("value", ["0", "1", "cat", "SDXL"])
def test_a_label_that_nobody_explained_is_never_guessed(value: str) -> None:
    with pytest.raises(UnmappedError, match=value):
        told(Terms("set"), label=value)


def test_folders_speak_where_a_number_beside_them_says_nothing() -> None:
    assert told(Terms("set"), "fake/flux/1.jpg", cls=0).generator == "flux"
    with pytest.raises(UnmappedError):
        told(Terms("set", columns={"label": "cls"}), "fake/flux/1.jpg", cls=0)


def test_numbers_booleans_and_generators_are_explained_by_the_operator() -> None:
    terms = Terms("set", meanings=read_meanings(["0=real", "1=ai_generated", "SD XL=ai_generated/sdxl", "true=real"]))
    assert told(terms, label=0).label == "real"
    assert told(terms, label=1).label == "ai_generated"
    assert told(terms, label=True).label == "real"
    assert told(terms, label="sd-xl").generator == "sdxl"


def test_no_label_at_all_is_left_out_and_none_is_said_by_name() -> None:
    with pytest.raises(UnmappedError):
        told(Terms("set"), "a/b.jpg")
    assert told(Terms("set", label="none"), "a/b.jpg").label is None


def test_credit_comes_along_and_people_tie_their_pictures_together() -> None:
    found = told(
        Terms("set", license="CC BY 4.0"),
        "real/phone/1.jpg",
        author="Ada",
        url="https://example.org/1",
        license_url="https://creativecommons.org/licenses/by/4.0/",
        prompt="a cat",
        embedding=[1, 2],
    )
    assert found.attribution == {
        "platform": "set",
        "photographer": "Ada",
        "license": "CC BY 4.0",
        "license_url": "https://creativecommons.org/licenses/by/4.0/",
        "url": "https://example.org/1",
    }
    assert found.api_data["creator"] == "phone:Ada"
    assert found.api_data["columns"]["prompt"] == "a cat"
    assert "embedding" not in found.api_data["columns"]


def test_a_web_address_is_no_source() -> None:
    assert told(Terms("set"), label="real", source="https://example.org/1").source == "set"


def test_renames_hold_for_sources_and_generators() -> None:
    terms = Terms("set", renames=read_renames(["3=flux-2", "Phone=pixel"]))
    assert told(terms, label="fake", generator=3).generator == "flux-2"
    assert told(terms, "real/phone/1.jpg").source == "pixel"


def test_a_row_of_our_own_export_comes_back_as_it_was() -> None:
    known = {"label": "ai_generated", "source": "civitai", "generator": "flux", "labelled_by": "person"}
    row = describe(known, {"license": "CC0", "photographer": "Ada"}, {"creator": "civitai:7", "prompt": "a cat"})
    found = told(Terms("again"), "train/ai_generated/1.jpg", **{**row, "creator": "civitai:7"})
    assert (found.label, found.source, found.generator, found.label_source) == (
        "ai_generated",
        "civitai",
        "flux",
        "person",
    )
    assert found.attribution == {"license": "CC0", "photographer": "Ada"}
    assert found.api_data == {"generator": "flux", "creator": "civitai:7", "prompt": "a cat"}


def test_hostile_columns_become_bounded_json() -> None:
    found = told(Terms("set"), label="real", author="\ud800\x00" * 5000, extra="x" * 50_000, number=10**400)
    text = json.dumps([found.attribution, found.api_data])
    assert len(text) < 20_000
    text.encode("utf-8")


@pytest.mark.parametrize("pair", ["cat", "=real", "cat=", "cat=dog"])
def test_a_map_that_cannot_be_read_is_refused(pair: str) -> None:
    with pytest.raises(OperatorError):
        read_meanings([pair])
