"""Which label a sample has: the pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from handlers.labels.rules import Resolution, Statement, follow, interpret, resolve, source_of_place
from handlers.paths import folder_label, folder_series, folder_source, is_ignored_file, is_under, join, split
from utils.config.sections import Intake

LABELS = st.sampled_from([None, "real", "ai_generated"])
SOURCES = st.sampled_from([None, "source", "folder", "person"])
STATEMENTS = st.builds(Statement, LABELS, SOURCES, st.sampled_from(["manual", "pexels"]), st.just(b"real/a.jpg"))


@pytest.mark.parametrize(
    ("path", "label"),
    [
        (b"real/a.jpg", "real"),
        (b"real/2024/trip/a.jpg", "real"),
        (b"ai_generated/real/a.jpg", "real"),
        (b"shared/ai_generated/a.jpg", "ai_generated"),
        (b"real", None),
        (b"really/a.jpg", None),
        (b"Real/a.jpg", "real"),
        (b"REAL/a.jpg", "real"),
        (b"AI Generated/flux/a.jpg", "ai_generated"),
        (b"set/Ai-Generated/a.jpg", "ai_generated"),
        (b"fake/a.jpg", "ai_generated"),
        (b"mine/Synthetic/a.jpg", "ai_generated"),
        (b"AI/a.jpg", "ai_generated"),
        (b"generated/x/y/a.jpg", "ai_generated"),
        (b"Photos/2024/a.jpg", "real"),
        (b"train/0_real/a.jpg", "real"),
        (b"train/1_fake/a.jpg", "ai_generated"),
        (b"ai_generated/photos/a.jpg", "ai_generated"),
        (b"photos/real/a.jpg", "real"),
        (b"real/fake/a.jpg", "real"),
        (b"fake/photos/a.jpg", None),
        (b"photos/fake/a.jpg", None),
        (b"aia/a.jpg", None),
        (b"fake.jpg", None),
        (b"images/2025/10/28/a.jpg", None),
    ],
)
def test_the_nearest_label_folder_counts(path: bytes, label: str | None) -> None:
    assert folder_label(path) == label


def test_the_source_is_the_first_folder_below_whatever_name_says_the_label() -> None:
    assert folder_source(b"set/Fake/flux-2/cats/a.jpg") == "flux-2"
    assert folder_series(b"set/Fake/flux-2/cats/a.jpg") == "Fake/flux-2/cats"
    assert folder_source(b"Photos/a.jpg") is None


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (b"real/a.jpg", "manual"),
        (b"real/phone/a.jpg", "phone"),
        (b"inbox/a.jpg", "inbox"),
        (b"inbox/2026/a.jpg", "inbox"),
        (b"inbox/fake/flux-2/a.jpg", "flux-2"),
        (b"a.jpg", "manual"),
        (b"images/2026/01/02/a.jpg", "manual"),
        (b"caf\xe9/a.jpg", "caf\\xe9"),
    ],
)
def test_the_place_names_the_source(path: bytes, source: str) -> None:
    assert source_of_place(path) == source
    moved = follow(Statement(None, None, "manual", path), path, folder_label(path))
    assert moved.source == source
    assert follow(moved, b"real/phone/a.jpg", "real").source == "phone"


@pytest.mark.parametrize(
    "settings",
    [
        {"real_folders": ["fake"]},
        {"real_folders": ["AI generated"]},
        {"generated_folders": ["Real"]},
        {"real_folders": ["a/b"]},
        {"real_folders": [" "]},
    ],
)
def test_folder_names_that_cannot_be_are_refused(settings: dict[str, list[str]]) -> None:
    with pytest.raises(ValidationError):
        Intake.model_validate(settings)


@pytest.mark.parametrize(
    "name",
    [
        *(b".hidden.jpg", b"a.jpg.part", b"a.JPG.CrDownload", b"Thumbs.db", b"notes.txt", b"a.xmp", b"a~"),
        *(b"a.jpg.!sync", b"a.jpg.!Sync", b"a.png.!qB", b"a.jpg.!ut", b"a.jpg.opdownload", b"IMG_1.AAE"),
    ],
)
def test_companions_and_unfinished_files_are_passed_over(name: bytes) -> None:
    assert is_ignored_file(b"real", name)


@pytest.mark.parametrize("name", [b"a.jpg", b"no_suffix", b"a.gif", b"a.mp4", b"wow.!.jpg", b"\xff\xfe", b"a\nb.png"])
def test_everything_else_is_looked_at(name: bytes) -> None:
    assert not is_ignored_file(b"real", name)


def test_an_edited_label_becomes_the_persons() -> None:
    by_folder = Statement("ai_generated", "folder", "manual", b"real/a.jpg")
    assert interpret(by_folder, "real", None).label_source == "person"
    by_source = Statement("ai_generated", "source", "pexels", b"images/a.jpg")
    assert interpret(by_source, None, Statement("real", "source", "pexels", b"images/a.jpg")).label_source == "person"


def test_a_folders_label_is_no_persons_once_its_name_says_nothing_any_more() -> None:
    by_folder = Statement("ai_generated", "folder", "manual", b"computed/a.jpg")
    assert interpret(by_folder, None, None).label_source == "folder"
    assert follow(by_folder, b"computed/a.jpg", None).label is None


def test_the_guides_form_says_nothing_of_the_labels_source_and_is_understood() -> None:
    assert interpret(Statement("real", None, "pexels", b""), None, None).label_source == "source"
    assert interpret(Statement("real", None, "manual", b""), None, None).label_source == "person"


@given(STATEMENTS, LABELS)
def test_interpreting_twice_changes_nothing(statement: Statement, folder: str | None) -> None:
    once = interpret(statement, folder, None)
    assert interpret(once, folder, once) == once


@given(STATEMENTS, st.sampled_from([b"real/a.jpg", b"ai_generated/a.jpg", b"inbox/a.jpg"]))
def test_following_a_file_is_stable_and_never_touches_a_persons_label(statement: Statement, path: bytes) -> None:
    moved = follow(statement, path, folder_label(path))
    assert moved.image == path
    assert follow(moved, path, folder_label(path)) == moved
    if statement.label_source == "person":
        assert moved.label == statement.label
    if moved.label_source == "folder":
        assert moved.label == folder_label(path)


def test_a_sources_label_stays_unless_the_file_is_moved_into_a_labels_folder() -> None:
    sourced = Statement("real", "source", "pexels", b"images/a.jpg")
    assert follow(sourced, b"inbox/a.jpg", None).label == "real"
    assert follow(sourced, b"ai_generated/a.jpg", "ai_generated").label == "ai_generated"
    assert follow(Statement("real", "source", "pexels", b""), b"ai_generated/a.jpg", "ai_generated").label == "real"


@given(st.lists(STATEMENTS, max_size=4), st.lists(st.tuples(st.binary(max_size=3), LABELS), max_size=4))
def test_a_label_is_agreed_on_or_there_is_none(said: list[Statement], folders: list[tuple[bytes, str | None]]) -> None:
    resolution = resolve(said, folders)  # type: ignore[arg-type]
    if resolution.clash:
        assert resolution.label is None
    person = {statement.label for statement in said if statement.label_source == "person"}
    if len(person) == 1:
        assert resolution.label in person and not resolution.clash


def test_copies_under_both_labels_clash_and_a_person_decides() -> None:
    folders = [(b"real/a.jpg", "real"), (b"ai_generated/a.jpg", "ai_generated")]
    assert resolve([], folders).clash  # type: ignore[arg-type]
    person = Statement("real", "person", "manual", b"real/a.jpg")
    assert resolve([person], folders) == Resolution("real", "person")  # type: ignore[arg-type]


@given(st.binary(max_size=8), st.binary(min_size=1, max_size=8).filter(lambda name: b"/" not in name))
def test_join_and_split_are_inverse(folder: bytes, name: bytes) -> None:
    folder = folder.strip(b"/")
    assert split(join(folder, name)) == (folder, name)
    assert is_under(join(folder, name), folder)
