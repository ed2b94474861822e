"""Folder and index brought together, step by step: counting, labels, copies, conflicts, moves, deletions."""

from __future__ import annotations

import json
import os
import shutil
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from dataset_kit import Folder, Runner

from handlers.index.queries import TWINS_OF_A_PAIRED_SET
from handlers.index.rows import Counts


def kinds(runner: Runner) -> dict[str, str]:
    return {problem.path: problem.kind for problem in runner.problems()}


def test_pictures_count_under_their_folders_label(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.jpg", 1)
    folder.picture("ai_generated/deep/er/b.png", 2)
    folder.picture("inbox/c.webp", 3)
    assert runner.settle() == Counts(total=3, real=1, ai_generated=1, unlabeled=1)
    assert {(sample.path, sample.label) for sample in runner.samples()} == {
        ("real/a.jpg", "real"),
        ("ai_generated/deep/er/b.png", "ai_generated"),
    }


def test_a_dropped_picture_gets_metadata_and_is_left_alone(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.jpg", 1)
    before = file.read_bytes(), file.stat().st_mtime_ns
    runner.settle()
    said = folder.only_metadata()
    assert (said["source"], said["label"], said["label_source"]) == ("manual", "real", "folder")
    assert said["path"] == "real/a.jpg" and said["id"] == folder.metadata_files()[0].stem
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_a_scraped_picture_waits_for_its_metadata(folder: Folder, runner: Runner) -> None:
    sample_id = "6f1c2f64-4a3b-4a8e-9f52-0d5f7f6f2c11"
    folder.picture(f"images/2025/10/28/{sample_id}.jpg", 1)
    assert runner.settle(1) == Counts(pending=1)
    folder.metadata(sample_id, "real", attribution={"platform": "Pexels"}, api_data={"creator": "c1", "generator": "g"})
    assert runner.settle(0) == Counts(total=1, real=1)
    (sample,) = runner.samples()
    assert (sample.id, sample.source, sample.creator, sample.generator) == (sample_id, "pexels", "c1", "g")
    assert folder.only_metadata()["attribution"] == {"platform": "Pexels"}


def test_a_picture_whose_metadata_never_comes_is_a_manual_one(folder: Folder, runner: Runner) -> None:
    sample_id = "6f1c2f64-4a3b-4a8e-9f52-0d5f7f6f2c11"
    folder.picture(f"images/2025/10/28/{sample_id}.jpg", 1)
    assert runner.settle(1).pending == 1
    assert runner.settle(10) == Counts(total=1, unlabeled=1)
    said = folder.only_metadata()
    assert (said["id"], said["source"], said["label"]) == (sample_id, "manual", None)


def test_copies_are_one_sample_and_the_next_takes_over(folder: Folder, runner: Runner) -> None:
    first = folder.picture("real/a.png", 1)
    runner.settle()
    shutil.copy(first, folder.root / "real/b.png")
    assert runner.settle() == Counts(total=1, real=1, duplicates=1)
    assert kinds(runner) == {"real/b.png": "duplicate"}
    sample_id = folder.only_metadata()["id"]
    first.unlink()
    assert runner.settle() == Counts(total=1, real=1)
    assert runner.forget() == Counts(total=1, real=1)
    assert (folder.only_metadata()["id"], folder.only_metadata()["path"]) == (sample_id, "real/b.png")


def test_the_same_bytes_under_both_labels_are_a_conflict_until_one_goes(folder: Folder, runner: Runner) -> None:
    first = folder.picture("real/a.png", 1)
    (folder.root / "ai_generated").mkdir()
    second = Path(shutil.copy(first, folder.root / "ai_generated/b.png"))
    assert runner.settle() == Counts(duplicates=1, conflicts=1)
    assert not runner.samples()
    assert kinds(runner) == {"real/a.png": "conflict", "ai_generated/b.png": "conflict"}
    second.unlink()
    assert runner.settle() == Counts(total=1, real=1)


def test_the_same_picture_under_both_labels_is_a_conflict_until_it_is_relabelled(
    folder: Folder, runner: Runner
) -> None:
    folder.picture("real/a.png", 1)
    other = folder.picture("ai_generated/b.jpg", 1, quality=90)
    folder.picture("ai_generated/other.png", 2)
    assert runner.settle() == Counts(total=1, ai_generated=1, conflicts=2)
    assert kinds(runner) == {"real/a.png": "conflict", "ai_generated/b.jpg": "conflict"}
    other.rename(folder.root / "real/b.jpg")
    assert runner.settle() == Counts(total=3, real=2, ai_generated=1)


def test_pairs_that_were_put_in_on_purpose_are_used(folder: Folder, runner: Runner) -> None:
    few = TWINS_OF_A_PAIRED_SET - 1
    for seed in range(few):
        folder.picture(f"real/{seed}.png", seed)
        folder.picture(f"ai_generated/{seed}.jpg", seed, quality=90)
    assert runner.settle() == Counts(conflicts=2 * few)
    folder.picture(f"real/{few}.png", few)
    folder.picture(f"ai_generated/{few}.jpg", few, quality=90)
    assert runner.settle() == Counts(total=2 * few + 2, real=few + 1, ai_generated=few + 1)
    assert len(runner.samples()) == 2 * few + 2
    assert kinds(runner) == {}


def test_twins_among_many_other_pictures_stay_conflicts(folder: Folder, runner: Runner) -> None:
    for seed in range(TWINS_OF_A_PAIRED_SET):
        folder.picture(f"real/{seed}.png", seed)
        folder.picture(f"ai_generated/{seed}.jpg", seed, quality=90)
    for seed in range(TWINS_OF_A_PAIRED_SET + 1):
        folder.picture(f"real/other-{seed}.png", 1000 + seed)
        folder.picture(f"ai_generated/other-{seed}.png", 2000 + seed)
    assert runner.settle().conflicts == 2 * TWINS_OF_A_PAIRED_SET


def test_a_folders_label_follows_a_moved_file_and_a_persons_stays(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    runner.settle()
    sample_id = folder.only_metadata()["id"]
    (folder.root / "ai_generated").mkdir()
    file = file.rename(folder.root / "ai_generated/renamed.png")
    assert runner.settle() == Counts(total=1, ai_generated=1)
    said = folder.only_metadata()
    assert (said["id"], said["label"], said["path"]) == (sample_id, "ai_generated", "ai_generated/renamed.png")

    (metadata,) = folder.metadata_files()
    metadata.write_text(json.dumps(said | {"label": "real"}))
    assert runner.settle() == Counts(total=1, real=1)
    assert folder.only_metadata()["label_source"] == "person"
    file.rename(folder.root / "ai_generated/again.png")
    assert runner.settle() == Counts(total=1, real=1)
    assert folder.only_metadata()["path"] == "ai_generated/again.png"


def test_a_copy_to_another_disk_and_a_later_delete_is_a_move(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    runner.settle()
    sample_id = folder.only_metadata()["id"]
    (folder.root / "inbox").mkdir()
    (folder.root / "inbox/a.png").write_bytes(file.read_bytes())
    file.unlink()
    runner.settle()
    runner.forget()
    assert folder.only_metadata()["id"] == sample_id
    assert runner.reconciler.count() == Counts(total=1, unlabeled=1)


def test_a_move_while_nobody_watched_keeps_id_and_label(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    runner.settle()
    said = folder.only_metadata()
    folder.metadata_files()[0].write_text(json.dumps(said | {"label": None, "label_source": "person"}))
    runner.settle()
    runner.reconciler.close()
    for leftover in (folder.base / "state").iterdir():
        leftover.unlink()
    file.rename(folder.root / "real/b.png")
    runner.restart()
    assert runner.settle() == Counts(total=1, unlabeled=1)
    assert (folder.only_metadata()["id"], folder.only_metadata()["path"]) == (said["id"], "real/b.png")


def test_a_deleted_picture_takes_its_metadata_with_it(folder: Folder, runner: Runner) -> None:
    sample_id = "6f1c2f64-4a3b-4a8e-9f52-0d5f7f6f2c11"
    scraped = folder.picture(f"images/2025/10/28/{sample_id}.jpg", 1)
    folder.metadata(sample_id, "real")
    dropped = folder.picture("real/a.png", 2)
    kept = folder.picture("real/b.png", 3)
    assert runner.settle().total == 3
    scraped.unlink()
    dropped.unlink()
    assert runner.settle().total == 1
    assert runner.forget() == Counts(total=1, real=1)
    assert folder.only_metadata()["path"] == f"real/{kept.name}"


def test_a_clock_that_was_set_back_does_not_keep_deleted_pictures(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    runner.settle()
    file.unlink()
    runner.settle()
    runner.clock.wall -= timedelta(days=1)
    runner.settle()
    assert not folder.metadata_files()


def test_metadata_of_pictures_never_seen_is_left_alone(folder: Folder, runner: Runner) -> None:
    folder.metadata("not-here-yet", "real")
    runner.settle()
    assert runner.forget() == Counts()
    assert len(folder.metadata_files()) == 1


def test_metadata_written_by_hand_for_a_dropped_picture_labels_it(folder: Folder, runner: Runner) -> None:
    file = folder.picture("inbox/a.png", 1)
    assert runner.settle().unlabeled == 1
    folder.metadata("by-hand", "ai_generated", source="manual", path="inbox/a.png")
    assert runner.settle() == Counts(total=1, ai_generated=1)
    file.rename(folder.root / "moved.png")
    assert runner.settle() == Counts(total=1, ai_generated=1)


def test_a_broken_edit_is_reported_and_the_old_label_stays(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    (metadata,) = folder.metadata_files()
    whole = metadata.read_text()
    for broken in ("{", "", '{"label": "photo"}', "[]", whole.replace('"real"', '"fake"', 1)):
        metadata.write_text(broken)
        assert runner.settle() == Counts(total=1, real=1)
        assert metadata.read_text() == broken
        assert [problem.kind for problem in runner.problems()] == ["unreadable"]
    metadata.write_text(whole)
    assert runner.settle() == Counts(total=1, real=1)
    assert not runner.problems()


@pytest.mark.parametrize(
    "content",
    [
        b'{"id": "x", "source": "\\ud800", "label": "real", "timestamp": "t", "sha256": "\\udfff", "path": "\\ud812"}',
        b'{"id": "x", "source": "s", "label": "real", "timestamp": "t", "path": "../../etc/passwd", "sha256": 7}',
        b'{"id": "x", "source": "s", "label": "real", "timestamp": "t", "path": "/etc/passwd", "api_data": {"a": NaN}}',
        b'{"id": "x", "source": "s", "label": ["real"], "timestamp": "t"}',
        b'{"id": "x", "source": "s", "timestamp": "t", "api_data": {"creator": {"a": 1}, "post": 10e400}}',
        b'{"id": "x", "source": "s", "timestamp": "t", "api_data": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}",
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b'{"id": "x", "source": "s", "timestamp": "t", "path": "a\\u0000b"}',
    ],
)
@pytest.mark.parametrize("name", ["abc", "\udcff\udcfe"])
def test_no_metadata_is_too_odd(folder: Folder, runner: Runner, content: bytes, name: str) -> None:
    folder.picture(f"images/2025/10/28/{name}.jpg", 1)
    folder.picture("real/a.png", 2)
    folder.metadata(name, None).write_bytes(content)
    counts = runner.settle(11)
    assert (counts.total, counts.pending) == (2, 0)
    folder.picture(f"images/2025/10/28/{name}.jpg", 3)
    assert runner.settle(11).total == 2
    (folder.root / "ai_generated").mkdir()
    (folder.root / f"images/2025/10/28/{name}.jpg").rename(folder.root / "ai_generated/b.jpg")
    assert runner.settle(11).total == 2


def test_deleted_metadata_is_written_anew_from_where_the_picture_lies(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    said = folder.only_metadata()
    (metadata,) = folder.metadata_files()
    metadata.write_text(json.dumps(said | {"label": "ai_generated", "label_source": "person"}))
    assert runner.settle() == Counts(total=1, ai_generated=1)
    metadata.unlink()
    assert runner.settle(1) == Counts(total=1, ai_generated=1)
    assert runner.settle(10) == Counts(total=1, real=1)
    assert folder.only_metadata()["id"] == said["id"]


def test_unknown_keys_of_metadata_survive_our_edits(folder: Folder, runner: Runner) -> None:
    file = folder.picture("images/2025/10/28/abc.jpg", 1)
    folder.metadata("abc", "real", note="keep me", attribution={"license": "CC0"})
    runner.settle()
    (folder.root / "real").mkdir()
    file.rename(folder.root / "real/abc.jpg")
    runner.settle()
    said = folder.only_metadata()
    assert (said["note"], said["attribution"], said["path"]) == ("keep me", {"license": "CC0"}, "real/abc.jpg")


def test_a_picture_edited_in_place_keeps_its_id(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    runner.settle()
    before = folder.only_metadata()
    folder.picture("real/a.png", 2)
    assert runner.settle() == Counts(total=1, real=1)
    after = folder.only_metadata()
    assert (after["id"], after["sha256"] != before["sha256"]) == (before["id"], True)
    file.write_text("no longer a picture")
    assert runner.settle() == Counts(rejected=1)
    assert folder.only_metadata()["id"] == before["id"]


def test_a_copy_edited_in_place_becomes_a_sample_of_its_own(folder: Folder, runner: Runner) -> None:
    first = folder.picture("real/a.png", 1)
    shutil.copy(first, folder.root / "real/b.png")
    assert runner.settle().duplicates == 1
    folder.picture("real/b.png", 2)
    assert runner.settle() == Counts(total=2, real=2)


def test_every_bad_file_is_reported_with_its_reason_and_left_where_it_is(folder: Folder, runner: Runner) -> None:
    real = folder.root / "real"
    real.mkdir()
    whole = folder.picture("inbox/whole.jpg", 1).read_bytes()
    (real / "empty.jpg").write_bytes(b"")
    (real / "text.jpg").write_text("words")
    (real / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (real / "small.png").write_bytes(b"\0\0\1\0" * 40)
    (real / "loop.jpg").symlink_to("loop.jpg")
    (real / "nowhere.jpg").symlink_to("missing")
    (real / "outside").symlink_to("/etc")
    os.mkfifo(real / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(real / "socket.jpg"))
    before = sorted(path.name for path in real.iterdir())
    counts = runner.settle()
    assert (counts.total, counts.rejected, counts.pending) == (1, 9, 0)
    reasons = {problem.path: problem.reason for problem in runner.problems()}
    assert "empty" in reasons["real/empty.jpg"]
    assert "text" in reasons["real/text.jpg"]
    assert "truncated" in reasons["real/cut.jpg"]
    assert "an icon" in reasons["real/small.png"]
    assert "leads back to itself" in reasons["real/loop.jpg"]
    assert "leads nowhere" in reasons["real/nowhere.jpg"]
    assert "links are not followed" in reasons["real/outside"]
    assert "pipe" in reasons["real/pipe.jpg"] and "socket" in reasons["real/socket.jpg"]
    assert sorted(path.name for path in real.iterdir()) == before


@pytest.mark.parametrize(
    "name", [b"line\nbreak.png", b"\xff\xfe\x80.png", b"x" * 251 + b".png", "日本語 é.png".encode()]
)
def test_odd_names_count_and_are_reported_as_they_are(folder: Folder, runner: Runner, name: bytes) -> None:
    file = folder.picture("real/a.png", 1)
    odd = os.fsencode(folder.root) + b"/real/" + name
    os.rename(file, odd)  # noqa: PTH104  bytes
    assert runner.settle() == Counts(total=1, real=1)
    (sample,) = runner.samples()
    assert os.fsencode(sample.path) == b"real/" + name
    Path(os.fsdecode(odd)).write_text("words")
    assert runner.settle() == Counts(rejected=1)
    os.unlink(odd)  # noqa: PTH108
    assert runner.forget() == Counts()


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_unreadable_file_is_reported_and_counts_once_it_can_be_read(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    file.chmod(0)
    assert runner.settle().rejected == 1
    assert kinds(runner) == {"real/a.png": "unreadable"}
    file.chmod(0o644)
    assert runner.settle() == Counts(total=1, real=1)


def test_files_that_are_passed_over_are_not_counted_at_all(folder: Folder, runner: Runner) -> None:
    whole = folder.picture("real/a.png", 1).read_bytes()
    for name in (".hidden.png", "b.png.part", "c.crdownload", "Thumbs.db", "README.txt", "sidecar.xmp"):
        (folder.root / "real" / name).write_bytes(whole)
    for hidden in ("@eaDir", ".trash", "lost+found"):
        (folder.root / "real" / hidden).mkdir()
        (folder.root / "real" / hidden / "d.png").write_bytes(whole)
    (folder.root / "README.md").write_text("# layout")
    assert runner.settle() == Counts(total=1, real=1)


def test_a_rename_of_a_folder_needs_no_new_check(folder: Folder, runner: Runner) -> None:
    for seed in range(5):
        folder.picture(f"real/{seed}.png", seed)
    assert runner.settle().real == 5
    (folder.root / "real").rename(folder.root / "ai_generated")
    runner.reconciler.compare_all()
    assert runner.reconciler.count() == Counts(total=5, ai_generated=5)


def test_a_folder_that_cannot_be_read_keeps_what_is_known_of_it(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    assert runner.settle().real == 1
    real = folder.root / "real"
    real.rename(folder.root / "away")
    real.symlink_to("real")  # opening it as a folder fails with ELOOP, as a broken disk fails with EIO
    counts = runner.settle()
    assert counts.real == 0 and counts.unlabeled == 1  # found again under its new name
    assert kinds(runner)["real"] == "rejected"


def test_files_whose_file_system_went_away_are_remembered(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    folder.picture("inbox/b.png", 2)
    assert runner.settle().total == 2
    # what an unmount leaves behind: the folder is there, on another device, and its files are not
    index = runner.reconciler._index
    with index.transaction():
        index.set_device(b"real", 12345)
    (folder.root / "real").rename(folder.base / "unmounted")
    (folder.root / "real").mkdir()
    assert runner.settle() == Counts(total=2, real=1, unlabeled=1, away=1)
    assert runner.forget() == Counts(total=2, real=1, unlabeled=1, away=1)
    assert not runner.samples()
    assert len(folder.metadata_files()) == 2
    assert "until it is back" in runner.reconciler.missing()
    (folder.root / "real").rmdir()
    (folder.base / "unmounted").rename(folder.root / "real")
    runner.reconciler.compare_all()
    assert runner.reconciler.count() == Counts(total=2, real=1, unlabeled=1)
    assert not runner.reconciler.troubles()


def test_a_device_that_got_another_number_changes_nothing(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    gone = folder.picture("real/b.png", 2)
    assert runner.settle().total == 2
    index = runner.reconciler._index
    with index.transaction():
        index.set_device(b"real", 12345)  # a reboot can renumber disks
    gone.unlink()
    assert runner.settle() == Counts(total=1, real=1)
    runner.forget()
    assert not runner.reconciler.troubles()
    assert len(folder.metadata_files()) == 1


def test_new_limits_give_rejected_files_another_chance(folder: Folder, runner: Runner) -> None:
    runner.pool = None  # a pool has its limits from the start: each reconciler its own
    folder.picture("real/a.png", 1)
    strict = folder.config.intake.model_copy(update={"min_side": 500})
    lenient = folder.config
    folder.config = lenient.model_copy(update={"intake": strict})
    runner.restart()
    assert runner.settle() == Counts(rejected=1)
    folder.config = lenient
    runner.restart()
    assert runner.settle() == Counts(total=1, real=1)


def test_another_distance_is_taken_up(folder: Folder, runner: Runner) -> None:
    folder.picture("real/a.png", 1)
    runner.settle()
    folder.config = folder.config.model_copy(
        update={"intake": folder.config.intake.model_copy(update={"near_duplicate_distance": 2})}
    )
    runner.restart()
    folder.picture("ai_generated/a.png", 1, compress_level=1)
    assert runner.settle() == Counts(conflicts=2)


def test_the_first_folder_below_a_label_is_the_source_and_renaming_it_renames_the_source(
    folder: Folder, runner: Runner
) -> None:
    folder.picture("real/a.jpg", 1)
    folder.picture("real/phone/b.jpg", 2)
    folder.picture("real/phone/trip/day 1/c.jpg", 3)
    folder.picture("ai_generated/flux-2/d.jpg", 4)
    runner.settle()
    told = {sample.path: (sample.source, sample.generator, sample.series) for sample in runner.samples()}
    assert told == {
        "real/a.jpg": ("manual", None, None),
        "real/phone/b.jpg": ("phone", None, None),
        "real/phone/trip/day 1/c.jpg": ("phone", None, "real/phone/trip/day 1"),
        "ai_generated/flux-2/d.jpg": ("flux-2", "flux-2", None),
    }
    (folder.root / "real/phone").rename(folder.root / "real/camera")
    (folder.root / "ai_generated/flux-2").rename(folder.root / "ai_generated/flux-2-pro")
    runner.settle()
    runner.forget()
    told = {sample.path: (sample.source, sample.generator, sample.series) for sample in runner.samples()}
    assert told["real/camera/trip/day 1/c.jpg"] == ("camera", None, "real/camera/trip/day 1")
    assert told["ai_generated/flux-2-pro/d.jpg"] == ("flux-2-pro", "flux-2-pro", None)
    said = [json.loads(file.read_text(encoding="utf-8")) for file in folder.metadata_files()]
    assert {value["path"]: value["source"] for value in said}["real/camera/b.jpg"] == "camera"


def test_metadata_that_says_more_than_the_folder_wins(folder: Folder, runner: Runner) -> None:
    folder.picture("ai_generated/mixed/a.jpg", 1)
    runner.settle()
    (file,) = folder.metadata_files()
    said = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(said | {"source": "my-archive", "api_data": {"generator": "flux-2"}}), encoding="utf-8")
    runner.settle()
    (sample,) = runner.samples()
    assert (sample.source, sample.generator, sample.label) == ("my-archive", "flux-2", "ai_generated")
    (folder.root / "ai_generated/mixed").rename(folder.root / "ai_generated/other")
    runner.settle()
    (sample,) = runner.samples()
    assert (sample.source, sample.generator) == ("my-archive", "flux-2")


def test_a_dropped_picture_is_looked_up_once(folder: Folder, runner: Runner) -> None:
    folder.picture("ai_generated/other.png", 1)
    runner.settle()
    folder.picture("real/a.png", 2)
    asked: list[str] = []
    runner.reconciler._index.connection.set_trace_callback(asked.append)
    runner.reconciler.compare({b"real": {b"a.png"}}, set())
    runner.finish()
    runner.reconciler._index.connection.set_trace_callback(None)
    own = [line for line in asked if not line.startswith(("BEGIN", "COMMIT", "--"))]  # "--": the triggers' own
    counted = next(number for number, line in enumerate(own) if "INTO bands" in line)
    reads = [line for line in own[:counted] if line.startswith("SELECT")]
    assert len(reads) <= 6, reads
    assert len([line for line in own if line.startswith("SELECT")]) <= 22, own
    assert len(own) <= 32, own


def test_what_a_killed_writer_of_metadata_left_is_removed_an_hour_later(runner: Runner, folder: Folder) -> None:
    folder.picture("real/a.png")
    runner.settle()
    (metadata,) = folder.metadata_files()
    beside = metadata.parent
    left = beside / f".{'0a' * 16}.part"
    others = [beside / ".hidden.part", folder.root / f".{'0b' * 16}.part"]
    for file in (left, *others):
        file.write_bytes(b"half")
    runner.settle()
    assert left.exists()
    runner.clock.pass_time(7200)
    runner.settle()
    assert not left.exists()
    assert all(file.exists() for file in others)


def test_metadata_that_cannot_be_written_waits_and_stops_nothing(folder: Folder, runner: Runner) -> None:
    for seed in range(3):
        folder.picture(f"real/{seed}.png", seed)
    (folder.root / "meta").write_text("no folder: stands for a disk that fails")
    assert runner.settle().real == 3
    (folder.root / "meta").unlink()
    runner.settle(120)  # in due time
    assert len(folder.metadata_files()) == 3
