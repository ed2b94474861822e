"""What a person has said outlives the picture's absence, an index, and a damaged history; and can be taken back."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3

import pytest
from dataset_kit import Folder, Runner
from typer.testing import CliRunner

from daemon.cli.main import app
from handlers.index.rows import Counts
from handlers.index.schema import INDEX_FILE
from handlers.labels.commands import label_history, set_label, undo_label
from handlers.labels.history import HISTORY_FILE, Entry, standing
from utils.errors import OperatorError

SCRAPED = "6f1c2f64-4a3b-4a8e-9f52-0d5f7f6f2c11"


def test_a_persons_label_returns_with_the_picture(folder: Folder, runner: Runner) -> None:
    folder.picture("real/album/a.png", 1)
    runner.settle()
    set_label(folder.config, "real/album/a.png", "ai_generated", note="six fingers")
    assert runner.settle() == Counts(total=1, ai_generated=1)
    shutil.move(folder.root / "real/album", folder.base / "album")
    runner.settle()
    assert runner.forget() == Counts()
    assert not folder.metadata_files()
    shutil.move(folder.base / "album", folder.root / "real/album")
    assert runner.settle() == Counts(total=1, ai_generated=1)
    said = folder.only_metadata()
    assert (said["label"], said["label_source"], said["note"]) == ("ai_generated", "person", "six fingers")


def test_an_edited_label_returns_too_and_needs_no_index(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    runner.settle()
    (metadata,) = folder.metadata_files()
    metadata.write_text(metadata.read_text().replace('"label": "real"', '"label": null'))
    assert runner.settle() == Counts(total=1, unlabeled=1)
    file.rename(folder.base / "a.png")
    runner.settle()
    runner.forget()
    runner.reconciler.close()
    for leftover in (folder.base / "state").glob("index.sqlite*"):
        leftover.unlink()
    (folder.base / "a.png").rename(folder.root / "real/other name.png")
    runner.restart()
    assert runner.settle() == Counts(total=1, unlabeled=1)


def test_an_index_of_another_version_is_made_anew_without_losing_what_only_the_history_has(
    folder: Folder, runner: Runner
) -> None:
    folder.picture("real/kept.png", 1)
    file = folder.picture("real/a.png", 2)
    runner.settle()
    set_label(folder.config, "real/a.png", "ai_generated", note="six fingers")
    runner.settle()
    file.rename(folder.base / "a.png")  # with its metadata, it is gone from the data folder
    runner.settle()
    runner.forget()
    runner.reconciler.close()
    index = folder.base / "state" / INDEX_FILE
    with contextlib.closing(sqlite3.connect(index)) as db:
        db.execute("PRAGMA user_version = 5")
        db.execute("DROP TABLE bands")
    (folder.base / "a.png").rename(folder.root / "real/a.png")
    runner.restart()
    assert runner.settle() == Counts(total=2, real=1, ai_generated=1)
    notes = [json.loads(metadata.read_text()).get("note") for metadata in folder.metadata_files()]
    assert sorted(notes, key=str) == [None, "six fingers"]
    assert [name.name for name in index.parent.glob("index.sqlite.*")] == []  # a cache: nothing of it is kept


def test_labels_are_taken_back_one_by_one(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    set_label(folder.config, "real/a.png", "ai_generated")
    runner.settle()
    set_label(folder.config, "real/a.png", None)
    assert runner.settle() == Counts(total=1, unlabeled=1)
    assert undo_label(folder.config, "real/a.png").label == "ai_generated"
    assert runner.settle() == Counts(total=1, ai_generated=1)
    assert undo_label(folder.config, "real/a.png").label == "real"
    assert runner.settle() == Counts(total=1, real=1)
    assert folder.only_metadata()["label_source"] == "folder"
    with pytest.raises(OperatorError, match="no label by a person"):
        undo_label(folder.config, "real/a.png")
    actions = [(entry.action, entry.label) for entry in label_history(folder.config, "real/a.png")]
    assert actions == [("label", "ai_generated"), ("label", None), ("undo", None), ("undo", None)]


def test_a_sources_label_counts_again_after_an_undo(folder: Folder, runner: Runner) -> None:
    folder.picture(f"images/2025/10/28/{SCRAPED}.jpg", 1)
    folder.metadata(SCRAPED, "real")
    runner.settle()
    set_label(folder.config, SCRAPED, "ai_generated")
    assert runner.settle() == Counts(total=1, ai_generated=1)
    undo_label(folder.config, SCRAPED)
    assert runner.settle() == Counts(total=1, real=1)


def test_deleting_the_metadata_of_a_picture_takes_its_label_back_for_good(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    runner.settle()
    set_label(folder.config, "real/a.png", "ai_generated")
    runner.settle()
    folder.metadata_files()[0].unlink()
    runner.settle(1)
    assert runner.settle(11) == Counts(total=1, real=1)
    file.rename(folder.base / "a.png")
    runner.settle()
    runner.forget()
    (folder.base / "a.png").rename(file)
    assert runner.settle() == Counts(total=1, real=1)


def test_losing_all_metadata_takes_no_label_back(folder: Folder, runner: Runner) -> None:
    for seed in range(24):
        folder.picture(f"real/{seed}.png", seed)
    runner.settle()
    set_label(folder.config, "real/7.png", "ai_generated")
    assert runner.settle().ai_generated == 1
    shutil.rmtree(folder.root / "meta")
    runner.settle(1)
    assert runner.settle(11) == Counts(total=24, real=23, ai_generated=1)


@pytest.mark.parametrize("damage", [b"no database at all" * 100, None])
def test_a_damaged_or_lost_history_is_filled_from_the_metadata(
    folder: Folder, runner: Runner, damage: bytes | None
) -> None:
    file = folder.picture("real/a.png", 1)
    runner.settle()
    set_label(folder.config, "real/a.png", "ai_generated")
    runner.settle()
    runner.reconciler.close()
    for leftover in (folder.base / "state").glob(f"{HISTORY_FILE}*"):
        leftover.unlink()
    if damage is not None:
        (folder.base / "state" / HISTORY_FILE).write_bytes(damage)
    runner.restart()
    file.rename(folder.base / "a.png")
    runner.settle()
    runner.forget()
    (folder.base / "a.png").rename(file)
    assert runner.settle() == Counts(total=1, ai_generated=1)


def test_a_label_that_could_not_be_written_is_not_in_the_history(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    (metadata,) = folder.metadata_files()
    whole = metadata.read_text()
    metadata.write_text(json.dumps(json.loads(whole) | {"odd": "x" * (1 << 20)}))
    with pytest.raises(Exception, match="larger"):
        set_label(folder.config, "real/a.png", "ai_generated")
    metadata.write_text(whole)
    assert standing(label_history(folder.config, "real/a.png")) == []


def test_the_command_labels_shows_and_undoes(folder: Folder, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    for name in ("local", "models", "state"):
        monkeypatch.setenv(f"EXPOSR_STORAGE__{name.upper()}_PATH", str(getattr(folder.config.storage, f"{name}_path")))
    command = CliRunner()
    assert command.invoke(app, ["label", "real/a.png", "ai_generated", "--note", "seen in an advert"]).exit_code == 0
    shown = command.invoke(app, ["label", "real/a.png", "--history"]).output
    assert "ai_generated" in shown and "seen in an advert" in shown
    assert "real" in command.invoke(app, ["label", "real/a.png", "--undo"]).output
    assert runner.settle() == Counts(total=1, real=1)
    assert command.invoke(app, ["label", "real/a.png"]).exit_code != 0


def test_what_stands_is_what_was_not_taken_back() -> None:
    one, two = Entry("t", "label", "real"), Entry("t", "label", "ai_generated")
    undo, withdraw = Entry("t", "undo"), Entry("t", "withdraw")
    assert standing([one, two, undo]) == [one]
    assert standing([one, two, undo, undo, undo]) == []
    assert standing([one, withdraw, two]) == [two]
