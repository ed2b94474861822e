"""Collecting at scale from the sandbox: does it survive faults and kills, and does its memory stay flat?

    .venv/bin/python -P bench/scale.py survive [--candidates 5000] [--kills 3] [--seed 1]
    .venv/bin/python -P bench/scale.py memory [--candidates 1000 50000]

`survive` injects faults into a tenth of all URLs, kills the collecting process at random moments, and compares what is
stored with what must be stored, file by file. `memory` reports the collecting process's own peak (VmHWM) for each
number of candidates. Both print one JSON object and end with status 1 when something is not as it must be.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from scrapers.sandbox.apis import civitai, pexels, unsplash
from scrapers.sandbox.faults import strikes
from scrapers.sandbox.pictures import Picture, collect_pictures
from scrapers.sandbox.server import SandboxServer
from scrapers.sandbox.settings import Fault, SandboxSettings, SourceName
from utils.config_loader import load_config
from utils.job_protocol import EXIT_INTERRUPTED, write_job

SOURCES = ("unsplash", "pexels", "civitai")
KEYS = dict.fromkeys(("UNSPLASH_ACCESS_KEY", "PEXELS_API_KEY", "CIVITAI_API_KEY"), "sandbox")
MOST_RUNS = 6
IMAGE_CONNECTIONS = 12
IMAGE_SUFFIXES = (".jpg", ".png", ".webp", ".avif")
ALLOWED_GROWTH_MIB = 16.0

TRANSIENT = (
    Fault(kind="status", status=503, retry_after="0", attempts=1, share=0.10, where="api"),
    Fault(kind="status", status=503, retry_after="0", attempts=1, share=0.02, where="image", seed=1),
    Fault(kind="status", status=429, attempts=1, share=0.01, where="image", seed=2),
    Fault(kind="cut_body", attempts=1, share=0.01, where="image", seed=3),
    Fault(kind="length_too_large", attempts=1, share=0.01, where="image", seed=4),
)
HARMLESS = (
    Fault(kind="length_missing", share=0.005, where="image", seed=5),
    Fault(kind="text_plain", share=0.005, where="image", seed=6),
)
FATAL = (
    Fault(kind="status", status=404, share=0.005, where="image", seed=7),
    Fault(kind="html", share=0.005, where="image", seed=8),
    Fault(kind="video", share=0.005, where="image", seed=9),
    Fault(kind="truncated_image", share=0.005, where="image", seed=10),
    Fault(kind="length_too_small", share=0.005, where="image", seed=11),
    Fault(kind="image_bomb", share=0.005, where="image", seed=12),
    Fault(kind="gzip_bomb", mebibytes=32, share=0.005, where="image", seed=13),
    Fault(kind="redirect", share=0.005, where="image", seed=14),
    Fault(kind="redirect", location="http://localhost:{port}/trap", share=0.005, where="image", seed=15),
    Fault(kind="redirect_loop", share=0.0025, where="image", seed=16),
    Fault(kind="noai", share=0.0025, where="image", seed=17),
)


def serve(settings: str, port_wanted: Connection) -> None:
    """A sandbox over drawn pictures, in a process of its own; ends with its parent's pipe."""
    with (
        tempfile.TemporaryDirectory() as empty,
        SandboxServer(Path(empty), SandboxSettings.model_validate_json(settings)) as server,
    ):
        port_wanted.send(server.host)
        threading.Event().wait()


@contextmanager
def sandbox(settings: SandboxSettings) -> Iterator[str]:
    """The host:port of a sandbox."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(settings.model_dump_json(), theirs), daemon=True
    )
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def settings_for(candidates: int, faults: tuple[Fault, ...] = ()) -> SandboxSettings:
    """Half photographs on two sources, half generated pictures; quotas that the crawl just fits into."""
    photos = candidates // 4
    return SandboxSettings.model_validate(
        {
            "synthetic": candidates,
            "photo_sources": ["unsplash", "pexels"],
            "creators": 1_000_000,
            "unsplash": {"hourly_limit": 2 * photos + 200},
            "pexels": {"hourly_limit": photos // 80 + 100, "monthly_limit": 1_000_000},
            "faults": [fault.model_dump() for fault in faults],
        }
    )


def make_job(folder: Path, host: str, limit: int) -> Path:
    """A job folder with the configuration of production, but for addresses and pace."""
    environment = {
        "EXPOSR_STORAGE__LOCAL_PATH": str(folder / "datasets"),
        "EXPOSR_STORAGE__STATE_PATH": str(folder / "state"),
        "EXPOSR_STORAGE__MIN_FREE_GB": "0",
        "EXPOSR_LOGGING__LEVEL": "error",
    }
    for name in SOURCES:
        values = {
            "enabled": "true",
            "base_url": f"http://{host}/{name}",
            "image_hosts": json.dumps([host]),
            "queries": "[]",
            "limit_per_query": str(limit),
            "image_connections": str(IMAGE_CONNECTIONS),
            "max_per_creator": "0",
            "min_interval_seconds": "0",
            "image_interval_seconds": "0",
            "requests_per_hour": "0",
        }
        environment |= {f"EXPOSR_SOURCES__{name.upper()}__{key.upper()}": value for key, value in values.items()}
    config = load_config(environ=environment)
    job = folder / "state" / "jobs" / "run-1"
    write_job(
        job, {"run_id": "run-1", "config": config.model_dump(mode="json"), "sources": list(SOURCES), "limit": None}
    )
    return job


def start(job: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "scrapers", "--job", str(job)]
    with (job / "errors.txt").open("a") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **KEYS})


def run_to_end(job: Path) -> tuple[dict[str, Any], int]:
    """The outcome's details of one run that nobody disturbs, and its process's peak memory in kilobytes."""
    process = start(job)
    peak = 0
    outcome: dict[str, Any] = {}
    assert process.stdout is not None
    for line in process.stdout:
        peak = max(peak, peak_memory(process.pid))
        event = json.loads(line)
        if event["event"] == "outcome":
            outcome = event["details"]["sources"]
    if process.wait() == EXIT_INTERRUPTED or not outcome:
        raise SystemExit(f"the collecting process ended without an outcome; see {job / 'errors.txt'}")
    return outcome, peak


def peak_memory(pid: int) -> int:
    """VmHWM of one process in kilobytes, 0 once it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def run_and_kill(job: Path, seconds: float) -> None:
    process = start(job)
    assert process.stdout is not None
    drain = threading.Thread(target=process.stdout.read)
    drain.start()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    drain.join()


def image_path_of(name: SourceName, picture: Picture) -> str:
    """The path of a candidate's original, which is what faults on images go by."""
    if name == "unsplash":
        return f"/images/unsplash/{unsplash.image_name(picture)}"
    if name == "pexels":
        number = pexels.photo_id(picture)
        extension = "png" if picture.media_type == "image/png" else "jpeg"
        return f"/images/pexels/photos/{number}/pexels-photo-{number}.{extension}"
    uuid = civitai.image_uuid(picture)
    return f"/images/civitai/{civitai.CDN_ACCOUNT}/{uuid}/original=true/{uuid}.jpeg"


def expected_images(settings: SandboxSettings) -> dict[str, SourceName]:
    """SHA-256 of every picture that no fatal fault hits first, with its source."""
    expected: dict[str, SourceName] = {}
    for name, offered in collect_pictures(Path("/nonexistent"), settings).items():
        for picture in offered:
            path = image_path_of(name, picture)
            hits = (
                fault for fault in settings.faults if fault.attempts is None and strikes(fault, name, "image", path)
            )
            if next(hits, None) not in FATAL:
                expected[hashlib.sha256(picture.read()).hexdigest()] = name
    return expected


def audit(folder: Path, expected: dict[str, SourceName]) -> dict[str, int]:
    """How many files are wrong, by the way in which they are; all zero is right."""
    data = folder / "datasets"
    images = {path.stem: path for path in (data / "images").rglob("*") if path.is_file()}
    metas = {path.stem: path for path in (data / "meta").rglob("*.json")}
    hashes = Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in images.values())
    described = {sample: json.loads(path.read_text()) for sample, path in metas.items()}
    return {
        "missing": len(expected.keys() - hashes.keys()),
        "unexpected": len(hashes.keys() - expected.keys()),
        "twice": sum(count - 1 for count in hashes.values()),
        "images_without_metadata": len(images.keys() - metas.keys()),
        "metadata_without_image": len(metas.keys() - images.keys()),
        "wrong_metadata": sum(
            data / meta["path"] != images.get(sample) or meta["source"] != expected.get(meta["sha256"])
            for sample, meta in described.items()
        ),
        "leftovers": sum(
            1 for path in data.rglob("*") if path.is_file() and path.suffix not in (*IMAGE_SUFFIXES, ".json")
        ),
    }


def judge_manners(host: str) -> dict[str, int]:
    """Requests that should not have been; all zero is right."""
    counters = httpx.get(f"http://{host}/control?log=0").json()["counters"]
    return {
        "requests_to_other_hosts": sum(count for name, count in counters["hosts"].items() if name != host),
        "requests_beyond_the_sources": sum(
            count for name, count in counters["requests"].items() if name.endswith("other")
        ),
        "keys_sent_to_image_hosts": sum(
            count for name, count in counters["keys"].items() if " image " in name and not name.endswith("anonymous")
        ),
        "quota_refusals": sum(
            count for name, count in counters["statuses"].items() if " api " in name and name.endswith((" 403", " 429"))
        ),
        "api_calls_at_once_beyond_one": sum(
            count - 1 for name, count in counters["peak_in_flight"].items() if name.endswith("api")
        ),
        "downloads_at_once_beyond_limit": sum(
            max(0, count - IMAGE_CONNECTIONS)
            for name, count in counters["peak_in_flight"].items()
            if name.endswith("image")
        ),
    }


def survive(candidates: int, kills: int, seed: int, folder: Path) -> bool:
    settings = settings_for(candidates, TRANSIENT + HARMLESS + FATAL)
    expected = expected_images(settings)
    rng = random.Random(seed)
    with sandbox(settings) as host:
        job = make_job(folder, host, candidates)
        began = time.perf_counter()
        moments = [round(rng.uniform(2.0, 2.0 + candidates / 400), 2) for _ in range(kills)]
        for seconds in moments:
            run_and_kill(job, seconds)
        outcome: dict[str, Any] = {}
        runs = 0
        while runs < MOST_RUNS:
            outcome, _ = run_to_end(job)
            runs += 1
            if (
                all(source["state"] == "finished" for source in outcome.values())
                and audit(folder, expected)["missing"] == 0
            ):
                break
        wrong = audit(folder, expected) | judge_manners(host)
    report = {
        "candidates": candidates,
        "expected": len(expected),
        "killed_after_seconds": moments,
        "runs_to_the_end": runs,
        "seconds": round(time.perf_counter() - began, 1),
        "wrong": wrong,
        "last_outcome": outcome,
    }
    print(json.dumps(report, indent=2))
    return not any(wrong.values())


def memory(sizes: list[int], folder: Path) -> bool:
    peaks: dict[int, dict[str, float]] = {}
    for candidates in sizes:
        with sandbox(settings_for(candidates)) as host:
            began = time.perf_counter()
            outcome, kilobytes = run_to_end(make_job(folder / str(candidates), host, candidates))
            stored = sum(source["stored"] for source in outcome.values())
            seconds = time.perf_counter() - began
            peaks[candidates] = {
                "stored": stored,
                "peak_mib": round(kilobytes / 1024, 1),
                "images_per_second": round(stored / seconds, 1),
            }
    growth = peaks[max(sizes)]["peak_mib"] - peaks[min(sizes)]["peak_mib"]
    print(json.dumps({"peaks": peaks, "growth_mib": round(growth, 1), "allowed_mib": ALLOWED_GROWTH_MIB}, indent=2))
    return growth <= ALLOWED_GROWTH_MIB and all(peak["stored"] == candidates for candidates, peak in peaks.items())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to collect to; none: a scratch folder that is removed")
    kinds = parser.add_subparsers(dest="kind", required=True)
    surviving = kinds.add_parser("survive")
    surviving.add_argument("--candidates", type=int, default=5000)
    surviving.add_argument("--kills", type=int, default=3)
    surviving.add_argument("--seed", type=int, default=1)
    remembering = kinds.add_parser("memory")
    remembering.add_argument("--candidates", type=int, nargs="+", default=[1000, 50_000])
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="scale-"))
    try:
        if chosen.kind == "survive":
            good = survive(chosen.candidates, chosen.kills, chosen.seed, folder)
        else:
            good = memory(chosen.candidates, folder)
    finally:
        if chosen.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
