"""What people put into the data folder, and write into it, as it comes from phones, editors and downloads."""

from __future__ import annotations

import json

import pytest
from dataset_kit import Folder, Runner

from handlers.index.rows import Counts

CLIP = b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  " + bytes(100)


def said_of(folder: Folder, runner: Runner) -> tuple[str | None, str | None]:
    (row,) = runner.reconciler._index.connection.execute("SELECT label, label_source FROM samples").fetchall()
    return row[0], row[1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_label_saved_with_a_byte_order_mark_counts(folder: Folder, runner: Runner, encoding: str) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    (file,) = folder.metadata_files()
    edited = json.loads(file.read_text()) | {"label": "ai_generated"}
    file.write_text(json.dumps(edited), encoding=encoding)
    assert runner.settle() == Counts(total=1, ai_generated=1)
    assert said_of(folder, runner) == ("ai_generated", "person")


@pytest.mark.parametrize(
    ("field", "value"),
    [("timestamp", 17), ("attribution", []), ("api_data", "x"), ("source", 3), ("id", None), ("label_source", "me")],
)
def test_one_wrong_field_does_not_void_a_persons_label(
    folder: Folder, runner: Runner, field: str, value: object
) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    (file,) = folder.metadata_files()
    edited = json.loads(file.read_text()) | {"label": "ai_generated", field: value}
    file.write_text(json.dumps(edited))
    assert runner.settle() == Counts(total=1, ai_generated=1)
    assert said_of(folder, runner) == ("ai_generated", "person")
    assert json.loads(file.read_text()) == edited, "what has a fault is not written over"
    (problem,) = runner.problems()
    assert problem.reason.startswith(f"{field} is {value!r}") and problem.reason.endswith("the rest counts")


def test_a_label_that_nobody_knows_leaves_the_one_from_before(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    (file,) = folder.metadata_files()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"label": "fake"}))
    assert runner.settle() == Counts(total=1, real=1)
    (problem,) = runner.problems()
    assert "label is 'fake'" in problem.reason and "the label from before stays" in problem.reason


@pytest.mark.parametrize("first", ["still", "clip"])
def test_of_a_live_photo_the_still_counts_and_the_clip_is_its_companion(
    folder: Folder, runner: Runner, first: str
) -> None:
    clip = folder.root / "real/IMG_0001.MOV"
    clip.parent.mkdir()
    if first == "clip":
        clip.write_bytes(CLIP)
        assert runner.settle() == Counts(rejected=1)
    folder.picture("real/IMG_0001.HEIC", 1, format="HEIF")
    clip.write_bytes(CLIP)
    assert runner.settle() == Counts(total=1, real=1)
    runner.reconciler.compare({b"real": {b"IMG_0001.MOV"}}, set())
    runner.finish()
    assert not runner.problems() and clip.exists()
    (folder.root / "real/IMG_0002.MOV").write_bytes(CLIP)
    assert runner.settle() == Counts(total=1, real=1, rejected=1)
    assert "save a frame of it" in runner.problems()[0].reason


def test_an_archive_is_reported_with_the_command_that_unpacks_it(folder: Folder, runner: Runner) -> None:
    archive = folder.root / "holidays.zip"
    archive.write_bytes(b"PK\x03\x04" + bytes(100))
    assert runner.settle() == Counts(rejected=1)
    (problem,) = runner.problems()
    assert problem.reason.endswith(f"unzip -n {archive} -d {folder.root / 'holidays'}")
