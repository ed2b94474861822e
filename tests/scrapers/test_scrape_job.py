"""The job process as the daemon starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lifted import KEY_VARIABLES

from scrapers.sandbox.server import SandboxServer
from utils.config_loader import Config
from utils.job_protocol import EXIT_FINISHED, EXIT_INTERRUPTED, write_job

Configure = Callable[..., Config]
Misbehave = Callable[..., None]


def write(folder: Path, config: Config, **more: Any) -> Path:
    write_job(folder, {"run_id": "run-1", "config": config.model_dump(mode="json"), "sources": None, **more})
    return folder


def start(folder: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "scrapers", "--job", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **KEY_VARIABLES, **variables},
    )


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_job_reports_progress_and_its_outcome_in_json_lines(configure: Configure, tmp_path: Path) -> None:
    job = write(tmp_path / "job", configure(only=("civitai", "pexels")), limit=6)
    with start(job) as process:
        output, log = process.communicate(timeout=50)
    assert process.returncode == EXIT_FINISHED, log
    *progress, outcome = events(output)
    assert {event["event"] for event in progress} == {"progress"} and outcome["event"] == "outcome"
    last = {event["source"]: event for event in progress}
    assert (last["civitai"]["done"], last["civitai"]["total"], last["civitai"]["phase"]) == (6, 6, "scrape")
    assert last["civitai"]["counts"]["stored"] == 6
    assert outcome["result"] == "succeeded"
    sources = outcome["details"]["sources"]
    assert sources["civitai"] == {
        "state": "finished",
        "until": None,
        "message": "",
        "empty": False,
        "offered": 6,
        "stored": 6,
        "known": 0,
        "duplicate": 0,
        "waiting": 6,
        "filtered": {},
        "refused": {},
        "failed": {},
        "reasons": {},
        "alerts": [],
    }
    assert sources["unsplash"]["state"] == "disabled"
    assert log.count("event=source_terms") == 2 and "sandbox" not in log.replace("(sandbox)", "")


def test_sigterm_ends_the_job_soon_and_the_next_start_goes_on(
    configure: Configure, misbehave: Misbehave, sandbox: SandboxServer, tmp_path: Path
) -> None:
    misbehave(synthetic=200)
    config = configure(only=("civitai",), every={"image_connections": 2, "image_interval_seconds": 0.02})
    job = write(tmp_path / "job", config)
    images = config.storage.local_path / "images"
    with start(job) as process:
        while len(list(images.rglob("*.*"))) < 20:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        _, log = process.communicate(timeout=20)
    assert process.returncode == EXIT_INTERRUPTED, log
    assert time.monotonic() - asked < 15
    stored = len([file for file in images.rglob("*") if file.is_file()])
    assert 20 <= stored < 112
    lifted = configure(only=("civitai",))
    with start(write(job, lifted)) as process:
        output, log = process.communicate(timeout=55)
    assert events(output)[-1]["details"]["sources"]["civitai"]["stored"] == 112, (
        "the run's count includes the first part"
    )
    assert len([file for file in images.rglob("*") if file.is_file()]) == 112
    counters = sandbox.sandbox.journal.counters(with_paths=False)
    assert counters["requests"]["civitai image"] <= 112 + 2 + 2, "only what was under way was fetched again"


@pytest.mark.parametrize(
    ("job", "words"), [({"sources": ["flickr"]}, "no such source: flickr"), ({"sources": []}, "no source is enabled")]
)
def test_a_job_that_can_do_nothing_says_why(
    configure: Configure, tmp_path: Path, job: dict[str, Any], words: str
) -> None:
    folder = write(tmp_path / "job", configure(only=()), **job)
    with start(folder) as process:
        output, _ = process.communicate(timeout=30)
    (outcome,) = events(output)
    assert outcome["result"] == "failed" and words in outcome["summary"]
