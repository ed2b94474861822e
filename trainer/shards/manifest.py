"""What shards there are, and where in them each picture lies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from utils.metadata import LABELS, Label

MANIFEST_FILE = "manifest.json"
FORMAT = "exposr-shards-1"
SHARD_NAME = re.compile(r"[0-9a-f]{64}\.tar")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of a picture lie in its shard, and the label that the shard gives it."""

    offset: int
    size_bytes: int
    label: Label


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar that is named by its own content; `pictures` by sha256."""

    sha256: str
    size_bytes: int
    pictures: Mapping[str, Place]

    @property
    def name(self) -> str:
        return f"{self.sha256}.tar"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Every picture is in one shard."""

    shards: tuple[Shard, ...]

    @property
    def size_bytes(self) -> int:
        return sum(shard.size_bytes for shard in self.shards)

    def as_json(self) -> bytes:
        shards = [
            {
                "file": shard.name,
                "sha256": shard.sha256,
                "size_bytes": shard.size_bytes,
                "pictures": [
                    [sha256, place.label, place.offset, place.size_bytes] for sha256, place in shard.pictures.items()
                ],
            }
            for shard in self.shards
        ]
        count = sum(len(shard.pictures) for shard in self.shards)
        return json.dumps({"format": FORMAT, "pictures": count, "shards": shards}).encode() + b"\n"

    @classmethod
    def parsed(cls, data: bytes) -> Manifest:
        """Raises ValueError when `data` is no manifest of this format."""
        try:
            told = json.loads(data)
            if told["format"] != FORMAT:
                raise ValueError(f"the format is {told['format']!r}, not {FORMAT!r}")
            return cls(tuple(_shard(entry) for entry in told["shards"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"is no manifest of shards: {error!r}") from error


def _shard(entry: dict[str, Any]) -> Shard:
    pictures = {}
    for sha256, label, offset, size in entry["pictures"]:
        if label not in LABELS:
            raise ValueError(f"label is {label!r}, allowed are {' and '.join(LABELS)}")
        pictures[str(sha256)] = Place(int(offset), int(size), label)
    shard = Shard(str(entry["sha256"]), int(entry["size_bytes"]), pictures)
    if not SHARD_NAME.fullmatch(shard.name):
        raise ValueError(f"{shard.name!r} is no name of a shard")
    return shard
