"""A decision is in the metadata file at once, and undo gives back what was there before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daemon.serving.label_desk import LabelDesk
from handlers.index.gallery import Picture
from utils.config.sections import Storage
from utils.config_loader import Config
from utils.metadata import Metadata, write_metadata


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


def test_a_decision_is_a_persons_and_undo_restores_each_picture(config: Config) -> None:
    desk = LabelDesk(config)
    first, one = picture(config, 1, label=None)
    second, two = picture(config, 2, label="real", label_source="source")
    assert desk.label([first, second], "ai_generated") == 2
    assert said(config, one) == said(config, two) == ("ai_generated", "person")
    assert desk.left_out == {"1", "2"}
    assert desk.decided == 2
    assert "2 pictures" in desk.undo()
    assert said(config, one) == (None, None)
    assert said(config, two) == ("real", "source")
    assert [picture.id for picture in desk.taken_back] == ["1", "2"]
    desk.label([first, second], "real")
    assert list(desk.taken_back) == []
    desk.undo()
    assert (desk.left_out, desk.decided, desk.can_undo, desk.undo()) == (frozenset(), 0, False, "")


def test_other_fields_of_the_file_are_kept(config: Config) -> None:
    known, name = picture(config, 1, label=None, api_data={"prompt": "a cat"})
    LabelDesk(config).label([known], "real")
    assert content(config, name)["api_data"] == {"prompt": "a cat"}


def test_what_cannot_be_written_is_not_counted(config: Config) -> None:
    desk = LabelDesk(config)
    good, one = picture(config, 1, label=None)
    broken, two = picture(config, 2, label=None)
    (config.storage.local_path / two).write_text("{")
    missing = Picture("3", "3", "inbox/3.png", None, None, False, "t", 9, 9, "manual", None)
    assert desk.label([good, broken, missing], "real") == 1
    assert said(config, one) == ("real", "person")


def test_skipped_pictures_are_left_out_and_nothing_is_written(config: Config) -> None:
    desk = LabelDesk(config)
    known, name = picture(config, 1, label=None)
    desk.skip([known])
    assert desk.left_out == {"1"}
    assert said(config, name) == (None, None)
    assert not desk.can_undo
