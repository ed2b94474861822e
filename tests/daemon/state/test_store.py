from __future__ import annotations

from pathlib import Path

import pytest

from daemon.state.deadlines import Mark
from daemon.state.store import Run, Store


def make_run(number: int, **changes: object) -> Run:
    started = f"2026-03-01T00:{number // 60:02d}:{number % 60:02d}Z"
    run = Run(
        id=f"train-{number:04d}", kind="train", state="succeeded", trigger="manual", reason="test", started=started
    )
    return run.with_changes(**changes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "daemon.sqlite"


def test_runs_and_marks_survive_a_restart(file: Path) -> None:
    store = Store(file)
    run = make_run(1, progress={"phase": "train"}, outcome={"summary": "published v1"})
    store.save(run)
    mark = Mark("2026-03-01T00:00:00Z", "boot", 12.5)
    store.set_mark("train_end", mark)
    store.close()
    again = Store(file)
    assert again.run(run.id) == run
    assert again.mark("train_end") == mark
    assert again.fact("nothing") is None
    again.close()


def test_the_newest_run_comes_first_and_kinds_are_apart(file: Path) -> None:
    store = Store(file)
    for number in range(3):
        store.save(make_run(number))
    store.save(make_run(9, id="scrape-1", kind="scrape"))
    assert [run.id for run in store.runs("train", 2)] == ["train-0002", "train-0001"]
    assert [run.kind for run in store.runs(None, 10)].count("scrape") == 1
    store.close()


def test_the_history_is_bounded_and_open_runs_are_never_forgotten(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.state.store.KEEP_RUNS", 5)
    store = Store(file)
    for number in range(20):
        store.save(make_run(number))
    assert len(store.runs("train", 100)) == 5
    store.save(make_run(30, state="running"))
    assert [run.id for run in store.open_runs()] == ["train-0030"]
    store.close()
