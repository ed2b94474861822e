from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from daemon.runs.process import JobProcess, job_environment, kill_left_over
from utils.config_loader import Config, Secrets

Events = list[Mapping[str, Any]]
Start = Callable[[str], JobProcess]


@pytest.fixture
def events() -> Events:
    return []


@pytest.fixture
def start(tmp_path: Path, events: Events) -> Start:
    def run(code: str) -> JobProcess:
        return JobProcess([sys.executable, "-P", "-c", code], tmp_path, os.environ, events.append)

    return run


def end_of(job: JobProcess) -> Any:
    assert job.wait(20)
    return job.end()


def test_progress_and_outcome_are_heard(start: Start, events: Events) -> None:
    job = start(
        "from utils.job_protocol import *\n"
        "emit_progress('train', 1, 2, 'half')\n"
        "emit_outcome('rejected', 'worse than v1', {'reasons': ['AUC']})"
    )
    end = end_of(job)
    assert (end.result, end.summary, end.details) == ("rejected", "worse than v1", {"reasons": ["AUC"]})
    assert [event["message"] for event in events] == ["half"]


def test_a_crash_is_a_failure_that_quotes_the_last_line(start: Start) -> None:
    end = end_of(start("raise SystemExit('the disk is full')"))
    assert end.result == "failed"
    assert "exit status 1: the disk is full" in end.summary


def test_an_exit_without_an_outcome_is_a_failure(start: Start) -> None:
    assert end_of(start("pass")).result == "failed"


def test_lines_that_are_no_events_are_ignored(start: Start, events: Events) -> None:
    end = end_of(
        start(
            "print('hello'); print('[1]'); print('{}')\n"
            "from utils.job_protocol import *\nemit_outcome('succeeded', 'ok')"
        )
    )
    assert end.result == "succeeded"
    assert events == []


def test_a_job_that_is_asked_to_stop_and_leaves_is_interrupted(start: Start, events: Events) -> None:
    job = start(
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(75))\n"
        "from utils.job_protocol import *\nemit_progress('x', 0, None, 'ready')\ntime.sleep(60)"
    )
    deadline = time.monotonic() + 10
    while not events:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.ask_to_stop()
    assert end_of(job).result == "interrupted"


def test_what_a_killed_job_started_is_killed_too(start: Start, tmp_path: Path) -> None:
    job = start(
        f"import subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\n"
        f"open(r'{tmp_path}/child', 'w').write(str(child.pid))\ntime.sleep(60)"
    )
    deadline = time.monotonic() + 10
    while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child = int((tmp_path / "child").read_text())
    job.kill()
    assert end_of(job).result == "interrupted"
    deadline = time.monotonic() + 10
    while _is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_of_an_earlier_daemon_is_killed_and_another_process_of_its_pid_is_not(start: Start) -> None:
    job = start("import time; time.sleep(60)")
    assert not kill_left_over(job.pid, 1.0)
    assert job.is_running()
    assert kill_left_over(job.pid, job.started)
    assert job.wait(10)
    job.end()


def test_a_training_gets_no_key_and_no_job_may_speak_for_the_daemon(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PEXELS_API_KEY", "TRAINER_API_KEY", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "WATCHDOG_USEC"):
        monkeypatch.setenv(name, "secret-value")
    secrets = Secrets(pexels_api_key=SecretStr("pexels-key"), trainer_api_key=SecretStr("api-key"))
    settings = config.model_copy(update={"secrets": secrets})
    training = job_environment(settings, with_source_keys=False)
    assert "secret-value" not in training.values()
    scrape = job_environment(settings, with_source_keys=True)
    assert scrape["PEXELS_API_KEY"] == "pexels-key"
    assert "api-key" not in scrape.values()
    assert "NOTIFY_SOCKET" not in scrape


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
