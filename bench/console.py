"""How long the console's pages take with many pictures, and how large they are: `python -P bench/console.py [SAMPLES]`.

The index is made of rows alone; what is measured is everything from the request to the last byte of the answer, in one
process, the median and the worst of some tries. The goal is 150 ms and 300 kB.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil
from starlette.testclient import TestClient

from daemon.api_service import TrainerService
from daemon.application import Application
from daemon.console_service import ConsoleService
from exposr_api.app import create_app
from exposr_api.auth import Keys
from handlers.index.packing import pack_hex, pack_id, pack_path
from handlers.index.phash import bands
from handlers.index.schema import INDEX_FILE, open_index
from trainer.evaluation.opinions import Novelties, Opinion, write_opinions
from utils.clock import SystemClock
from utils.config_loader import load_config
from utils.job_protocol import OPINIONS_FILE

TRIES = 7
DISTANCE = 4
PICTURE = (
    "INSERT INTO files (folder, name, device, size, mtime_ns, ctime_ns, inode, state, sample)"
    " VALUES (?, ?, 1, 9000, 1, 1, ?, 'good', ?)"
)
PAGES = (
    "",
    "pictures",
    "pictures?label=real",
    "pictures?source=phone",
    "pictures?label=real&source=nothing",
    "pictures?label=conflict",
    "pictures?generator=flux&until=2026-03-05",
    "pictures?novelty=unfamiliar+first",
    "pictures?novelty=only+unfamiliar&source=nothing",
    "problems?kind=rejected",
    "problems?kind=conflict",
    "problems?kind=duplicate",
    "problems?kind=unreadable",
    "queue",
    "queue?by=folder",
    "queue?by=similar",
    "models",
    "runs",
    "sources",
)
LABELS = {"real": ("unsplash", "pexels", "phone"), "ai_generated": ("civitai", "flux"), None: ("manual",)}


def fill(file: Path, samples: int) -> None:
    """An index as a folder of so many pictures makes it, a tenth of them without a label."""
    rng = random.Random(1)
    with contextlib.closing(open_index(file)) as db:

        def folder_key(path: bytes) -> int:
            db.execute("INSERT OR IGNORE INTO folders (path) VALUES (?)", (path,))
            (key,) = db.execute("SELECT key FROM folders WHERE path = ?", (path,)).fetchone()
            return int(key)

        db.execute("BEGIN")
        for number in range(samples):
            label = (None, "real", "ai_generated")[0 if number % 10 == 0 else 1 + number % 2]
            source = rng.choice(LABELS[label])
            sample = str(uuid.UUID(int=rng.getrandbits(128)))
            day = f"2026/{1 + number * 12 // samples:02d}/{1 + number % 28:02d}"
            folder = (f"images/{day}" if label else f"inbox/{number % 500}").encode()
            name, phash = f"{sample}.jpg".encode(), f"{rng.getrandbits(64):016x}"
            digest = hashlib.sha256(str(number).encode()).digest()
            added = f"{day.replace('/', '-')}T00:00:{number % 60:02d}Z"
            key, place = number + 1, folder_key(folder)
            file = db.execute(PICTURE, (place, name, number, key)).lastrowid
            db.execute(
                "INSERT INTO samples (key, id, sha256, folder, file, size_bytes, format, width, height, phash, thumb,"
                " has_exif, label, label_source, added) VALUES (?, ?, ?, ?, ?, 9000, 'jpeg', 640, 480, ?, ?, 0, ?, ?,"
                " CAST(strftime('%s', ?) AS INTEGER))",
                (
                    *(key, pack_id(sample), digest, place, file, pack_hex(phash), bytes(48), label),
                    *("source" if label else None, added),
                ),
            )
            rows = [(number_, value, key) for number_, value in bands(phash, DISTANCE)]
            db.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?, ?)", rows)
            if number % 50 == 0:
                db.execute(PICTURE, (folder_key(folder + b"/copy"), name, number, key))
            if number % 40 == 0:
                db.execute(
                    "INSERT INTO files (folder, name, device, size, mtime_ns, ctime_ns, inode, state, reason)"
                    " VALUES (?, ?, 1, 9, 1, 1, ?, 'rejected', 'is empty')",
                    (place, b"bad-" + name, samples + number),
                )
            described = db.execute(
                "INSERT INTO files (folder, name, device, size, mtime_ns, ctime_ns, inode, state)"
                " VALUES (?, ?, 1, 300, 1, 1, ?, 'metadata')",
                (folder_key(b"meta/" + day.encode()), sample.encode() + b".json", 2 * samples + number),
            ).lastrowid
            image = folder + b"/" + name
            db.execute(
                "INSERT INTO metadata (file, stem, sha256, image, place, label, label_source, source, creator)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(described, pack_id(sample), digest, image, pack_path(image)),
                    *(label, "source" if label else None, source, f"creator {number % 5000}"),
                ),
            )
        db.execute("COMMIT")


def say_what_is_novel(state: Path, samples: int) -> None:
    """What a training leaves behind: a prediction for every other picture, the novelty of each."""
    rng = random.Random(2)
    known = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(samples)]
    opinions = [Opinion(sha256, "real", rng.random(), "held out from the training") for sha256 in known[::2]]
    novelties = Novelties({sha256: rng.expovariate(0.5) for sha256 in known}, 6.0)
    write_opinions(state / OPINIONS_FILE, opinions, "vit/v1", novelties)


def measure(client: TestClient, path: str) -> str:
    seconds, size = [], 0
    for _ in range(TRIES):
        started = time.perf_counter()
        answer = client.get(f"/console/{path}")
        seconds.append(1000 * (time.perf_counter() - started))
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:300])
        size = len(answer.content)
    return f"{path or '(overview)':42} {statistics.median(seconds):7.1f} {max(seconds):7.1f} {size / 1000:7.1f}"


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        paths = {f"EXPOSR_STORAGE__{name.upper()}_PATH": f"{folder}/{name}" for name in ("local", "models", "state")}
        config = load_config(environ=paths)
        fill(config.storage.state_path / INDEX_FILE, samples)
        say_what_is_novel(config.storage.state_path, samples)
        application = Application(config, SystemClock())
        console = ConsoleService(application)
        app = create_app(TrainerService(application), Keys(["key"]), console=console)
        with TestClient(app) as client:
            token = re.findall(r'csrf_token" value="([0-9a-f]+)"', client.get("/login").text)[0]
            client.post("/login", data={"key": "key", "csrf_token": token}, follow_redirects=False)
            client.get("/console/")  # has the mix counted
            while console.mix() is None:
                time.sleep(0.05)
            print(f"{samples} samples; median ms, worst ms, kB")
            first = re.findall(r"small/([0-9a-f]{64})", client.get("/console/pictures").text)[0]
            for path in (*PAGES, f"pictures/{first}"):
                print(measure(client, path[:80]))
            print(f"memory of this process: {psutil.Process().memory_info().rss / 1e6:.0f} MB")
        console.close()
        application.close()


main()
