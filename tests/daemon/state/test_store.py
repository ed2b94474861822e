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


@pytest.mark.parametrize("content", [b"no database at all" * 500, b"SQLite format 3\0" + b"x" * 5000])
def test_a_damaged_file_is_set_aside_and_said(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    store = Store(file)
    assert file.with_name("daemon.sqlite.set-aside").read_bytes() == content
    store.save(make_run(1))
    assert store.runs() == [make_run(1)]
    store.close()


def test_damage_in_the_middle_is_found_at_the_start(file: Path) -> None:
    store = Store(file)
    for number in range(200):
        store.save(make_run(number, outcome={"summary": "x" * 500}))
    store.close()
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20_000] = b"\xff" * 20_000
    file.write_bytes(data)
    store = Store(file)
    assert file.with_name("daemon.sqlite.set-aside").exists()
    store.set_fact("a", 1)
    assert store.fact("a") == 1
    store.close()


def test_what_a_full_disk_does_not_take_is_kept_and_written_later(file: Path) -> None:
    store = Store(file)
    store.save(make_run(1, state="running"))
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    large = make_run(2, outcome={"summary": "x" * 20_000})
    ended = make_run(1, outcome={"summary": "y" * 20_000})
    store.save(large)
    store.save(ended)
    store.set_fact("streak", 3)
    assert "full" in store.problem
    assert store.runs() == [large, ended] and store.run(ended.id) == ended
    assert store.open_runs() == [] and store.fact("streak") == 3
    store._db.execute("PRAGMA max_page_count = 1000000")
    store._retry_after = 0.0
    store.flush()
    assert store.problem == ""
    store.close()
    again = Store(file)
    assert again.runs() == [large, ended] and again.fact("streak") == 3
    again.close()
