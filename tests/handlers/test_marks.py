"""Marks stay few, and none is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from handlers.paths import is_under, split
from handlers.watch.dirty_paths import MAX_MARKS, MAX_NAMES, Marks

PARTS = st.sampled_from([b"a", b"b", b"c", b"ab"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map(b"/".join)


@given(st.lists(st.tuples(st.booleans(), PATHS), max_size=40))
def test_everything_marked_is_looked_at(added: list[tuple[bool, bytes]]) -> None:
    marks = Marks(lambda: None)
    for is_tree, path in added:
        (marks.add_tree if is_tree else marks.add_name)(path)
    names, trees = marks.take()
    for is_tree, path in added:
        folder, name = split(path)
        some = names.get(folder, set())
        in_names = not is_tree and (some is None or name in some)
        assert in_names or any(is_under(path if is_tree else folder, tree) for tree in trees)
    assert not marks


def test_many_names_become_the_folder_and_many_folders_everything() -> None:
    marks = Marks(lambda: None)
    for number in range(MAX_NAMES + 1):
        marks.add_name(b"folder/%d" % number)
    assert marks.take() == ({b"folder": None}, set())
    for number in range(MAX_MARKS + 1):
        marks.add_name(b"%d/file" % number)
    assert marks.take() == ({}, {b""})


def test_a_mark_wakes_the_one_who_looks() -> None:
    woken: list[bool] = []
    marks = Marks(lambda: woken.append(True))
    marks.add_name(b"a")
    marks.add_tree(b"b")
    assert len(woken) == 2
