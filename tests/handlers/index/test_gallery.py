"""What the console reads from the index: pages that miss nothing, filters, the queue, and files that are not used."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
from dataset_kit import Folder, Runner

from handlers.index import picture_pages
from handlers.index.attached import attached
from handlers.index.gallery import count_mix, read_facts, read_near, read_picture
from handlers.index.label_queue import read_next
from handlers.index.picture_pages import knows_novelty, read_choices, read_page
from handlers.index.problem_pages import read_problems
from handlers.index.schema import INDEX_FILE, connect_reader
from trainer.evaluation.opinions import Novelties, Opinion, write_opinions


@pytest.fixture
def filled(folder: Folder, runner: Runner) -> Folder:
    for seed in range(7):
        folder.picture(f"real/phone/{seed}.png", seed)
    for seed in range(7, 12):
        folder.picture(f"ai_generated/flux/{seed}.png", seed)
    for seed in range(12, 15):
        folder.picture(f"inbox/{seed}.png", seed)
    runner.settle()
    return folder


def reader(folder: Folder) -> sqlite3.Connection:
    return connect_reader(folder.config.storage.state_path / INDEX_FILE)


def walk(db: sqlite3.Connection, limit: int, **wanted: str) -> list[str]:
    """All pictures that fit, page by page."""
    found, cursor = [], ""
    while True:
        page = read_page(db, wanted, cursor, limit)
        found += [picture.path for picture in page.pictures]
        if not page.older:
            return found
        cursor = page.older


@pytest.mark.parametrize("limit", [1, 4, 50])
def test_pages_hold_every_picture_once_newest_first(filled: Folder, limit: int) -> None:
    db = reader(filled)
    found = walk(db, limit)
    assert len(found) == len(set(found)) == 15
    added = [read_page(db, {}, "", 50).pictures[number].added for number in range(15)]
    assert added == sorted(added, reverse=True)


def test_a_filter_that_fits_little_is_searched_in_bounded_steps(
    filled: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_pages, "STEP", 4)
    db = reader(filled)
    page = read_page(db, {"label": "conflict"}, "", 50)
    assert page.pictures == []
    assert page.searched_to
    assert sorted(walk(db, 50, generator="flux")) == [f"ai_generated/flux/{seed}.png" for seed in (10, 11, 7, 8, 9)]


def test_filters_by_label_source_generator_and_date(filled: Folder) -> None:
    db = reader(filled)
    assert len(walk(db, 3, label="real")) == 7
    assert len(walk(db, 3, label="unlabeled")) == 3
    assert len(walk(db, 3, source="phone", label="real")) == 7
    assert walk(db, 3, source="phone", label="ai_generated") == []
    assert len(walk(db, 3, generator="flux")) == 5
    today = read_page(db, {}, "", 1).pictures[0].added[:10]
    assert len(walk(db, 50, since=today, until=today)) == 15
    assert walk(db, 50, until="2001-01-01") == []


def test_a_cursor_that_is_not_ours_gives_the_first_page(filled: Folder) -> None:
    db = reader(filled)
    for cursor in ("x", "W10=", "%00", "eyJhIjogMX0=", "WzEsIDJd"):
        assert len(read_page(db, {}, cursor, 50).pictures) == 15


def test_choices_and_the_mix_are_what_is_there(filled: Folder) -> None:
    db = reader(filled)
    choices = read_choices(db)
    assert choices["source"] == ["flux", "inbox", "phone"]
    assert choices["generator"] == ["flux"]
    mix = count_mix(db, is_paired=False)
    assert sum(number for label, _, number in mix if label == "real") == 7
    assert sum(number for _, _, number in mix) == 15
    assert ("unlabeled", "inbox", 3) in mix


def test_the_first_folder_is_the_source_of_what_has_no_label_also_where_old_metadata_says_manual(
    filled: Folder, runner: Runner
) -> None:
    with contextlib.closing(sqlite3.connect(filled.config.storage.state_path / INDEX_FILE)) as index, index:
        index.execute("UPDATE metadata SET source = 'manual' WHERE source = 'inbox'")
    filled.picture("loose.png", 99)
    runner.settle()
    db = reader(filled)
    assert len(walk(db, 2, source="inbox")) == 3
    assert ("unlabeled", "inbox", 3) in count_mix(db, is_paired=False)
    assert walk(db, 2, source="manual") == ["loose.png"]


@pytest.mark.parametrize("limit", [1, 4, 50])
def test_the_most_novel_come_first_and_those_beyond_the_cut_alone(filled: Folder, limit: int) -> None:
    db = reader(filled)
    by_path = {picture.path: picture.sha256 for picture in read_page(db, {}, "", 50).pictures}
    values = {sha256: 2.0 + number // 2 for number, sha256 in enumerate(by_path.values())} | {"0" * 64: 99.0}
    file = filled.base / "opinions.sqlite"
    write_opinions(file, [], "vit/v1", Novelties(values, 6.5))
    with attached(db, "opinions", file):
        assert knows_novelty(db)
        found = [values[by_path[path]] for path in walk(db, limit, novelty="unfamiliar first")]
        assert len(found) == 15
        assert found == sorted(found, reverse=True)
        unfamiliar = walk(db, limit, novelty="only unfamiliar")
        assert sorted(unfamiliar) == sorted(path for path, sha256 in by_path.items() if values[sha256] > 6.5)
        only = walk(db, limit, novelty="unfamiliar first", label="ai_generated")
        assert sorted(only) == sorted(path for path in by_path if path.startswith("ai_generated"))
        assert walk(db, limit, novelty="unfamiliar first", until="2001-01-01") == []
        assert len(read_page(db, {"novelty": "unfamiliar first"}, "WyJ4IiwgInkiXQ==", 50).pictures) == 15


def test_where_nothing_has_a_cut_or_a_novelty_no_picture_is_unfamiliar(filled: Folder) -> None:
    db, file = reader(filled), filled.base / "opinions.sqlite"
    sha256 = read_page(db, {}, "", 1).pictures[0].sha256
    write_opinions(file, [], "", Novelties({sha256: 50.0}, None))
    with attached(db, "opinions", file):
        assert walk(db, 9, novelty="only unfamiliar") == []
        assert len(walk(db, 9, novelty="unfamiliar first")) == 1
    write_opinions(file, [], "")
    with attached(db, "opinions", file):
        assert not knows_novelty(db)


def test_a_picture_has_its_copies_its_metadata_and_its_near_duplicates(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/a.png", 1)
    folder.picture("real/b.jpg", 1, quality=95)
    (folder.root / "real/copy.png").write_bytes(file.read_bytes())
    runner.settle()
    db = reader(folder)
    picture = next(found for found in read_page(db, {}, "", 9).pictures if found.path.endswith("png"))
    facts = read_facts(db, picture)
    assert sorted(facts["files"]) == ["real/a.png", "real/copy.png"]
    assert (folder.root / facts["metadata_path"]).is_file()
    assert [near.path for near in read_near(db, picture, 4)] == ["real/b.jpg"]
    assert read_picture(db, picture.sha256) == picture
    assert read_picture(db, "0" * 64) is None


def test_the_queue_begins_with_reports_then_what_has_no_label_then_contradictions(
    folder: Folder, runner: Runner
) -> None:
    folder.picture("inbox/1.png", 1)
    folder.picture("inbox/2.png", 2)
    reported = folder.picture("elsewhere/3.png", 3)
    folder.metadata("reported", None, source="feedback", path=str(reported.relative_to(folder.root)))
    twice = folder.picture("real/4.png", 4)
    (folder.root / "ai_generated").mkdir()
    (folder.root / "ai_generated/4.png").write_bytes(twice.read_bytes())
    folder.picture("real/5.png", 5)
    runner.settle(20)
    db, order, left_out = reader(folder), [], set()
    while (found := read_next(db, left_out, "one", 4)).picture is not None:
        order.append(found.picture.path)
        left_out.add(found.picture.id)
    assert order[0] == "elsewhere/3.png"
    assert set(order[1:3]) == {"inbox/1.png", "inbox/2.png"}
    assert len(order) == 4
    assert order[3].endswith("4.png")


def test_a_report_asks_again_about_a_label_that_no_person_has_given(folder: Folder, runner: Runner) -> None:
    for seed, place in enumerate(("real/0.png", "real/1.png", "real/2.png", "inbox/3.png", "inbox/4.png")):
        folder.picture(place, seed)
    runner.settle()
    db = reader(folder)
    by_path = {picture.path: picture for picture in read_page(db, {}, "", 9).pictures}
    file = folder.base / "field.sqlite"
    reported = [("real/0.png", "ai_generated", "1"), ("real/1.png", "real", "2"), ("inbox/4.png", "real", "3")]
    with contextlib.closing(sqlite3.connect(file)) as reports:
        reports.execute("CREATE TABLE reports (sha256 TEXT, verdict TEXT, received TEXT)")
        rows = [(by_path[path].sha256, verdict, received) for path, verdict, received in reported]
        reports.executemany("INSERT INTO reports VALUES (?, ?, ?)", [*rows, ("0" * 64, "real", "4")])
        reports.commit()
    order: list[tuple[str, str]] = []
    with attached(db, "field", file) as is_there:
        assert is_there
        left_out: set[str] = set()
        while (found := read_next(db, left_out, "one", 4, has_reports=True)).picture is not None:
            order.append((found.picture.path, found.why))
            left_out.add(found.picture.id)
    assert [path for path, _ in order] == ["inbox/4.png", "real/0.png", "inbox/3.png"]
    assert "the verdict was ai_generated" in order[1][1]


def test_the_least_sure_comes_first_and_a_label_that_looks_wrong_last(folder: Folder, runner: Runner) -> None:
    for seed, place in enumerate(("inbox/0.png", "inbox/1.png", "inbox/2.png", "real/3.png", "real/4.png")):
        folder.picture(place, seed)
    runner.settle()
    db = reader(folder)
    by_path = {picture.path: picture for picture in read_page(db, {}, "", 9).pictures}
    said = {"inbox/1.png": (None, 0.55), "inbox/2.png": (None, 0.99), "real/3.png": ("real", 0.97)}
    said["real/4.png"] = ("real", 0.6)  # not sure enough to ask a person
    file = folder.base / "opinions.sqlite"
    write_opinions(file, [Opinion(by_path[path].sha256, *told, "") for path, told in said.items()], "vit/v1")
    order: list[str] = []
    with attached(db, "opinions", file) as is_there:
        assert is_there
        left_out: set[str] = set()
        while (found := read_next(db, left_out, "one", 4, has_opinions=True)).picture is not None:
            order.append(found.picture.path)
            left_out.add(found.picture.id)
        assert walk(db, 3, model="wrong label") == ["real/3.png"]
        assert sorted(walk(db, 3, model="unsure")) == ["inbox/1.png", "real/4.png"]
    assert order == ["inbox/1.png", "inbox/2.png", "inbox/0.png", "real/3.png"]


def test_a_batch_is_the_rest_of_the_folder_or_what_looks_the_same(folder: Folder, runner: Runner) -> None:
    folder.picture("inbox/1.png", 1)
    folder.picture("inbox/1.jpg", 1, quality=95)
    folder.picture("inbox/2.png", 2)
    folder.picture("other/3.png", 3)
    runner.settle()
    db = reader(folder)
    first = read_next(db, [], "folder", 4)
    assert first.picture is not None
    assert {first.picture.path, *(other.path for other in first.others)} == {
        "inbox/1.png",
        "inbox/1.jpg",
        "inbox/2.png",
    }
    left_out = {picture.id for picture in read_page(db, {}, "", 9).pictures if "/1." not in picture.path}
    alike = read_next(db, left_out, "similar", 4)
    assert len(alike.others) == 1
    assert read_next(db, left_out, "one", 4).others == []


def test_files_that_are_not_used_are_listed_by_kind_page_by_page(folder: Folder, runner: Runner) -> None:
    file = folder.picture("real/1.png", 1)
    (folder.root / "real/copy.png").write_bytes(file.read_bytes())
    (folder.root / "ai_generated").mkdir()
    other = folder.picture("real/2.png", 2)
    (folder.root / "ai_generated/2.png").write_bytes(other.read_bytes())
    folder.picture("real/3.png", 3)
    folder.picture("ai_generated/3.jpg", 3, quality=95)
    for number in range(130):
        (folder.root / f"real/bad-{number:03d}.jpg").write_text("no picture")
    runner.settle(20)
    db = reader(folder)
    first = read_problems(db, "rejected", "", is_paired=False)
    second = read_problems(db, "rejected", first.next, is_paired=False)
    assert [len(first.problems), len(second.problems)] == [100, 30]
    assert second.next == ""
    assert {problem.path for problem in first.problems}.isdisjoint(problem.path for problem in second.problems)
    [duplicate] = read_problems(db, "duplicate", "", is_paired=False).problems
    assert {duplicate.path} < {"real/1.png", "real/copy.png"}
    assert duplicate.sha256 is not None
    conflicts = read_problems(db, "conflict", "", is_paired=False).problems
    assert len(conflicts) == 3  # one by its copies, and two that look the same
    assert read_problems(db, "unreadable", "", is_paired=False).problems == []
