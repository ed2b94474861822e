"""The watcher is kept at work, and what it cannot do is said."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from dataset_kit import wait_for

from fake_clock import FakeClock
from handlers.watch.dirty_paths import DirtyPaths
from handlers.watch.liveness import COOKIE_PATIENCE_SECONDS, COOKIE_SECONDS, MAX_UNPROVEN, RETRY_SECONDS, WatchLiveness


@pytest.fixture
def dirty_paths() -> DirtyPaths:
    return DirtyPaths(lambda: None)


@pytest.fixture
def liveness(tmp_path: Path, dirty_paths: DirtyPaths, fake_clock: FakeClock) -> WatchLiveness:
    liveness = WatchLiveness(tmp_path, dirty_paths, "auto", fake_clock.monotonic)
    assert liveness.check()  # a new watcher: everything has to be read
    yield liveness
    liveness.stop()


def test_a_cookie_proves_that_events_arrive(liveness: WatchLiveness, fake_clock: FakeClock, tmp_path: Path) -> None:
    assert not liveness.check()
    fake_clock.pass_time(1)
    wait_for(lambda: not liveness.check() and liveness.proof == fake_clock.monotonic())
    assert liveness.restarts == 0
    assert list(tmp_path.iterdir()) == []


def test_a_cookie_that_is_not_seen_replaces_the_watcher(liveness: WatchLiveness, fake_clock: FakeClock) -> None:
    watcher = liveness._watcher
    assert watcher is not None and watcher._observer is not None
    watcher._observer._inotify_fd.stop()  # the reader dies; observer and emitter go on looking alive
    watcher._observer._inotify_fd.join()
    assert watcher.is_alive()
    liveness.check()
    fake_clock.pass_time(COOKIE_PATIENCE_SECONDS + 1)
    assert liveness.check()
    assert liveness.restarts == 1 and liveness._watcher is not watcher
    fake_clock.pass_time(COOKIE_SECONDS)
    wait_for(lambda: not liveness.check() and liveness.proof == fake_clock.monotonic())


def test_where_no_events_arrive_scans_take_over_and_events_are_tried_again_later(
    liveness: WatchLiveness, fake_clock: FakeClock, tmp_path: Path
) -> None:
    for _ in range(MAX_UNPROVEN):
        assert liveness._watcher is not None and liveness._watcher._observer is not None
        liveness._watcher._observer._inotify_fd.stop()
        liveness._watcher._observer._inotify_fd.join()
        liveness.check()
        fake_clock.pass_time(COOKIE_PATIENCE_SECONDS + 1)
        assert liveness.check()
    assert liveness._watcher is None and "no events arrive" in liveness.polling
    assert not liveness.check()
    fake_clock.pass_time(RETRY_SECONDS + 1)
    assert liveness.check()
    assert liveness._watcher is not None and liveness.polling == ""


def test_another_folder_at_the_same_place_is_watched(
    liveness: WatchLiveness, tmp_path: Path, dirty_paths: DirtyPaths
) -> None:
    tmp_path.rename(tmp_path.with_name("aside"))
    assert not liveness.check()  # nothing to watch
    tmp_path.mkdir()
    assert liveness.check()
    dirty_paths.take()
    (tmp_path / "a.png").write_bytes(b"x")
    wait_for(lambda: bool(dirty_paths))


def test_folders_that_the_kernel_does_not_watch_are_told(liveness: WatchLiveness, tmp_path: Path) -> None:
    assert liveness.expect_watches(1)
    assert not liveness.expect_watches(50)
    assert liveness.polling == ""
    assert liveness.expect_watches(50)
    assert liveness.polling.startswith("only 1 of 50 folders")
    liveness.expect_watches(1)
    assert liveness.polling == ""


def test_lost_events_mean_that_everything_is_looked_at(liveness: WatchLiveness, dirty_paths: DirtyPaths) -> None:
    dirty_paths.take()
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; filesystem events were lost")
    assert dirty_paths.take() == ({}, {b""})


def test_events_become_marks_by_name_and_by_tree(
    liveness: WatchLiveness, dirty_paths: DirtyPaths, tmp_path: Path
) -> None:
    dirty_paths.take()
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "a.png.part").write_bytes(b"x")
    (tmp_path / "a.png").write_bytes(b"x")
    wait_for(lambda: bool(dirty_paths))
    assert dirty_paths.take() == ({b"": {b"a.png"}}, set())
    (tmp_path / "folder").mkdir()
    wait_for(lambda: b"folder" in dirty_paths.take()[1])


def test_a_failing_handler_does_not_end_the_watch(
    liveness: WatchLiveness, dirty_paths: DirtyPaths, tmp_path: Path
) -> None:
    assert liveness._watcher is not None

    def fail(path: bytes) -> None:
        raise RuntimeError("a bug")

    dirty_paths.add_name = fail  # type: ignore[method-assign]
    (tmp_path / "a.png").write_bytes(b"x")
    wait_for(lambda: bool(dirty_paths))
    assert dirty_paths.take() == ({}, {b""})
    assert liveness._watcher.is_alive()


def test_polling_by_choice_starts_no_watcher(tmp_path: Path, dirty_paths: DirtyPaths, fake_clock: FakeClock) -> None:
    liveness = WatchLiveness(tmp_path, dirty_paths, "polling", fake_clock.monotonic)
    liveness.check()
    assert "polling" in liveness.polling and liveness._watcher is None
