"""What people put into the data folder, and write into it, as it comes from phones, editors and downloads."""

from __future__ import annotations

import json
import os
from collections.abc import MutableMapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from dataset_kit import Folder, Runner, draw
from structlog.testing import capture_logs

from encoded_pictures import WORKFLOW, encode, png_chunk, with_chunks
from handlers.index.problem_pages import read_problems
from handlers.index.rows import Counts
from handlers.labels.commands import set_label, unlabelled_folders
from utils.config.sections import Intake
from utils.errors import OperatorError
from utils.images.check_pool import CheckLimits, CheckPool
from utils.images.facts import CheckResult

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
    folder.picture("real/PXL_3.MP.jpg", 3)
    (folder.root / "real/PXL_3.MP").write_bytes(CLIP)
    assert runner.settle() == Counts(total=2, real=2)
    (folder.root / "real/IMG_0002.MOV").write_bytes(CLIP)
    assert runner.settle() == Counts(total=2, real=2, rejected=1)
    assert "save a frame of it" in runner.problems()[0].reason


def test_an_archive_is_reported_with_the_command_that_unpacks_it(folder: Folder, runner: Runner) -> None:
    archive = folder.root / "holidays.zip"
    archive.write_bytes(b"PK\x03\x04" + bytes(100))
    assert runner.settle() == Counts(rejected=1)
    (problem,) = runner.problems()
    assert problem.reason.endswith(f"unzip -n {archive} -d {folder.root / 'holidays'}")


def test_side_data_that_was_left_out_is_a_note_and_the_picture_counts(folder: Folder, runner: Runner) -> None:
    file = folder.root / "ai_generated/comfy.png"
    file.parent.mkdir()
    file.write_bytes(with_chunks(encode(draw(1), "png"), png_chunk(b"zTXt", WORKFLOW)))
    assert runner.settle() == Counts(total=1, ai_generated=1)
    for name in ("comfy.png", "renamed.png"):
        file = file.rename(file.with_name(name))
        runner.settle()
        (problem,) = runner.problems()
        assert (problem.kind, problem.path) == ("note", f"ai_generated/{name}")
        assert "zTXt chunk left out: more than 1 MB" in problem.reason
    (note,) = read_problems(runner.reconciler._index.connection, "note", "", is_paired=False).problems
    assert note.path == "ai_generated/renamed.png" and note.sha256 is not None


def change_in_place(file: Path, content: bytes) -> None:
    """Other bytes of the same number, with the time put back."""
    before = file.stat()
    with file.open("r+b") as stream:
        stream.write(content.ljust(before.st_size, b"\0"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


@pytest.mark.parametrize("moved", [False, True])
def test_bytes_changed_in_place_with_size_and_time_put_back_are_noticed(
    folder: Folder, runner: Runner, moved: bool
) -> None:
    file = folder.picture("real/a.bmp", 1)
    runner.settle()
    (before,) = runner.samples()
    change_in_place(file, encode(draw(2), "bmp"))
    if moved:
        file = file.rename(folder.root / "real/b.bmp")
    assert runner.settle() == Counts(total=1, real=1)
    (after,) = runner.samples()
    assert (after.id, after.path) == (before.id, f"real/{file.name}")
    assert after.sha256 != before.sha256


class CountingPool(CheckPool):
    """Notes which files are given to be decoded, whatever they hold."""

    def __init__(self) -> None:
        super().__init__(1, CheckLimits.from_settings(Intake()), 30, 1536)
        self.decoded: list[str] = []

    def submit(self, path: str | Path) -> Future[CheckResult]:
        self.decoded.append(Path(path).name)
        return super().submit(path)


def test_permissions_links_and_renames_alone_are_read_and_not_decoded_again(folder: Folder) -> None:
    with CountingPool() as pool:
        runner = Runner(folder, pool)
        file = folder.picture("real/a.bmp", 1)
        runner.settle()
        before = runner.samples()
        file.chmod(0o600)
        assert runner.settle() == Counts(total=1, real=1)
        assert runner.samples() == before
        (folder.base / "backup").mkdir()
        (folder.base / "backup/a.bmp").hardlink_to(file)
        assert runner.settle() == Counts(total=1, real=1)
        file = file.rename(folder.root / "real/b.bmp")
        assert runner.settle() == Counts(total=1, real=1)
        assert pool.decoded == ["a.bmp"]
        assert runner.reconciler.compare_all()[1] and runner.reconciler.is_settled(), "and each change once"
        change_in_place(file, encode(draw(2), "bmp"))
        runner.settle()
        assert runner.samples()[0].sha256 != before[0].sha256
        runner.reconciler.close()


def events(logged: list[MutableMapping[str, Any]]) -> list[str]:
    return [str(entry["event"]) for entry in logged if str(entry["event"]).startswith("file_")]


@pytest.mark.parametrize("suffix", [".jpg", ".heic", ".png"])
def test_a_download_that_pauses_is_not_logged_as_rejected_before_it_is(
    folder: Folder, runner: Runner, suffix: str
) -> None:
    options: dict[str, Any] = {"format": "HEIF"} if suffix == ".heic" else {}
    whole = folder.picture(f"real/whole{suffix}", 1, **options)
    content = whole.read_bytes()
    whole.unlink()
    file = folder.root / f"real/arriving{suffix}"
    file.write_bytes(content[: len(content) // 2])
    with capture_logs() as logged:
        assert runner.settle(5) == Counts(rejected=1)
    assert events(logged) == ["file_incomplete"]
    (problem,) = runner.problems()
    assert (problem.kind, "may still arrive" in problem.reason) == ("unreadable", True)
    with capture_logs() as logged:
        assert runner.settle(60) == Counts(rejected=1)
    assert not events(logged), "nothing has changed"
    file.write_bytes(content)
    assert runner.settle() == Counts(total=1, real=1)


def test_what_never_arrives_is_rejected_in_the_end(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.jpg", 1)
    file.write_bytes(file.read_bytes()[:400])
    runner.settle()
    runner.clock.pass_time(700)
    with capture_logs() as logged:
        runner.settle()
        runner.settle()
    assert events(logged) == ["file_rejected"]
    (problem,) = runner.problems()
    assert (problem.kind, "still arrive" in problem.reason) == ("rejected", False)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_label_on_a_file_that_is_not_used_says_so(folder: Folder, runner: Runner, is_known: bool) -> None:
    file = folder.root / "inbox/notes.jpg"
    file.parent.mkdir()
    file.write_text("words")
    if is_known:
        runner.settle()
    with pytest.raises(OperatorError, match=r"notes.jpg: cannot be labelled, because it is not used: is text"):
        set_label(folder.config, str(file), "real")
    assert not (folder.root / "meta").exists()


def test_folders_label_by_their_usual_other_names_in_any_case(folder: Folder, runner: Runner) -> None:
    for number, name in enumerate(("Real", "photos", "AI Generated", "Fake", "synthetic", "misc", "misc/deep")):
        folder.picture(f"{name}/a.png", number)
    assert runner.settle() == Counts(total=7, real=2, ai_generated=3, unlabeled=2)
    assert unlabelled_folders(folder.config, 5) == [("misc", 1), ("misc/deep", 1)]


def test_a_name_that_is_added_to_the_settings_or_taken_out_counts_at_the_next_start(
    folder: Folder, runner: Runner
) -> None:
    folder.picture("computed/a.png", 1)
    folder.picture("computed/b.png", 2)
    runner.settle()
    sample_id = json.loads(folder.metadata_files()[0].read_text())["id"]
    set_label(folder.config, sample_id, "real")
    assert runner.settle() == Counts(total=2, real=1, unlabeled=1)
    before = folder.config
    intake = before.intake.model_copy(update={"generated_folders": ("Computed",)})
    folder.config = before.model_copy(update={"intake": intake})
    runner.restart()
    assert runner.reconciler.count() == Counts(total=2, real=1, ai_generated=1), "a person's label stays"
    assert runner.settle() == Counts(total=2, real=1, ai_generated=1)
    folder.config = before
    runner.restart()
    assert runner.settle() == Counts(total=2, real=1, unlabeled=1)
