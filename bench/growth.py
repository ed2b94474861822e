"""What a data folder costs once it holds 10^4, 10^5 and 10^6 pictures: restart, drop, idle, deletion, disk, memory.

    python -P bench/growth.py [--pictures 10000] [--drops 100] [--idle 60] [--json FILE] [--folder DIR] [--fill SECONDS]

For each size the real service is started on a set that `bench/filling.py` makes without checks, and asked over HTTP:

restart   start of the process until `/status` answers with the counts, and until the first whole comparison has ended,
          beside `find -printf` on the same tree
idle      processor time of the service while nothing happens
drop      rename of one picture until it counts, in a flat folder with half of the set and in a deep tree, beside a bare
          watchdog handler
delete    a folder of 50,000 (at most half of the set) until the counts tell, beside `find` of what is left
disk      bytes of the state a picture;  memory: of the service, after all that

`--folder` is where a large set is made in slices: with `--fill` the program only fills, for so many seconds at most.
Everything is deleted at the end. Raw results go to `--json`, one entry a size; `bench/plots.py` draws them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from filling import APART, FLAT, fill_directly, place
from intake import draw
from running import Service, disk_bytes, wait_for
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from utils.config.sections import Storage
from utils.config_loader import Config
from utils.logs import configure_logging

NO_TRAINING = {"EXPOSR_TRIGGERS__MIN_PER_CLASS": "1000000000"}  # it would be due by the size of the set
FINDS = 3
MOST_APART = 50_000
SETTLE_SECONDS = 30.0  # after the first comparison
REST_SECONDS = 0.3  # between two drops
GOALS = {
    "answers_s": 1.5,
    "comparison_by_find": 3.0,
    "idle_percent": 1.0,
    "flat_p99_s": 0.7,  # 0.2 s for the rest of a burst, and 0.5
    "deep_p99_s": 0.7,
    "deleted_after_rm_s": 5.0,
    "state_bytes_per_picture": 1000.0,
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, nargs="+", default=[10_000])
    options.add_argument("--drops", type=int, default=100)
    options.add_argument("--idle", type=float, default=60, help="seconds")
    options.add_argument("--json", type=Path)
    options.add_argument("--folder", type=Path)
    options.add_argument("--fill", type=float, metavar="SECONDS")
    given = options.parse_args()
    configure_logging("error", to_journal=False)
    found = []
    for pictures in given.pictures:
        base = given.folder or Path(tempfile.mkdtemp(prefix="bench-growth-"))
        if fill(base, pictures, given.fill or float("inf")) < pictures or given.fill:
            return 0
        try:
            found.append(measure(base, pictures, given.drops, given.idle))
            print(json.dumps(found[-1], indent=2), flush=True)
            if given.json:
                given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        finally:
            shutil.rmtree(base, ignore_errors=True)  # minutes, for a million
    missed = [f"{one['pictures']}: {name}" for one in found for name, goal in GOALS.items() if one[name] > goal]
    print("goals missed:", ", ".join(missed) or "none")
    return 1 if missed else 0


def fill(base: Path, pictures: int, seconds: float) -> int:
    storage = Storage(local_path=base / "datasets", models_path=base / "models", state_path=base / "state")
    storage.local_path.mkdir(parents=True, exist_ok=True)
    done = fill_directly(Config(storage=storage), pictures, min(MOST_APART, pictures // 2), seconds)
    print(f"{done} of {pictures} pictures", flush=True)
    return done


def measure(base: Path, pictures: int, drops: int, idle: float) -> dict[str, Any]:
    found: dict[str, Any] = {"pictures": pictures}
    found["state_bytes_per_picture"] = disk_bytes(base / "state") / pictures
    service = Service(base, NO_TRAINING)
    finds = [find(service.data) for _ in range(FINDS)]
    found |= {"find_s": statistics.median(wall for wall, _ in finds), "find_cpu_s": min(cpu for _, cpu in finds)}
    try:
        found |= measure_restart(service, pictures)
        found |= measure_idle(service, idle)
        for name, folder in (("flat", FLAT), ("deep", place(pictures - 1))):
            found |= {f"{name}_{key}": value for key, value in measure_drops(base, service, folder, drops).items()}
        found["bare_handler_s"] = measure_bare(base, drops)
        found |= measure_deletion(service, pictures)
        found["memory_mb"], found["peak_memory_mb"] = service.memory_mb()
    finally:
        service.end()
    return found | {"load": os.getloadavg()[0], "processors": os.cpu_count()}


def find(folder: Path) -> tuple[float, float]:
    """Seconds, and seconds of processor time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    # what goes while it looks makes it complain and end with 1
    command = ["find", folder, "-printf", "%p %s %T@ %i\n"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_restart(service: Service, pictures: int) -> dict[str, float]:
    started = time.perf_counter()
    service.start()
    answers = service.get("/status")
    answered = time.perf_counter() - started
    cpu = service.processor_seconds()
    if answers["dataset_counts"]["total"] != pictures:
        raise SystemExit(f"counts are not those of the index: {answers['dataset_counts']}")
    wait_for(lambda: service.get("/status")["dataset_compared_at"] != answers["dataset_compared_at"], 0.05)
    compared = time.perf_counter() - started
    found_cpu = service.processor_seconds()
    again = find(service.data)[0]
    return {
        "answers_s": answered,
        "answers_cpu_s": cpu,
        "compared_s": compared,
        "compared_cpu_s": found_cpu,
        "find_after_s": again,
        "comparison_by_find": (compared - answered) / again,
    }


def measure_idle(service: Service, seconds: float) -> dict[str, float]:
    time.sleep(SETTLE_SECONDS)
    before = service.processor_seconds()
    time.sleep(seconds)
    used = service.processor_seconds() - before
    return {"idle_percent": 100 * used / seconds, "idle_over_s": seconds}


def measure_drops(base: Path, service: Service, folder: str, drops: int) -> dict[str, float]:
    taken = []
    made = draw(base / f"drops-{folder.replace('/', '-')}", 120, drops, first=len(folder) * 100_000)
    for path in made:
        before = service.total()
        started = time.perf_counter()
        path.rename(service.data / folder / f"dropped-{path.name}")
        wait_for(lambda before=before: service.total() > before)  # type: ignore[misc]
        taken.append(time.perf_counter() - started)
        time.sleep(REST_SECONDS)
    return {"median_s": statistics.median(taken), "p99_s": sorted(taken)[int(0.99 * (len(taken) - 1))]}


def measure_bare(base: Path, drops: int) -> float:
    """Median seconds until a handler that does nothing is called."""
    seen, taken = threading.Event(), []

    class Bare(FileSystemEventHandler):
        def dispatch(self, event: FileSystemEvent) -> None:
            seen.set()

    aside = base / "bare"
    aside.mkdir()
    observer = Observer()
    observer.schedule(Bare(), str(aside), recursive=True)
    observer.start()
    for number in range(drops):
        (base / "file").write_bytes(b"%d" % number)
        seen.clear()
        started = time.perf_counter()
        (base / "file").rename(aside / str(number))
        seen.wait(10)
        taken.append(time.perf_counter() - started)
    observer.stop()
    return statistics.median(taken)


def measure_deletion(service: Service, pictures: int) -> dict[str, float]:
    apart, before, cpu = min(MOST_APART, pictures // 2), service.total(), service.processor_seconds()
    started = time.perf_counter()
    subprocess.run(["rm", "-r", service.data / APART], check=True)
    removed = time.perf_counter() - started
    wait_for(lambda: service.total() <= before - apart, 0.05)
    counted = time.perf_counter() - started
    return {
        "deleted": apart,
        "rm_s": removed,
        "deleted_counted_s": counted,
        "deleted_after_rm_s": counted - removed,
        "deleted_cpu_s": service.processor_seconds() - cpu,
        "find_of_rest_s": find(service.data)[0],
    }


if __name__ == "__main__":
    sys.exit(main())
