"""WebDataset shards: <part>-000000.tar with <sha256>.<ext>, .json and .cls (0 real, 1 generated) for each picture.

All rows lie in metadata.jsonl beside them once more, for those who want the table without the pictures.
"""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from scrapers.exchange.columns import Exported
from scrapers.exchange.writers.writer import PICTURE_TYPES, SHA256_REGEX, Description
from utils.files import sha256_of_file
from utils.metadata import LABELS
from utils.webdataset import add_sample

METADATA_FILE = "metadata.jsonl"


@dataclass(slots=True)
class _Shard:
    tar: tarfile.TarFile
    size_bytes: int = 0


class WebDatasetWriter:
    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder = folder
        self._shard_bytes = shard_bytes
        self._shards: dict[str, _Shard] = {}
        self._numbers: dict[str, int] = {}
        self._extensions: set[str] = set()
        self._table = (folder / METADATA_FILE).open("w", encoding="utf-8")

    def add(self, picture: Exported, data: bytes) -> None:
        shard = self._shard(picture.part)
        row = json.dumps(picture.row, ensure_ascii=True)
        self._table.write(row + "\n")
        members = {
            picture.extension: data,
            ".json": row.encode(),
            ".cls": str(int(picture.label == LABELS[1])).encode(),
        }
        self._extensions.add(picture.extension)
        add_sample(shard.tar, picture.sha256, members)
        shard.size_bytes += sum(map(len, members.values()))

    def finish(self) -> Description:
        self._table.close()
        for shard in self._shards.values():
            shard.tar.close()
        files = sorted(self._folder.glob("*.tar"))
        shards = [
            {
                "@type": "cr:FileObject",
                "@id": file.name,
                "contentUrl": file.name,
                "contentSize": f"{file.stat().st_size} B",
                "encodingFormat": "application/x-tar",
                "sha256": sha256_of_file(file),
            }
            for file in files
        ]
        inside = [{"@id": file.name} for file in files]
        name = {"fileProperty": "filename"}
        return Description(
            distribution=[
                *shards,
                {
                    "@type": "cr:FileSet",
                    "@id": "pictures",
                    "containedIn": inside,
                    "encodingFormat": list(PICTURE_TYPES),
                    "includes": [f"*{extension}" for extension in sorted(self._extensions)],
                },
                {
                    "@type": "cr:FileObject",
                    "@id": "metadata",
                    "contentUrl": METADATA_FILE,
                    "encodingFormat": "application/jsonlines",
                    "sha256": sha256_of_file(self._folder / METADATA_FILE),
                },
            ],
            image={"fileSet": {"@id": "pictures"}, "extract": {"fileProperty": "content"}},
            columns={"fileObject": {"@id": "metadata"}},
            join={"fileSet": {"@id": "pictures"}, "extract": name, "transform": {"regex": SHA256_REGEX}},
        )

    def _shard(self, part: str) -> _Shard:
        shard = self._shards.get(part)
        if shard is not None and shard.size_bytes < self._shard_bytes:
            return shard
        if shard is not None:
            shard.tar.close()
        number = self._numbers.get(part, 0)
        self._numbers[part] = number + 1
        tar = tarfile.open(self._folder / f"{part}-{number:06}.tar", "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self._shards[part] = _Shard(tar)
        return self._shards[part]
