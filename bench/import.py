"""Import of a large dataset that is killed three times, and the round trip: the exact set, the same fingerprint.

    python bench/import.py --pictures 10000              # parquet and WebDataset; needs the extra `exchange`

Each form is imported into a data folder of its own by `exposr-trainer import`, killed by SIGKILL at three random
places, and run to its end. What lies there must be the dataset's pictures, each once, each with its metadata. Then it
is exported and imported again: the data fingerprint must be the same. The rates are those of this round trip.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import resource
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from utils.files import sha256_of_file
from utils.metadata import read_metadata

KILLS = 3
SHARD = 2500
LABELS = ("photo", "generated")


def draw(count: int) -> list[bytes]:
    """JPEGs of noise of about 5 kB: none is a near-duplicate of another."""
    pictures = []
    for index in range(count):
        stream = io.BytesIO()
        Image.effect_noise((120, 90), 30 + index % 80).convert("RGB").save(stream, "jpeg", quality=85)
        pictures.append(stream.getvalue())
    return pictures


def write_parquet(folder: Path, pictures: Sequence[bytes]) -> None:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(LABELS)}}
    note = {"huggingface": json.dumps({"info": {"features": features}})}
    for start in range(0, len(pictures), SHARD):
        some = pictures[start : start + SHARD]
        columns = {
            "image": [{"bytes": data, "path": None} for data in some],
            "label": [(start + index) % 2 for index in range(len(some))],
            "generator": [("flux", "sdxl")[index % 2] for index in range(len(some))],
        }
        table = pa.table(columns).replace_schema_metadata(note)
        pq.write_table(table, folder / f"train-{start // SHARD:05}.parquet", row_group_size=100)


def write_tars(folder: Path, pictures: Sequence[bytes]) -> None:
    for start in range(0, len(pictures), SHARD):
        with tarfile.open(folder / f"{start // SHARD:06}.tar", "w") as tar:
            for index, data in enumerate(pictures[start : start + SHARD], start):
                told = json.dumps({"label": LABELS[index % 2], "generator": "flux"}).encode()
                for name, content in (("jpg", data), ("json", told)):
                    member = tarfile.TarInfo(f"{index:08}.{name}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def write_config(folder: Path) -> Path:
    folder.mkdir(parents=True)
    places = {"local_path": "datasets", "state_path": "state", "models_path": "models"}
    lines = [f'{key} = "{folder / name}"' for key, name in places.items()]
    file = folder / "config.toml"
    file.write_text("\n".join(["[storage]", *lines, "min_free_gb = 0", ""]), encoding="utf-8")
    return file


def start(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "daemon", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def stored(data: Path) -> dict[str, Path]:
    return {file.stem: file for file in (data / "images").rglob("*") if file.is_file()}


def kill_and_finish(config: Path, dataset: Path, count: int, rng: random.Random) -> None:
    data = config.parent / "datasets"
    for number in range(KILLS):
        process = start("import", dataset, "--config", config, "--map", "photo=real")
        goal = len(stored(data)) + rng.randint(count // 12, count // 5)
        while process.poll() is None and len(stored(data)) < goal:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        print(f"  kill {number + 1} at {len(stored(data))} pictures")
        if process.returncode != -signal.SIGKILL:
            raise SystemExit("the import had ended before the kill")
    process = start("import", dataset, "--config", config, "--map", "photo=real")
    said, _ = process.communicate()
    print("  " + said.strip().splitlines()[-1])
    if process.returncode != 0:
        raise SystemExit(f"the import failed: {said}")


def is_exact(data: Path, pictures: Sequence[bytes]) -> bool:
    files = stored(data)
    metas = {file.stem: read_metadata(file) for file in (data / "meta").rglob("*.json")}
    hashes = {name: sha256_of_file(file) for name, file in files.items()}
    wanted = sorted(hashlib.sha256(picture).hexdigest() for picture in pictures)
    return (
        hashes == {name: metadata.sha256 for name, metadata in metas.items()}
        and sorted(hashes.values()) == wanted
        and not list((data / ".tmp").iterdir())
    )


def round_trip(config: Path, form: str) -> tuple[str, str, float, float]:
    """Fingerprints of an export and of an export of its import; seconds of each."""
    folder = config.parent
    began = time.monotonic()
    first = export(config, folder / "out", form)
    exported = time.monotonic()
    other = write_config(folder / "again")
    process = start("import", folder / "out", "--config", other)
    process.communicate()
    imported = time.monotonic()
    return first, export(other, folder / "out-again", form), exported - began, imported - exported


def export(config: Path, folder: Path, form: str) -> str:
    said, _ = start("export", folder, "--form", form, "--config", config).communicate()
    return said.strip().rpartition("data fingerprint ")[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--forms", nargs="*", default=["parquet", "webdataset"])
    options = parser.parse_args()
    writers: dict[str, Callable[[Path, Sequence[bytes]], None]] = {"parquet": write_parquet, "webdataset": write_tars}
    rng = random.Random(20261127)
    pictures = draw(options.pictures)
    missed = False
    with tempfile.TemporaryDirectory(prefix="exposr-bench-") as folder:
        for form in options.forms:
            print(f"{form}: {len(pictures)} pictures")
            dataset = Path(folder) / form / "set"
            dataset.mkdir(parents=True)
            writers[form](dataset, pictures)
            config = write_config(Path(folder) / form / "here")
            kill_and_finish(config, dataset, len(pictures), rng)
            exact = is_exact(config.parent / "datasets", pictures)
            first, second, exporting, importing = round_trip(config, form)
            print(f"  exact set: {exact}; same fingerprint after export and import: {first == second} ({first[:12]})")
            print(f"  export {len(pictures) / exporting:.0f}/s, import {len(pictures) / importing:.0f}/s")
            missed |= not exact or first != second or len(first) != 64
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest process: {peak:.0f} MiB")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
