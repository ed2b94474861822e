"""A data folder that is gone, replaced or emptied: an alarm, never a deletion."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dataset_kit import Folder, Runner

from handlers.catalog import Catalog
from handlers.index.rows import Counts
from handlers.labels.commands import reindex
from handlers.loss import Inventory, is_loss
from utils.data_folder import ACCEPT_COMMAND, MARKER_NAME, DataFolder, Identity, judge_root, require_data_folder
from utils.errors import OperatorError

PICTURES = 24  # more than the smallest loss


@pytest.fixture
def filled(folder: Folder, runner: Runner) -> Folder:
    for seed in range(PICTURES):
        folder.picture(f"{('real', 'ai_generated')[seed % 2]}/{seed}.png", seed)
    assert runner.settle() == FULL
    assert len(folder.metadata_files()) == PICTURES
    return folder


FULL = Counts(total=PICTURES, real=PICTURES // 2, ai_generated=PICTURES // 2)
AWAY = Counts(total=PICTURES, real=PICTURES // 2, ai_generated=PICTURES // 2, away=PICTURES)


def empty(folder: Folder) -> None:
    for entry in folder.root.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def rename_away(folder: Folder) -> None:
    folder.root.rename(folder.base / "away")


def replace_with_nothing(folder: Folder) -> None:
    rename_away(folder)
    folder.root.mkdir()


def replace_with_others(folder: Folder) -> None:
    replace_with_nothing(folder)
    folder.picture("real/stranger.png", 1000)


def remove_most(folder: Folder) -> None:
    for file in [*sorted(folder.root.rglob("*.png"))[3:], *folder.metadata_files()[3:]]:
        file.unlink()


@pytest.mark.parametrize("lose", [rename_away, replace_with_nothing, replace_with_others, empty, remove_most])
@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_lost_is_kept_and_counts_again_when_it_is_back(
    filled: Folder, runner: Runner, lose: object, restarts: bool
) -> None:
    shutil.copytree(filled.root, filled.base / "copy")
    ids = {file.name for file in filled.metadata_files()}
    lose(filled)  # type: ignore[operator]
    if restarts:
        runner.restart()
    assert runner.settle() == AWAY
    assert runner.forget() == AWAY
    assert runner.reconciler.lost and ACCEPT_COMMAND in runner.reconciler.missing()
    assert filled.root.exists() == (lose is not rename_away)
    if filled.root.exists():
        shutil.rmtree(filled.root)
    (filled.base / "copy").rename(filled.root)
    assert runner.settle() == FULL
    assert runner.forget() == FULL
    assert not runner.reconciler.missing()
    assert {file.name for file in filled.metadata_files()} == ids


def test_what_went_in_steps_is_a_loss_too(filled: Folder, runner: Runner) -> None:
    shutil.copytree(filled.root, filled.base / "copy")
    for name in ("ai_generated", "meta", "real"):
        shutil.rmtree(filled.root / name)
        runner.reconciler.compare_all()
        runner.clock.pass_time(0.5)
    assert runner.reconciler.count() == AWAY
    assert runner.forget() == AWAY
    for name in ("ai_generated", "meta", "real"):
        shutil.move(filled.base / "copy" / name, filled.root / name)
    assert runner.settle(12) == FULL
    assert len(filled.metadata_files()) == PICTURES


def test_what_was_moved_before_it_was_lost_is_not_looked_for_where_it_was_before(
    filled: Folder, runner: Runner
) -> None:
    (filled.root / "real").rename(filled.root / "aside")
    runner.reconciler.compare_all()  # the old places are missing, and not forgotten yet
    before = runner.reconciler.count()
    shutil.copytree(filled.root, filled.base / "copy")
    empty(filled)
    assert runner.settle().away == PICTURES
    shutil.rmtree(filled.root)
    (filled.base / "copy").rename(filled.root)
    assert runner.settle() == before
    assert not runner.reconciler.missing()


def test_pictures_that_are_deleted_before_their_metadata_is_written_are_no_loss(
    folder: Folder, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalog, "do_chores", lambda catalog: None)
    files = [folder.picture(f"real/{seed}.png", seed) for seed in range(PICTURES)]
    assert runner.settle().real == PICTURES
    for file in files[2:]:
        file.unlink()
    runner.reconciler.compare_all()
    assert (runner.reconciler.count().real, runner.reconciler.count().away) == (2, 0)


def test_pictures_that_a_person_deletes_are_no_loss(filled: Folder, runner: Runner) -> None:
    shutil.rmtree(filled.root / "real")
    shutil.rmtree(filled.root / "ai_generated")
    assert runner.settle() == Counts()
    assert runner.forget() == Counts()
    assert not filled.metadata_files()


def test_a_person_may_confirm_a_loss(filled: Folder, runner: Runner) -> None:
    empty(filled)
    assert runner.settle() == AWAY
    DataFolder(filled.root, filled.base / "state").accept()
    assert runner.settle() == Counts()
    runner.forget()
    assert not runner.reconciler.missing()
    filled.picture("real/new.png", 1)
    assert runner.settle() == Counts(total=1, real=1)
    runner.restart()
    assert runner.settle() == Counts(total=1, real=1)


def test_files_of_a_disk_that_went_are_forgotten_when_a_person_says_so(filled: Folder, runner: Runner) -> None:
    with runner.reconciler._index.transaction():
        runner.reconciler._index.set_device(b"real", 12345)
    shutil.rmtree(filled.root / "real")
    (filled.root / "real").mkdir()
    half = PICTURES // 2
    assert runner.settle() == Counts(total=PICTURES, real=half, ai_generated=half, away=half)
    DataFolder(filled.root, filled.base / "state").accept()
    runner.settle()
    assert runner.forget() == Counts(total=half, ai_generated=half)
    assert not runner.reconciler.missing()


def test_a_loss_is_not_over_while_a_restore_goes_on(filled: Folder, runner: Runner) -> None:
    replace_with_nothing(filled)
    assert runner.settle() == AWAY
    away = filled.base / "away"
    shutil.copytree(away / "meta", filled.root / "meta")
    shutil.copytree(away / "real", filled.root / "real")
    assert runner.settle() == AWAY
    shutil.copytree(away / "ai_generated", filled.root / "ai_generated")
    assert runner.settle() == FULL


def test_the_same_data_without_its_marker_is_known_by_what_is_in_it(filled: Folder, runner: Runner) -> None:
    rename_away(filled)
    shutil.copytree(filled.base / "away", filled.root, ignore=shutil.ignore_patterns(MARKER_NAME))
    assert runner.settle() == FULL
    assert (filled.root / MARKER_NAME).is_file()


def test_nobody_makes_a_data_folder_anew(filled: Folder, tmp_path: Path) -> None:
    rename_away(filled)
    with pytest.raises(OperatorError, match=ACCEPT_COMMAND):
        require_data_folder(filled.root, filled.base / "state")
    with pytest.raises(OperatorError, match=ACCEPT_COMMAND):
        reindex(filled.config)
    with pytest.raises(OperatorError, match="mkdir"):
        DataFolder(filled.root, filled.base / "state").accept()
    assert not filled.root.exists()


def test_the_folder_is_made_before_the_first_start(tmp_path: Path) -> None:
    require_data_folder(tmp_path / "a/data", tmp_path / "state")
    assert (tmp_path / "a/data").is_dir()


def test_a_folder_is_known_by_its_marker_or_by_its_place_on_the_disk() -> None:
    known = Identity("id", 1, 2)
    assert judge_root(None, known) == "new"
    assert judge_root(known, None) == "missing"
    assert judge_root(known, Identity("id", 7, 8)) == "known"  # copied, or its disk got another number
    assert judge_root(known, Identity("", 1, 2)) == "known"  # the marker was deleted
    assert judge_root(known, Identity("", 7, 8)) == "strange"
    assert judge_root(known, Identity("other", 1, 2)) == "strange"


@pytest.mark.parametrize(
    ("now", "lost"),
    [
        (Inventory(0, 1, 0, 1), True),  # nothing at all is left
        (Inventory(0, 12, 12, 0), False),  # a person deleted the pictures
        (Inventory(0, 1000, 1000, 0), False),
        (Inventory(400, 600, 400, 600), True),
        (Inventory(500, 500, 500, 500), False),  # half
        (Inventory(5, 19, 5, 19), False),  # few
        (Inventory(400, 600, 1000, 0), False),
        (Inventory(10, 0, 0, 10), False),  # only the metadata went
    ],
)
def test_a_loss_takes_pictures_and_metadata(now: Inventory, lost: bool) -> None:
    assert is_loss(now) == lost
