"""The data set as the daemon runs it: a thread, a watcher and real files."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from dataset_kit import Folder, draw, wait_for

from child_processes import running_children
from handlers.dataset import Dataset
from handlers.index import store
from handlers.index.rows import Counts
from handlers.index.schema import INDEX_FILE
from utils.clock import SystemClock
from utils.data_folder import DataFolder
from utils.errors import OperatorError

WATCH = """
import json, pathlib, sys, time
from handlers.dataset import Dataset
from utils.clock import SystemClock
from utils.errors import OperatorError
from utils.config_loader import config_from_job

config = config_from_job(json.loads(pathlib.Path(sys.argv[1]).read_text()))
dataset = Dataset(config, SystemClock(), lambda counts: print(counts.total, flush=True))
dataset.start()
time.sleep(60)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of twelve pictures outside the data folder."""
    tree = tmp_path / "tree"
    for number in range(12):
        folder = tree / f"{number % 3}" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        draw(100 + number).save(folder / f"{number}.{('png', 'jpg', 'webp')[number % 3]}")
    return tree


def copy(tree: Path, target: Path) -> None:
    subprocess.run(["cp", "-r", tree, target], check=True)


def move(tree: Path, target: Path) -> None:
    subprocess.run(["mv", tree, target], check=True)


def link(tree: Path, target: Path) -> None:
    subprocess.run(["cp", "-rl", tree, target], check=True)


def extract(tree: Path, target: Path) -> None:
    target.mkdir()
    subprocess.run(f"tar c -C {tree} . | tar x -C {target}", shell=True, check=True)


@pytest.mark.parametrize("bring", [copy, move, link, extract])
def test_a_tree_counts_however_it_comes_and_goes(dataset: Dataset, folder: Folder, tree: Path, bring: object) -> None:
    wait_for(dataset.ready)
    target = folder.root / "ai_generated"
    bring(tree, target)  # type: ignore[operator]
    wait_for(lambda: dataset.counts() == Counts(total=12, ai_generated=12))
    assert len(list(dataset.labelled_samples())) == 12
    shutil.rmtree(target)
    wait_for(lambda: dataset.counts() == Counts())
    wait_for(lambda: not folder.metadata_files())


def test_counts_come_from_the_index_at_once_and_nothing_blocks(folder: Folder) -> None:
    folder.picture("real/a.png", 1)
    first = Dataset(folder.config, SystemClock())
    first.start()
    wait_for(lambda: first.counts().real == 1)
    first.stop()
    second = Dataset(folder.config, SystemClock())
    second.start()
    assert second.counts() == Counts(total=1, real=1)
    second.stop()
    assert not second.health().ok


def test_a_metadata_edit_changes_the_counts(dataset: Dataset, folder: Folder) -> None:
    folder.picture("inbox/a.png", 1)
    wait_for(lambda: dataset.counts().unlabeled == 1)
    wait_for(lambda: bool(folder.metadata_files()))
    (metadata,) = folder.metadata_files()
    metadata.write_text(metadata.read_text().replace('"label": null', '"label": "real"'))
    wait_for(lambda: dataset.counts() == Counts(total=1, real=1))


def test_a_file_that_arrives_slowly_counts_when_it_is_whole(dataset: Dataset, folder: Folder) -> None:
    whole = folder.picture("outside.png", 1).read_bytes()
    (folder.root / "outside.png").unlink()
    wait_for(lambda: dataset.counts() == Counts())
    with (folder.root / "slow.png").open("wb") as stream:
        stream.write(whole[: len(whole) // 2])
        stream.flush()
        wait_for(lambda: dataset.counts().rejected == 1)  # longer than it may settle
        stream.write(whole[len(whole) // 2 :])
    wait_for(lambda: dataset.counts() == Counts(total=1, unlabeled=1))


def test_a_data_folder_that_goes_is_an_alarm_until_it_is_back(dataset: Dataset, folder: Folder) -> None:
    folder.picture("real/a.png", 1)
    wait_for(lambda: dataset.counts().real == 1 and bool(folder.metadata_files()))
    aside = folder.base / "aside"
    folder.root.rename(aside)
    wait_for(lambda: dataset.counts() == Counts(total=1, real=1, away=1))
    assert dataset.is_lost() and not dataset.health().ok and "renamed" in dataset.health().reason
    assert not folder.root.exists()
    aside.rename(folder.root)
    wait_for(lambda: dataset.counts() == Counts(total=1, real=1))
    wait_for(lambda: dataset.health().ok)
    folder.picture("real/c.png", 3)
    wait_for(lambda: dataset.counts().real == 2)


def test_an_emptied_data_folder_is_an_alarm_until_a_person_confirms(dataset: Dataset, folder: Folder) -> None:
    for seed in range(3):
        folder.picture(f"real/{seed}.png", seed)
    wait_for(lambda: dataset.counts().real == 3 and len(folder.metadata_files()) == 3)
    for name in ("meta", "real"):
        shutil.rmtree(folder.root / name)
    wait_for(lambda: dataset.counts() == Counts(total=3, real=3, away=3))
    health = dataset.health()
    assert not health.ok and "accept-loss" in health.reason
    DataFolder(folder.root, folder.base / "state").accept()
    wait_for(lambda: dataset.counts() == Counts())
    wait_for(lambda: dataset.health().ok and not dataset.missing())


def test_a_data_folder_that_is_away_at_the_start_is_an_alarm(folder: Folder) -> None:
    folder.picture("real/a.png", 1)
    first = Dataset(folder.config, SystemClock())
    first.start()
    wait_for(lambda: first.counts() == Counts(total=1, real=1))
    first.stop()
    folder.root.rename(folder.base / "aside")
    second = Dataset(folder.config, SystemClock())
    second.start()
    wait_for(second.ready)
    assert second.is_lost() and second.counts() == Counts(total=1, real=1, away=1)
    assert not folder.root.exists()
    second.stop()


def test_a_dead_watcher_is_noticed_and_replaced(dataset: Dataset, folder: Folder) -> None:
    wait_for(lambda: dataset.ready() and dataset._liveness._watcher is not None)
    watcher = dataset._liveness._watcher
    assert watcher is not None and watcher._observer is not None
    watcher._observer.stop()  # as an exception in one of its threads would
    folder.picture("real/a.png", 1)
    wait_for(lambda: dataset.counts().real == 1)
    assert dataset._liveness.restarts == 1


def test_an_index_broken_while_running_is_made_anew(dataset: Dataset, folder: Folder) -> None:
    folder.picture("real/a.png", 1)
    wait_for(lambda: dataset.counts().real == 1)
    reconciler = dataset._reconciler
    assert reconciler is not None
    reconciler._index._db.execute("DROP TABLE samples")
    folder.picture("real/b.png", 2)
    dataset.request_reconcile()
    wait_for(lambda: dataset.counts() == Counts(total=2, real=2))
    wait_for(lambda: dataset.health().ok)


def test_an_index_deleted_while_running_is_made_anew(dataset: Dataset, folder: Folder) -> None:
    folder.picture("real/a.png", 1)
    wait_for(lambda: dataset.counts().real == 1)
    for file in (folder.base / "state").iterdir():
        file.unlink()
    wait_for((folder.base / "state" / INDEX_FILE).exists)
    wait_for(lambda: [sample.path for sample in dataset.labelled_samples()] == ["real/a.png"])


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b""])
def test_a_foreign_index_file_is_set_aside(folder: Folder, content: bytes) -> None:
    state = folder.base / "state"
    state.mkdir()
    (state / INDEX_FILE).write_bytes(content)
    folder.picture("real/a.png", 1)
    dataset = Dataset(folder.config, SystemClock())
    dataset.start()
    wait_for(lambda: dataset.counts().real == 1)
    dataset.stop()
    assert (state / f"{INDEX_FILE}.set-aside").read_bytes().startswith(content[:100])


def test_another_programs_database_is_set_aside(folder: Folder) -> None:
    state = folder.base / "state"
    state.mkdir()
    with sqlite3.connect(state / INDEX_FILE) as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    dataset = Dataset(folder.config, SystemClock())
    dataset.start()
    wait_for(dataset.ready)
    dataset.stop()
    assert (state / f"{INDEX_FILE}.set-aside").exists()


def test_polling_does_without_events_and_says_so(folder: Folder) -> None:
    intake = folder.config.intake.model_copy(update={"watcher": "polling"})
    dataset = Dataset(folder.config.model_copy(update={"intake": intake}), SystemClock())
    dataset.start()
    wait_for(dataset.ready)
    folder.picture("real/a.png", 1)
    wait_for(lambda: dataset.counts().real == 1)
    health = dataset.health()
    assert health.ok and "polling" in health.reason
    dataset.stop()


def test_a_listener_that_fails_stops_nothing(folder: Folder) -> None:
    def fail(counts: Counts) -> None:
        raise RuntimeError("listener")

    dataset = Dataset(folder.config, SystemClock(), fail)
    dataset.start()
    folder.picture("real/a.png", 1)
    wait_for(lambda: dataset.counts().real == 1)
    folder.picture("real/b.png", 2)
    wait_for(lambda: dataset.counts().real == 2)
    assert dataset.health().ok
    dataset.stop()


def test_the_heartbeat_goes_on(dataset: Dataset) -> None:
    before = dataset.heartbeat()
    wait_for(lambda: dataset.heartbeat() > before)


def test_counts_equal_the_files_after_a_kill_at_any_moment(folder: Folder, tree: Path) -> None:
    settings = folder.base / "settings.json"
    settings.write_text(folder.config.model_dump_json())
    command = [sys.executable, "-P", "-c", WATCH, str(settings)]
    for kills, target in enumerate(("real", "ai_generated", "inbox")):
        copy(tree, folder.root / target)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(1 + kills):
                process.stdout.readline()
            children = psutil.Process(process.pid).children()
            os.kill(process.pid, signal.SIGKILL)
        psutil.wait_procs(children, timeout=10)
    shutil.rmtree(folder.root / "inbox" / "0")
    dataset = Dataset(folder.config, SystemClock())
    dataset.start()
    wait_for(lambda: dataset.ready() and dataset.counts().pending == 0)
    assert dataset.counts() == Counts(total=0, conflicts=12, duplicates=12 + 8)
    shutil.rmtree(folder.root / "ai_generated")
    wait_for(lambda: dataset.counts() == Counts(total=12, real=12, duplicates=8))
    dataset.stop()


def test_the_data_set_imports_no_imaging_library() -> None:
    program = "import sys, handlers.dataset; print([m for m in ('PIL', 'numpy', 'torch') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_data_folder_may_be_a_link(folder: Folder) -> None:
    real_place = folder.base / "big disk"
    folder.root.rename(real_place)
    folder.root.symlink_to(real_place)
    dataset = Dataset(folder.config, SystemClock())
    dataset.start()
    wait_for(dataset.ready)
    folder.picture("real/a.png", 1)
    wait_for(lambda: dataset.counts() == Counts(total=1, real=1))
    restarts = dataset._liveness.restarts
    wait_for(lambda: dataset._liveness._baked is None and dataset._liveness._next_cookie > 0)  # the cookie came back
    assert restarts == dataset._liveness.restarts == 0
    dataset.stop()


def test_stopping_does_not_wait_for_what_is_pending(folder: Folder, tree: Path) -> None:
    for number in range(5):
        copy(tree, folder.root / f"real{number}")
    dataset = Dataset(folder.config, SystemClock())
    others = running_children("utils.images.check_worker")  # of other tests
    dataset.start()
    wait_for(lambda: dataset.counts().pending > 0)
    dataset.stop()
    assert dataset._thread is not None
    dataset._thread.join(10)
    assert not dataset._thread.is_alive()
    assert set(running_children("utils.images.check_worker")) <= set(others)


def test_a_state_folder_that_cannot_be_used_stops_the_start(folder: Folder) -> None:
    (folder.base / "state").write_text("a file")
    with pytest.raises(OperatorError, match="state_path"):
        Dataset(folder.config, SystemClock()).start()


def test_a_data_folder_that_cannot_be_made_is_said(folder: Folder) -> None:
    folder.root.rmdir()
    folder.root.write_text("a file")
    dataset = Dataset(folder.config, SystemClock())
    dataset.start()
    wait_for(lambda: "exists" in dataset.health().reason)
    assert not dataset.health().ok
    folder.root.unlink()
    folder.picture("real/a.png", 1)
    wait_for(lambda: dataset.health().ok and dataset.counts().real == 1)
    dataset.stop()


@pytest.mark.parametrize(("page", "calls"), [(5000, 1), (1, 7)])  # between two folders, in the midst of one
def test_a_drop_is_counted_while_a_whole_scan_goes_on(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, page: int, calls: int
) -> None:
    monkeypatch.setattr(store, "A_PAGE", page)
    folder.picture("real/a.png", 1)
    dataset = Dataset(folder.config, SystemClock())
    dataset.start()
    wait_for(lambda: dataset.ready() and dataset.counts().real == 1)
    for number in range(3):
        (folder.root / f"real/{number}").mkdir()
    reconciler = dataset._reconciler
    assert reconciler is not None
    meanwhile = reconciler._meanwhile
    called: list[None] = []
    seen: list[int] = []

    def drop_and_wait() -> None:
        """In a whole scan, which does not go on before the drop has been counted."""
        called.append(None)
        if not seen and len(called) >= calls:
            folder.picture("real/b.png", 2)
            deadline = time.monotonic() + 30
            while dataset.counts().real < 2 and time.monotonic() < deadline:
                meanwhile()
                time.sleep(0.02)
            seen.append(dataset.counts().real)

    reconciler._meanwhile = drop_and_wait
    dataset.request_reconcile()
    wait_for(lambda: bool(seen))
    assert seen == [2]
    wait_for(lambda: dataset.counts() == Counts(total=2, real=2))
    dataset.stop()


def test_what_waits_to_be_looked_at_does_not_wait_for_the_end_of_a_whole_scan(folder: Folder) -> None:
    folder.picture("real/a.png", 1)
    dataset = Dataset(folder.config, SystemClock())
    dataset.start()
    wait_for(lambda: dataset.ready() and dataset.counts().real == 1)
    reconciler = dataset._reconciler
    assert reconciler is not None
    are_due, meanwhile, seen = dataset._marks_are_due, reconciler._meanwhile, list[int]()
    dataset._marks_are_due = lambda now: reconciler._is_in_whole and are_due(now)  # type: ignore[method-assign]

    def wait_in_the_scan() -> None:
        deadline = time.monotonic() + 30
        while not seen and dataset.counts().real < 2 and time.monotonic() < deadline:
            meanwhile()
            time.sleep(0.02)
        seen.append(dataset.counts().real)

    reconciler._meanwhile = wait_in_the_scan
    folder.picture("real/b.png", 2)
    wait_for(lambda: bool(dataset._dirty_paths))
    dataset._next_whole = 0.0  # due by time, as the scan that confirms a deletion
    dataset._wake.set()
    wait_for(lambda: bool(seen))
    assert seen[0] == 2
    dataset.stop()


def test_a_restart_answers_at_once_as_of_the_last_comparison(folder: Folder) -> None:
    folder.picture("real/a.png", 1)
    first = Dataset(folder.config, SystemClock())
    assert first.compared_at() is None
    first.start()
    wait_for(lambda: first.ready() and first.counts().real == 1)
    compared_at = first.compared_at()
    first.stop()
    second = Dataset(folder.config, SystemClock())
    second.start()
    assert second.compared_at() is not None and second.compared_at() >= str(compared_at)
    assert second.counts() == Counts(total=1, real=1)
    second.stop()
