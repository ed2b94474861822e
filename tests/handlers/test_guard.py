"""The watcher is kept at work, and what it cannot do is said."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from dataset_kit import wait_for

from fake_clock import FakeClock
from handlers.watch.dirty_paths import Marks
from handlers.watch.liveness import COOKIE_PATIENCE_SECONDS, COOKIE_SECONDS, MAX_UNPROVEN, RETRY_SECONDS, WatchGuard


@pytest.fixture
def marks() -> Marks:
    return Marks(lambda: None)


@pytest.fixture
def guard(tmp_path: Path, marks: Marks, fake_clock: FakeClock) -> WatchGuard:
    guard = WatchGuard(tmp_path, marks, "auto", fake_clock.monotonic)
    assert guard.check()  # a new watcher: everything has to be read
    yield guard
    guard.stop()


def test_a_cookie_proves_that_events_arrive(guard: WatchGuard, fake_clock: FakeClock, tmp_path: Path) -> None:
    assert not guard.check()
    fake_clock.pass_time(1)
    wait_for(lambda: not guard.check() and guard.proof == fake_clock.monotonic())
    assert guard.restarts == 0
    assert list(tmp_path.iterdir()) == []


def test_a_cookie_that_is_not_seen_replaces_the_watcher(guard: WatchGuard, fake_clock: FakeClock) -> None:
    watcher = guard._watcher
    assert watcher is not None and watcher._observer is not None
    watcher._observer._inotify_fd.stop()  # the reader dies; observer and emitter go on looking alive
    watcher._observer._inotify_fd.join()
    assert watcher.is_alive()
    guard.check()
    fake_clock.pass_time(COOKIE_PATIENCE_SECONDS + 1)
    assert guard.check()
    assert guard.restarts == 1 and guard._watcher is not watcher
    fake_clock.pass_time(COOKIE_SECONDS)
    wait_for(lambda: not guard.check() and guard.proof == fake_clock.monotonic())


def test_where_no_events_arrive_scans_take_over_and_events_are_tried_again_later(
    guard: WatchGuard, fake_clock: FakeClock, tmp_path: Path
) -> None:
    for _ in range(MAX_UNPROVEN):
        assert guard._watcher is not None and guard._watcher._observer is not None
        guard._watcher._observer._inotify_fd.stop()
        guard._watcher._observer._inotify_fd.join()
        guard.check()
        fake_clock.pass_time(COOKIE_PATIENCE_SECONDS + 1)
        assert guard.check()
    assert guard._watcher is None and "no events arrive" in guard.polling
    assert not guard.check()
    fake_clock.pass_time(RETRY_SECONDS + 1)
    assert guard.check()
    assert guard._watcher is not None and guard.polling == ""


def test_another_folder_at_the_same_place_is_watched(guard: WatchGuard, tmp_path: Path, marks: Marks) -> None:
    tmp_path.rename(tmp_path.with_name("aside"))
    assert not guard.check()  # nothing to watch
    tmp_path.mkdir()
    assert guard.check()
    marks.take()
    (tmp_path / "a.png").write_bytes(b"x")
    wait_for(lambda: bool(marks))


def test_folders_that_the_kernel_does_not_watch_are_told(guard: WatchGuard, tmp_path: Path) -> None:
    assert guard.expect_watches(1)
    assert not guard.expect_watches(50)
    assert guard.polling == ""
    assert guard.expect_watches(50)
    assert guard.polling.startswith("only 1 of 50 folders")
    guard.expect_watches(1)
    assert guard.polling == ""


def test_lost_events_mean_that_everything_is_looked_at(guard: WatchGuard, marks: Marks) -> None:
    marks.take()
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; filesystem events were lost")
    assert marks.take() == ({}, {b""})


def test_events_become_marks_by_name_and_by_tree(guard: WatchGuard, marks: Marks, tmp_path: Path) -> None:
    marks.take()
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "a.png.part").write_bytes(b"x")
    (tmp_path / "a.png").write_bytes(b"x")
    wait_for(lambda: bool(marks))
    assert marks.take() == ({b"": {b"a.png"}}, set())
    (tmp_path / "folder").mkdir()
    wait_for(lambda: b"folder" in marks.take()[1])


def test_a_failing_handler_does_not_end_the_watch(guard: WatchGuard, marks: Marks, tmp_path: Path) -> None:
    assert guard._watcher is not None

    def fail(path: bytes) -> None:
        raise RuntimeError("a bug")

    marks.add_name = fail  # type: ignore[method-assign]
    (tmp_path / "a.png").write_bytes(b"x")
    wait_for(lambda: bool(marks))
    assert marks.take() == ({}, {b""})
    assert guard._watcher.is_alive()


def test_polling_by_choice_starts_no_watcher(tmp_path: Path, marks: Marks, fake_clock: FakeClock) -> None:
    guard = WatchGuard(tmp_path, marks, "polling", fake_clock.monotonic)
    guard.check()
    assert "polling" in guard.polling and guard._watcher is None
