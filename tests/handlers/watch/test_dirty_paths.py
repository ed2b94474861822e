"""Marks stay few, and none is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from handlers.paths import is_under, split
from handlers.watch.dirty_paths import MAX_DIRTY_PATHS, MAX_NAMES, DirtyPaths

PARTS = st.sampled_from([b"a", b"b", b"c", b"ab"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map(b"/".join)


@given(st.lists(st.tuples(st.booleans(), PATHS), max_size=40))
def test_everything_marked_is_looked_at(added: list[tuple[bool, bytes]]) -> None:
    dirty_paths = DirtyPaths(lambda: None)
    for is_tree, path in added:
        (dirty_paths.add_tree if is_tree else dirty_paths.add_name)(path)
    names, trees = dirty_paths.take()
    for is_tree, path in added:
        folder, name = split(path)
        some = names.get(folder, set())
        in_names = not is_tree and (some is None or name in some)
        assert in_names or any(is_under(path if is_tree else folder, tree) for tree in trees)
    assert not dirty_paths


def test_many_names_become_the_folder_and_many_folders_everything() -> None:
    dirty_paths = DirtyPaths(lambda: None)
    for number in range(MAX_NAMES + 1):
        dirty_paths.add_name(b"folder/%d" % number)
    assert dirty_paths.take() == ({b"folder": None}, set())
    for number in range(MAX_DIRTY_PATHS + 1):
        dirty_paths.add_name(b"%d/file" % number)
    assert dirty_paths.take() == ({}, {b""})


def test_a_mark_wakes_the_one_who_looks() -> None:
    woken: list[bool] = []
    dirty_paths = DirtyPaths(lambda: woken.append(True))
    dirty_paths.add_name(b"a")
    dirty_paths.add_tree(b"b")
    assert len(woken) == 2
