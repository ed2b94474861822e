"""Small datasets of every form, from pictures that are no near-duplicates of each other."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from encoded_pictures import noise_picture
from utils.config_loader import Config

Row = dict[str, Any]


def draw(count: int, *, first_seed: int = 0) -> list[bytes]:
    """JPEGs and PNGs of noise."""
    pictures = []
    for index in range(count):
        stream = io.BytesIO()
        picture = noise_picture(first_seed + index, (96, 72))
        picture.save(stream, "png" if index % 4 == 3 else "jpeg")
        pictures.append(stream.getvalue())
    return pictures


def extension(data: bytes) -> str:
    return "png" if data.startswith(b"\x89PNG") else "jpg"


def write_folder(folder: Path, pictures: Sequence[bytes]) -> Path:
    """real/phone/album/, fake/flux/ in turn."""
    for index, data in enumerate(pictures):
        file = folder / ("Real/phone/album" if index % 2 else "fake/flux") / f"{index}.{extension(data)}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder


def write_table(folder: Path, pictures: Sequence[bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "labels.csv"
    with table.open("w", encoding="utf-8-sig", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "label", "generator", "license", "author"])
        for index, data in enumerate(pictures):
            name = f"pictures/{index}.{extension(data)}"
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
            label, generator = ("photo", "") if index % 2 else ("AI", "flux")
            rows.writerow([name, label, generator, "CC0-1.0", f"author {index % 3}"])
    return table


def write_tars(folder: Path, pictures: Sequence[bytes], shard: int = 20) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(pictures), shard):
        with tarfile.open(folder / f"{start // shard:06}.tar", "w") as tar:
            for index, data in enumerate(pictures[start : start + shard], start):
                told = {"label": "real" if index % 2 else "fake", "generator": None if index % 2 else "flux"}
                for name, content in ((extension(data), data), ("json", json.dumps(told).encode())):
                    member = tarfile.TarInfo(f"{index:05}.{name}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


def write_parquet(file: Path, pictures: Sequence[bytes], group_rows: int = 16) -> Path:
    """As `datasets` writes it: a picture column, and class labels as numbers with their names in the schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["generated", "photo"]}}
    columns = {
        "image": [{"bytes": data, "path": None} for data in pictures],
        "label": [index % 2 for index in range(len(pictures))],
        "generator": [None if index % 2 else "flux" for index in range(len(pictures))],
    }
    note = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(note), file, row_group_size=group_rows)
    return file


def config_in(folder: Path, **sections: Any) -> Config:
    places = {"local_path": folder / "datasets", "state_path": folder / "state", "models_path": folder / "models"}
    return Config(storage={**places, "min_free_gb": 0}, harvest={"check_workers": 1}, **sections)


def config_file(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "config.toml"
    places = [f'{key} = "{folder / name}"' for key, name in (("local_path", "datasets"), ("state_path", "state"))]
    places.append(f'models_path = "{folder / "models"}"')
    file.write_text("\n".join(["[storage]", *places, "min_free_gb = 0", "[harvest]", "check_workers = 1", ""]))
    return file
