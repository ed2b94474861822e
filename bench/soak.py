"""The service over many files in and out, scrapes and trainings, one after the other without pause. Demand: flat.

    python -P bench/soak.py [--files 20000] [--scrapes 50] [--trainings 2] [--seconds 540] [--json FILE]

The whole of it: --files 200000 --scrapes 1000 --trainings 50 --seconds 0 (no limit of time).
Trainings are whole ones of a small network, in their own processes.

A folder of 1,000 new pictures appears, counts, and goes with all that is known of it, again and again; between, runs
are asked for over the API as soon as the last one has ended, instead of once in hours. A scrape is one of the source
`folder`, which imports one new picture each time. After each round the service's memory, open descriptors and threads
are read, and the size of its databases. Flat: the median of the last third is at most 5 % and a small absolute amount
above that of the second; the first third is warm-up. The databases may grow by what stays: the imported pictures, and
the records of runs, of which the service keeps the newest 1,000 of each kind.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from PIL import Image
from running import Service, wait_for

A_ROUND = 1000
PER_LABEL = 40
SIDE = 64
GROWTH = 0.05
SMALLEST = {"memory_mb": 4.0, "descriptors": 4.0, "threads": 1.0, "database_mb": 1.0}  # growth that is none
# the service is watched, not its trainings: a small network, and no measurement that takes long
QUICK_TRAINING = {
    "MODEL__ARCHITECTURE": "test_efficientnet",
    "MODEL__PRETRAINED": "false",
    "MODEL__IMAGE_SIZE": "64",
    "TRAINING__MODE": "frozen",
    "EVALUATION__BOOTSTRAP_SAMPLES": "100",
    "EVALUATION__ROBUSTNESS": "false",
    "AUDIT__ENABLED": "false",
}
KEPT_MB = 0.007  # for each run: its record of 4 kB, and the rows of the picture that it imported
OFF = ("UNSPLASH", "PEXELS", "CIVITAI")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=20_000)
    options.add_argument("--scrapes", type=int, default=50)
    options.add_argument("--trainings", type=int, default=2)
    options.add_argument("--seconds", type=float, default=540, help="stop after so long; 0: no limit")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    base = Path(tempfile.mkdtemp(prefix="bench-soak-"))
    service = Service(base, settings(base / "camera"))
    try:
        found = soak(service, given.files, given.scrapes, given.trainings, given.seconds or float("inf"))
    finally:
        service.end()
        shutil.rmtree(base, ignore_errors=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    done = {name: found[name] for name in ("files", "scrapes", "trainings", "failed", "seconds")}
    print(json.dumps(done | {"growth": found["growth"], "first": found["rounds"][0], "last": found["rounds"][-1]}))
    print("not flat:", ", ".join(found["not_flat"]) or "nothing")
    return 1 if found["not_flat"] or found["failed"] else 0


def settings(camera: Path) -> dict[str, str]:
    return {
        **{f"EXPOSR_SOURCES__{name}__ENABLED": "false" for name in OFF},
        "EXPOSR_SOURCES__FOLDER__ENABLED": "true",
        "EXPOSR_SOURCES__FOLDER__PATHS": json.dumps([str(camera)]),
        "EXPOSR_SOURCES__FOLDER__LABEL": "real",
        "EXPOSR_GATE__ENABLED": "false",
        **{f"EXPOSR_{name}": value for name, value in QUICK_TRAINING.items()},
        # by themselves, the rounds would have trainings start; they are asked for here
        "EXPOSR_TRIGGERS__GROWTH_IMAGES": "1000000000",
        "EXPOSR_TRIGGERS__GROWTH_FRACTION": "100",
    }


def soak(service: Service, files: int, scrapes: int, trainings: int, seconds: float) -> dict[str, Any]:
    camera = service.folder / "camera"
    camera.mkdir(parents=True)
    for number in range(PER_LABEL):
        write(service.data / "real", number, 1)
        write(service.data / "ai_generated", number, 2)
    write(camera, 0, 3)
    rounds = max(3, files // A_ROUND)
    service.start()
    wait_for(lambda: service.total() == 2 * PER_LABEL)
    started, imported, trained, failed = time.monotonic(), 0, 0, list[str]()
    measured: list[dict[str, float]] = []
    while len(measured) < rounds and time.monotonic() - started < seconds:
        take_in_and_out(service, len(measured))
        share = (len(measured) + 1) / rounds
        while imported < share * scrapes and time.monotonic() - started < seconds:
            write(camera, imported + 1, 3)
            failed += run(service, "/scrape", imported)
            imported += 1
        while trained < share * trainings and time.monotonic() - started < seconds:
            failed += run(service, "/train", trained)
            trained += 1
        measured.append(measure(service) | {"runs": imported + trained})
    third = max(1, len(measured) // 3)
    growth = {
        name: (statistics.median(one[name] for one in measured[third : 2 * third] or measured),
               statistics.median(one[name] for one in measured[-third:]))
        for name in (*SMALLEST, "runs")
    }  # fmt: skip
    runs_then, runs_now = growth["runs"]
    stays = {"database_mb": KEPT_MB * (runs_now - runs_then)}
    not_flat = [
        name
        for name, least in SMALLEST.items()
        if growth[name][1] - growth[name][0] > max(GROWTH * growth[name][0], least) + stays.get(name, 0)
    ]
    return {
        "files": A_ROUND * len(measured),
        "scrapes": imported,
        "trainings": trained,
        "failed": failed,
        "seconds": time.monotonic() - started,
        "growth": growth,
        "not_flat": not_flat,
        "rounds": measured,
        "load": os.getloadavg()[0],
    }


def take_in_and_out(service: Service, number: int) -> None:
    before, folder = len(list(service.data.rglob("*.jpg"))), service.data / "real" / f"round-{number}"
    wait_for(lambda: service.total() == before)  # what the last scrape has brought counts a moment after its end
    aside = service.folder / "incoming"
    for file in range(A_ROUND):
        write(aside, number * A_ROUND + file, 4)
    aside.rename(folder)
    wait_for(lambda: service.total() == before + A_ROUND and not service.counts()["pending"])
    shutil.rmtree(folder)
    wait_for(lambda: service.total() == before)


def run(service: Service, path: str, number: int) -> list[str]:
    """Start a run and wait for its end; why it failed, if it did."""
    answer = service.post(path).json()
    if "run_id" not in answer:
        return [f"{path} {number}: {answer}"]
    wait_for(lambda: service.get(f"/runs/{answer['run_id']}")["ended"] is not None)
    ended = service.get(f"/runs/{answer['run_id']}")
    return [] if ended["state"] == "succeeded" else [f"{path} {number}: {ended['state']}, {ended.get('reason')}"]


def measure(service: Service) -> dict[str, float]:
    process = service.process
    assert process is not None
    databases = sum(file.stat().st_size for file in service.state.glob("*.sqlite"))
    return {
        "memory_mb": service.memory_mb()[0],
        "descriptors": process.num_fds(),
        "threads": process.num_threads(),
        "database_mb": databases / 1e6,
    }


def write(folder: Path, number: int, series: int) -> None:
    """A small picture unlike any other."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{series} {number}")
    image = Image.frombytes("RGB", (8, 8), rng.randbytes(192)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    if series == 2:  # what a generator leaves in this measurement
        image.paste((255, 0, 255), (0, 0, SIDE, 4))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=90)
    (folder / f"{series}-{number:06d}.jpg").write_bytes(data.getvalue())


if __name__ == "__main__":
    sys.exit(main())
