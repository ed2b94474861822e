from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from daemon.runs.process import Event, JobEnd, JobProcess
from daemon.runs.run_queue import JOBS_FOLDER, MAX_RESUMES, STOP_SECONDS, Runner
from daemon.state.store import Run, Store
from fake_clock import FakeClock
from utils.errors import StopRunError
from utils.job_protocol import JOB_FILE, SCRATCH_FOLDER, write_job

SUCCEED = (
    "from utils.job_protocol import *\nemit_progress('train', 1, 1, 'done')\nemit_outcome('succeeded', 'published v1')"
)
CHECKPOINT = (
    "import os, signal, sys, time\n"
    "from utils.job_protocol import *\n"
    "signal.signal(15, lambda *_: sys.exit(75))\n"
    "if os.path.exists('checkpoint'):\n"
    "    emit_outcome('succeeded', 'resumed'); sys.exit(0)\n"
    "open('checkpoint', 'w').close()\n"
    "emit_progress('train', 1, 2, 'half')\n"
    "time.sleep(60)"
)


class ScriptLauncher:
    """Starts a small script instead of a training."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.prepared = 0

    def prepare(self, run: Run, folder: Path) -> None:
        if not self.code:
            raise StopRunError("nothing to train on")
        self.prepared += 1
        write_job(folder, {"run_id": run.id})

    def launch(self, run: Run, folder: Path, on_progress: Callable[[Event], None]) -> JobProcess:
        return JobProcess([sys.executable, "-P", "-c", self.code], folder, os.environ, on_progress)

    def watch(self, run: Run) -> None:
        pass

    def explain_end(self, run: Run, end: JobEnd) -> JobEnd:
        return end


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "daemon.sqlite")
    yield opened
    opened.close()


def make_runner(tmp_path: Path, store: Store, code: str, clock: FakeClock | None = None) -> Runner:
    return Runner(tmp_path, store, clock or FakeClock(), ScriptLauncher(code), lambda run: None)


def tick_until(runner: Runner, done: Callable[[], bool]) -> list[tuple[Run, JobEnd]]:
    ended: list[tuple[Run, JobEnd]] = []
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        ended += runner.tick()
        time.sleep(0.02)
    return ended


def is_idle(runner: Runner) -> Callable[[], bool]:
    return lambda: runner.current("train") is None


def has_progress(runner: Runner) -> Callable[[], bool]:
    return lambda: (run := runner.current("train")) is not None and bool(run.progress.get("phase"))


def test_a_run_is_queued_started_and_recorded_with_its_end(tmp_path: Path, store: Store) -> None:
    runner = make_runner(tmp_path, store, SUCCEED)
    run = runner.queue("train", "manual", "asked for")
    assert run is not None
    assert runner.wake.is_set()
    [(ended, end)] = tick_until(runner, is_idle(runner))
    assert (ended.state, end.summary) == ("succeeded", "published v1")
    stored = store.run(run.id)
    assert stored is not None
    assert stored.progress["message"] == "done"
    assert stored.ended is not None
    assert stored.pid is None


def test_one_run_of_a_kind_at_a_time(tmp_path: Path, store: Store) -> None:
    runner = make_runner(tmp_path, store, SUCCEED)
    assert runner.queue("train", "manual", "first") is not None
    assert runner.queue("train", "manual", "second") is None
    assert runner.queue("scrape", "manual", "another kind") is not None


def test_a_run_that_cannot_be_prepared_fails_with_the_reason(tmp_path: Path, store: Store) -> None:
    runner = make_runner(tmp_path, store, "")
    runner.queue("train", "manual", "asked for")
    [(ended, _)] = tick_until(runner, is_idle(runner))
    assert (ended.state, ended.outcome["summary"]) == ("failed", "nothing to train on")


def test_a_training_that_is_stopped_goes_on_at_the_next_start(tmp_path: Path, store: Store) -> None:
    first = make_runner(tmp_path, store, CHECKPOINT)
    run = first.queue("train", "growth", "500 new images")
    assert run is not None
    tick_until(first, has_progress(first))
    first.stop(10)
    stopped = store.run(run.id)
    assert stopped is not None
    assert stopped.state == "interrupted"
    assert first.queue("train", "manual", "while stopping") is None

    second = make_runner(tmp_path, store, CHECKPOINT)
    second.adopt_left_overs(resume=False)
    assert second.current("train") is None
    second.adopt_left_overs()
    [(ended, end)] = tick_until(second, is_idle(second))
    assert (ended.id, end.summary) == (run.id, "resumed")


def test_a_training_whose_daemon_was_killed_is_ended_and_resumed(tmp_path: Path, store: Store) -> None:
    first = make_runner(tmp_path, store, CHECKPOINT)
    run = first.queue("train", "manual", "asked for")
    assert run is not None
    tick_until(first, has_progress(first))
    orphan = first.current("train")
    assert orphan is not None
    assert orphan.pid is not None

    second = make_runner(tmp_path, store, CHECKPOINT)
    second.adopt_left_overs()
    assert psutil.Process(orphan.pid).status() == psutil.STATUS_ZOMBIE  # ended; its parent, this test, reaps it below
    [(ended, _)] = tick_until(second, is_idle(second))
    assert (ended.id, ended.state) == (run.id, "succeeded")
    tick_until(first, is_idle(first))  # reaps the killed process, whose parent this test is


def test_a_training_that_never_gets_anywhere_is_given_up(tmp_path: Path, store: Store) -> None:
    run = Run("train-1", "train", "running", "manual", "x", "2026-03-01T00:00:00Z", progress={"resumes": MAX_RESUMES})
    store.save(run)
    runner = make_runner(tmp_path, store, SUCCEED)
    runner.adopt_left_overs()
    given_up = store.run("train-1")
    assert given_up is not None
    assert given_up.state == "failed"
    assert runner.current("train") is None


def test_folders_of_old_runs_are_removed(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.runs.run_queue.KEEP_JOB_FOLDERS", 1)
    runner = make_runner(tmp_path, store, SUCCEED)
    old = tmp_path / JOBS_FOLDER / "train-old"
    old.mkdir(parents=True)
    run = runner.queue("train", "manual", "asked for")
    assert run is not None
    tick_until(runner, is_idle(runner))
    assert not old.exists()
    assert (tmp_path / JOBS_FOLDER / run.id / JOB_FILE).is_file()


def test_what_a_job_needs_only_to_go_on_is_kept_until_it_is_over(tmp_path: Path, store: Store) -> None:
    first = make_runner(tmp_path, store, CHECKPOINT.replace("'checkpoint'", "'scratch/checkpoint'"))
    run = first.queue("train", "manual", "asked for")
    assert run is not None
    (tmp_path / JOBS_FOLDER / run.id / SCRATCH_FOLDER).mkdir(parents=True)
    tick_until(first, has_progress(first))
    assert first.queue("scrape", "manual", "too late to be started") is not None
    first.stop(10)
    assert [run.pid for run in store.runs("scrape")] == [None]
    assert (tmp_path / JOBS_FOLDER / run.id / SCRATCH_FOLDER / "checkpoint").is_file()

    second = make_runner(tmp_path, store, "from utils.job_protocol import *\nemit_outcome('succeeded', 'scraped')")
    second.queue("scrape", "manual", "an end of another kind")
    tick_until(second, lambda: second.current("scrape") is None)
    assert (tmp_path / JOBS_FOLDER / run.id / SCRATCH_FOLDER / "checkpoint").is_file()

    third = make_runner(tmp_path, store, CHECKPOINT.replace("'checkpoint'", "'scratch/checkpoint'"))
    third.adopt_left_overs()
    [(ended, end)] = tick_until(third, is_idle(third))
    assert (ended.id, end.summary) == (run.id, "resumed")
    assert not (tmp_path / JOBS_FOLDER / run.id / SCRATCH_FOLDER).exists()
    assert (tmp_path / JOBS_FOLDER / run.id / JOB_FILE).is_file()


def test_lines_of_several_sources_are_kept_side_by_side(tmp_path: Path, store: Store) -> None:
    code = (
        "from utils.job_protocol import *\n"
        "emit_progress('scrape', 1, 2, 'a', source='pexels')\nemit_progress('scrape', 1, 2, 'b', source='civitai')\n"
        "emit_outcome('succeeded', 'ok')"
    )
    runner = make_runner(tmp_path, store, code)
    runner.queue("scrape", "manual", "asked for")
    [(ended, _)] = tick_until(runner, lambda: runner.current("scrape") is None)
    assert set(ended.progress["sources"]) == {"pexels", "civitai"}


def test_a_run_that_a_person_stops_stays_stopped(tmp_path: Path, store: Store) -> None:
    runner = make_runner(tmp_path, store, CHECKPOINT)
    run = runner.queue("train", "manual", "asked for")
    assert run is not None
    tick_until(runner, has_progress(runner))
    assert runner.stop_run(run.id)
    [(ended, end)] = tick_until(runner, is_idle(runner))
    assert (ended.state, end.result) == ("stopped", "interrupted")
    assert not runner.stop_run(run.id)
    again = make_runner(tmp_path, store, CHECKPOINT)
    again.adopt_left_overs()
    assert again.current("train") is None


def test_a_run_can_be_stopped_before_it_has_started(tmp_path: Path, store: Store) -> None:
    runner = make_runner(tmp_path, store, SUCCEED)
    run = runner.queue("train", "manual", "asked for")
    assert run is not None
    assert runner.stop_run(run.id)
    [(ended, _)] = tick_until(runner, is_idle(runner))
    assert ended.state == "stopped"


def test_a_run_that_does_not_stop_is_killed(tmp_path: Path, store: Store) -> None:
    deaf = "import signal, time\nfrom utils.job_protocol import *\nsignal.signal(15, signal.SIG_IGN)\n"
    clock = FakeClock()
    runner = make_runner(tmp_path, store, deaf + "emit_progress('train', 1, 2, 'half')\ntime.sleep(60)", clock)
    run = runner.queue("train", "manual", "asked for")
    assert run is not None
    tick_until(runner, has_progress(runner))
    runner.stop_run(run.id)
    runner.tick()
    clock.pass_time(STOP_SECONDS + 1)
    [(ended, _)] = tick_until(runner, is_idle(runner))
    assert ended.state == "stopped"
