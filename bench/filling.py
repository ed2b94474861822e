"""A data folder and its index made directly, without checks, to measure what a large set costs once it is there.

Small different files stand for pictures. Their facts are made up, and the index gets the rows and the signatures that
the service would have written, through the same functions. Half of the pictures lie in one flat folder, half in a deep
tree, 100 to a folder; the first of them apart, to be deleted with their folder.
"""

from __future__ import annotations

import os
import random
import time
from datetime import datetime
from pathlib import Path

from handlers.file_signature import FileSignature, Found
from handlers.index.rows import StoredMetadata, StoredSample
from handlers.index.schema import INDEX_FILE
from handlers.index.store import Index
from handlers.labels.rules import Resolution, Statement
from handlers.reconcile import Reconciler
from utils.clock import SystemClock, to_iso
from utils.config_loader import Config
from utils.images.facts import ImageFacts
from utils.metadata import new_sample_id

FLAT = "real/all"
APART = "real/apart"
BATCH = 2000
A_FOLDER = 100
DISTANCE = 4
METADATA = """{{
  "id": "{id}",
  "source": "manual",
  "label": "{label}",
  "timestamp": "{time}",
  "path": "{path}",
  "sha256": "{sha256}",
  "label_source": "folder",
  "attribution": {{}},
  "api_data": {{}}
}}
"""


def fill_directly(config: Config, pictures: int, apart: int = 0, seconds: float = float("inf")) -> int:
    """How many pictures are there after at most so many seconds; a further call goes on from there."""
    clock, deadline = SystemClock(), time.monotonic() + seconds
    if not (config.storage.state_path / INDEX_FILE).exists():
        reconciler = Reconciler(config, clock, lambda: None)
        reconciler.compare_all()  # makes the marker and the settings
        reconciler.close()
    root, now = config.storage.local_path, datetime(2026, 1, 1, tzinfo=clock.now().tzinfo)
    (root / f"meta/{now:%Y/%m/%d}").mkdir(parents=True, exist_ok=True)
    index = Index(config.storage.state_path / INDEX_FILE)
    (done,) = index.connection.execute("SELECT count(*) FROM samples").fetchone()
    made: set[str] = set()
    while done < pictures and time.monotonic() < deadline:
        with index.transaction():
            for number in range(done, min(done + BATCH, pictures)):
                folder = APART if number < apart else place(number)
                if folder not in made:
                    (root / folder).mkdir(parents=True, exist_ok=True)
                    made.add(folder)
                _add(index, root, folder, number, now)
        done = min(done + BATCH, pictures)
    index.close()
    return int(done)


def place(number: int) -> str:
    if number % 2 == 0:
        return FLAT
    leaf = number // 2 // A_FOLDER
    return f"ai_generated/{leaf % 10}/{leaf // 10 % 10}/{leaf // 100:04d}"


def made_up(number: int) -> ImageFacts:
    """Facts as different from each other as those of unrelated pictures."""
    rng = random.Random(number)
    return ImageFacts(
        sha256=rng.randbytes(32).hex(),
        size_bytes=150,
        format="jpeg",
        extension=".jpg",
        width=640,
        height=480,
        phash=rng.randbytes(8).hex(),
        thumb=rng.randbytes(48).hex(),
        has_exif=False,
    )


def _add(index: Index, root: Path, folder: str, number: int, now: datetime) -> None:
    facts, path, when = made_up(number), f"{folder}/{number:08d}.jpg", to_iso(now)
    sample = StoredSample.new(index.new_key(), new_sample_id(SystemClock().now()), facts, when)
    label = "real" if folder.startswith("real") else "ai_generated"
    index.put_file(_write(root, path, b"%0150d" % number), "good", sample=sample.key)
    index.put_sample(sample, facts, path.encode(), Resolution(label, "folder"), DISTANCE)
    text = METADATA.format(id=sample.id, label=label, time=when, path=path, sha256=facts.sha256)
    described = _write(root, f"meta/{now:%Y/%m/%d}/{sample.id}.json", text.encode())
    index.put_file(described, "metadata")
    said = Statement(label, "folder", "manual", path.encode())
    index.put_metadata(StoredMetadata(described.folder, described.name, sample.id, facts.sha256, said))


def _write(root: Path, path: str, data: bytes) -> Found:
    file = os.open(f"{root}/{path}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(file, data)
        status = os.fstat(file)
    finally:
        os.close(file)
    folder, _, name = path.rpartition("/")
    return Found(folder.encode(), name.encode(), FileSignature.of(status), status.st_dev)
