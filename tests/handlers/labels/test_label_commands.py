"""What the command line does with the data."""

from __future__ import annotations

import json

import pytest
from dataset_kit import Folder, Runner, wait_for

from handlers.dataset import Dataset
from handlers.index.rows import Counts
from handlers.index.schema import INDEX_FILE
from handlers.labels.commands import list_problems, reindex, set_label
from utils.errors import OperatorError, SkipItemError


def test_a_label_can_be_set_by_path_and_by_id_and_outranks_the_folder(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    runner.settle()
    sample_id = folder.only_metadata()["id"]
    assert set_label(folder.config, "real/a.png", "ai_generated").label == "ai_generated"
    assert runner.settle() == Counts(total=1, ai_generated=1)
    assert set_label(folder.config, str(file), None).path == "real/a.png"
    assert runner.settle() == Counts(total=1, unlabeled=1)
    set_label(folder.config, sample_id, "real")
    assert runner.settle() == Counts(total=1, real=1)
    assert folder.only_metadata()["label_source"] == "person"


def test_a_label_for_a_copy_is_the_samples(folder: Folder, runner: Runner) -> None:
    data = folder.picture("real/a.png", 1).read_bytes()
    (folder.root / "ai_generated").mkdir()
    (folder.root / "ai_generated/b.png").write_bytes(data)
    assert runner.settle().conflicts == 1
    set_label(folder.config, "ai_generated/b.png", "ai_generated")
    assert runner.settle() == Counts(total=1, ai_generated=1, duplicates=1)


def test_a_picture_that_was_never_indexed_can_be_labelled(folder: Folder, runner: Runner) -> None:
    folder.picture("inbox/a.png", 1)
    labelled = set_label(folder.config, "inbox/a.png", "real")
    assert runner.settle() == Counts(total=1, real=1)
    assert folder.only_metadata()["id"] == labelled.id


def test_a_label_without_the_index_makes_no_second_metadata_file(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    index = folder.config.storage.state_path / INDEX_FILE
    aside = index.rename(index.with_name("aside"))
    set_label(folder.config, "real/a.png", "ai_generated")
    assert folder.only_metadata()["label"] == "ai_generated"
    index.write_bytes(b"not now" * 1000)
    with pytest.raises(OperatorError, match="cannot be read now"):
        set_label(folder.config, "real/a.png", "real")
    assert folder.only_metadata()["label"] == "ai_generated"
    aside.rename(index)


def test_a_label_meets_metadata_of_the_content_that_lies_elsewhere(folder: Folder, runner: Runner) -> None:
    first = folder.picture("real/a.png", 1)
    runner.settle()
    (folder.root / "inbox").mkdir()
    (folder.root / "inbox/copy.png").write_bytes(first.read_bytes())  # not indexed yet
    set_label(folder.config, "inbox/copy.png", "ai_generated")
    assert folder.only_metadata()["label"] == "ai_generated"


def test_scraped_metadata_keeps_all_else(folder: Folder, runner: Runner) -> None:
    folder.picture("images/2025/10/28/abc.jpg", 1)
    folder.metadata("abc", "real", attribution={"photographer": "J"}, extra=1)
    runner.settle()
    set_label(folder.config, "abc", "ai_generated")
    assert runner.settle() == Counts(total=1, ai_generated=1)
    said = folder.only_metadata()
    assert (said["attribution"], said["extra"], said["source"]) == ({"photographer": "J"}, 1, "pexels")


@pytest.mark.parametrize("name", ["nothing", "../outside.png", "real", "*", ""])
def test_what_is_no_picture_cannot_be_labelled(folder: Folder, name: str) -> None:
    folder.picture("../outside.png", 1)
    folder.picture("real/a.png", 2)
    with pytest.raises(OperatorError, match="neither a picture"):
        set_label(folder.config, name, "real")


def test_broken_metadata_is_not_overwritten(folder: Folder) -> None:
    folder.metadata("abc", "real").write_text("{")
    with pytest.raises(SkipItemError):
        set_label(folder.config, "abc", "real")


def test_a_running_data_set_notices(dataset: Dataset, folder: Folder) -> None:
    folder.picture("inbox/a.png", 1)
    wait_for(lambda: dataset.counts().unlabeled == 1)
    set_label(folder.config, "inbox/a.png", "real")
    wait_for(lambda: dataset.counts() == Counts(total=1, real=1))


def test_reindex_reads_everything_again_and_says_how_far_it_is(folder: Folder) -> None:
    for seed in range(3):
        folder.picture(f"real/{seed}.png", seed)
    (folder.root / "real/words.jpg").write_text("words")
    seen: list[tuple[int, int]] = []
    counts = reindex(folder.config, lambda done, total: seen.append((done, total)))
    assert counts == Counts(total=3, real=3, rejected=1)
    assert seen[-1] == (4, 4)
    ids = {json.loads(file.read_text())["id"] for file in folder.metadata_files()}
    assert reindex(folder.config) == counts
    assert {json.loads(file.read_text())["id"] for file in folder.metadata_files()} == ids
    assert [problem.path for problem in list_problems(folder.config)] == ["real/words.jpg"]


def test_without_an_index_there_are_no_problems_to_list(folder: Folder) -> None:
    assert list_problems(folder.config) == []
