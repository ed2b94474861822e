"""A decision is in the metadata file at once, and undo gives back what was there before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daemon.serving.label_desk import HOLD_SECONDS, LabelDesk, Labelled
from fake_clock import FakeClock
from handlers.index.gallery import Picture
from utils.config.sections import Storage
from utils.config_loader import Config
from utils.metadata import Metadata, write_metadata

ANN, BOB = "session of Ann", "session of Bob"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "data").mkdir()
    paths = {"local_path": tmp_path / "data", "models_path": tmp_path / "models", "state_path": tmp_path / "state"}
    return Config(storage=Storage(**paths))


def picture(config: Config, number: int, **known: Any) -> tuple[Picture, str]:
    name = f"meta/2026/01/01/{number}.json"
    image = f"images/2026/01/01/{number}.png"
    file = config.storage.local_path / image
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"%d" % number)
    write_metadata(
        config.storage.local_path / name, Metadata(str(number), "manual", timestamp="t", path=image, sha256="", **known)
    )
    source = known.get("label_source")
    return Picture(f"{number}", f"{number}", image, known["label"], source, False, "t", 9, 9, "manual", None), name


def content(config: Config, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((config.storage.local_path / name).read_text())
    return value


def said(config: Config, name: str) -> tuple[str | None, str | None]:
    return content(config, name)["label"], content(config, name)["label_source"]


@pytest.fixture
def desk(config: Config, fake_clock: FakeClock) -> LabelDesk:
    return LabelDesk(config, fake_clock)


def test_a_decision_is_a_persons_and_undo_restores_each_picture(config: Config, desk: LabelDesk) -> None:
    first, one = picture(config, 1, label=None)
    second, two = picture(config, 2, label="real", label_source="source")
    assert desk.label(ANN, [first, second], "ai_generated") == Labelled(written=2)
    assert said(config, one) == said(config, two) == ("ai_generated", "person")
    assert desk.left_out(ANN) == {"1", "2"}
    assert desk.person(ANN).decided == 2
    assert desk.undo(ANN) == "Taken back: 2 pictures."
    assert said(config, one) == (None, None)
    assert said(config, two) == ("real", "source")
    assert [picture.id for picture in desk.pop_taken_back(ANN)] == ["1", "2"]
    assert desk.pop_taken_back(ANN) == []  # shown once; after that, what is most urgent comes first again
    desk.label(ANN, [first, second], "real")
    desk.undo(ANN)
    assert (desk.left_out(ANN), desk.person(ANN).decided, desk.undo(ANN)) == (frozenset(), 0, "")


def test_other_fields_of_the_file_are_kept(config: Config, desk: LabelDesk) -> None:
    known, name = picture(config, 1, label=None, api_data={"prompt": "a cat"})
    desk.label(ANN, [known], "real")
    assert content(config, name)["api_data"] == {"prompt": "a cat"}


def test_what_cannot_be_written_is_not_counted(config: Config, desk: LabelDesk) -> None:
    good, one = picture(config, 1, label=None)
    broken, two = picture(config, 2, label=None)
    (config.storage.local_path / two).write_text("{")
    missing = Picture("3", "3", "inbox/3.png", None, None, False, "t", 9, 9, "manual", None)
    assert desk.label(ANN, [good, broken, missing], "real") == Labelled(written=1, failed=2)
    assert said(config, one) == ("real", "person")


def test_skipped_pictures_are_left_out_and_nothing_is_written(config: Config, desk: LabelDesk) -> None:
    known, name = picture(config, 1, label=None)
    desk.skip(ANN, [known])
    assert desk.left_out(ANN) == desk.left_out(BOB) == {"1"}
    assert said(config, name) == (None, None)
    assert not desk.person(ANN).decisions
    assert desk.label(BOB, [known], "real").written == 1  # who looked at it anyway may decide


def test_what_one_looks_at_is_kept_from_the_other_for_a_while(
    config: Config, desk: LabelDesk, fake_clock: FakeClock
) -> None:
    first, second = picture(config, 1, label=None)[0], picture(config, 2, label=None)[0]
    desk.hold(ANN, [first])
    assert desk.left_out(BOB) == frozenset()  # a look alone keeps nothing
    desk.undo(ANN)
    desk.undo(BOB)
    desk.hold(ANN, [first])
    desk.hold(BOB, [second])
    assert (desk.left_out(ANN), desk.left_out(BOB)) == ({"2"}, {"1"})
    desk.hold(ANN, [])
    assert desk.left_out(BOB) == frozenset()
    fake_clock.pass_time(HOLD_SECONDS + 1)
    assert desk.left_out(ANN) == frozenset()


def test_nobody_overrides_unseen_or_takes_back_what_another_has_decided(config: Config, desk: LabelDesk) -> None:
    known, name = picture(config, 1, label=None)
    assert desk.label(ANN, [known], "real").written == 1
    assert desk.label(BOB, [known], "ai_generated") == Labelled(taken=1)
    assert said(config, name) == ("real", "person")
    assert desk.undo(BOB) == ""
    assert desk.label(BOB, [known], "ai_generated", override=True).written == 1  # on the picture's own page
    assert "Not taken back" in desk.undo(ANN)  # what counts now is Bob's word
    assert said(config, name) == ("ai_generated", "person")
    desk.undo(BOB)
    assert said(config, name) == ("real", "person")


def test_undo_of_a_picture_that_is_gone_says_so(config: Config, desk: LabelDesk) -> None:
    stays, one = picture(config, 1, label=None)
    goes, two = picture(config, 2, label=None)
    desk.label(ANN, [stays, goes], "real")
    (config.storage.local_path / goes.path).unlink()
    (config.storage.local_path / two).unlink()
    assert desk.undo(ANN) == "Taken back: 2 pictures. Without 1 that changed since or went away."
    assert said(config, one) == (None, None)
