"""Trainings as the daemon starts them, for benchmarks: a folder of pictures becomes a job, its lines an outcome."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagehash
from PIL import Image, ImageOps

from trainer.data.snapshot import Sample, write_snapshot
from utils.job_protocol import write_job
from utils.metadata import Label


@dataclass(frozen=True)
class Ended:
    exit_code: int
    outcome: dict[str, Any] | None
    progress: list[dict[str, Any]]
    seconds: float
    log: str


def sample_of(data: Path, file: Path, label: Label, **facts: Any) -> Sample:
    """The facts that the index would hold about `file`."""
    raw = file.read_bytes()
    with Image.open(file) as image:
        width, height, form, exif = image.width, image.height, str(image.format).lower(), bool(image.getexif())
        phash = str(imagehash.phash(ImageOps.exif_transpose(image).convert("RGB")))
    digest = hashlib.sha256(raw).hexdigest()
    known: dict[str, Any] = {"source": "manual", **facts}
    return Sample(
        id=digest[:32],
        path=str(file.relative_to(data)),
        sha256=digest,
        size_bytes=len(raw),
        label=label,
        format=form,
        width=width,
        height=height,
        has_exif=exif,
        phash=phash,
        **known,
    )


def make_job(folder: Path, data: Path, work: Path, samples: Iterable[Sample], settings: dict[str, Any]) -> None:
    """A job folder; `work` holds models and state, and stays from job to job."""
    folder.mkdir(parents=True, exist_ok=True)
    write_snapshot(folder / "snapshot.jsonl", samples)
    storage = {"local_path": str(data), "models_path": str(work / "models"), "state_path": str(work / "state")}
    config = {**settings, "storage": storage}
    write_job(folder, {"run_id": folder.name, "config": config, "snapshot": "snapshot.jsonl", "reason": "benchmark"})


def run_job(folder: Path, *, show: bool = True, environment: dict[str, str] | None = None) -> Ended:
    """Run `python -P -m trainer --job FOLDER` to its end."""
    started = time.monotonic()
    command = [sys.executable, "-P", "-m", "trainer", "--job", str(folder)]
    environ = {**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})}
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environ)
    events = []
    assert process.stdout is not None
    for line in process.stdout:
        events.append(json.loads(line))
        if show:
            event = events[-1]
            text = event.get("message") or event.get("summary")
            print(f"{time.monotonic() - started:7.1f} s  {event.get('phase', 'outcome'):9}  {text}", flush=True)
    code = process.wait()
    outcome = next((event for event in events if event["event"] == "outcome"), None)
    progress = [event for event in events if event["event"] == "progress"]
    return Ended(code, outcome, progress, time.monotonic() - started, (folder / "log.txt").read_text())


def without(samples: Iterable[Sample], *names: str) -> list[Sample]:
    """The samples with the named facts forgotten."""
    return [replace(sample, **dict.fromkeys(names)) for sample in samples]
