"""Parquet as Hugging Face datasets are kept: data/<part>-00000-of-00002.parquet, pictures inside."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapers.exchange.columns import COLUMNS, WHOLE_NUMBERS, Exported
from scrapers.exchange.writers.writer import Description

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

DATA_FOLDER = "data"
GROUP_ROWS = 100  # and
GROUP_BYTES = 64 << 20  # of a row group, at most: what a reader holds in memory


@dataclass(slots=True)
class _Shard:
    parquet: pq.ParquetWriter
    file: Path
    size_bytes: int = 0
    waiting_bytes: int = 0
    waiting: list[dict[str, Any]] = field(default_factory=list)


class ParquetWriter:
    def __init__(self, folder: Path, shard_bytes: int) -> None:
        self._folder = folder / DATA_FOLDER
        self._folder.mkdir()
        self._shard_bytes = shard_bytes
        self._shards: dict[str, _Shard] = {}
        self._files: dict[str, list[Path]] = {}
        self._schema = _schema()

    def add(self, picture: Exported, data: bytes) -> None:
        shard = self._shard(picture.part)
        shard.waiting.append({"image": {"bytes": data, "path": picture.file_name}, **picture.row})
        shard.waiting_bytes += len(data)
        shard.size_bytes += len(data)
        if len(shard.waiting) >= GROUP_ROWS or shard.waiting_bytes >= GROUP_BYTES:
            self._write(shard)

    def finish(self) -> Description:
        for shard in self._shards.values():
            self._close(shard)
        for part, files in self._files.items():
            for number, file in enumerate(files):
                file.rename(self._folder / f"{part}-{number:05}-of-{len(files):05}.parquet")
        files_of_all = {"fileSet": {"@id": "parquet-files"}}
        return Description(
            distribution=[
                {
                    "@type": "cr:FileSet",
                    "@id": "parquet-files",
                    "encodingFormat": "application/x-parquet",
                    "includes": f"{DATA_FOLDER}/*.parquet",
                }
            ],
            image={**files_of_all, "extract": {"column": "image"}, "transform": {"jsonPath": "bytes"}},
            columns=files_of_all,
        )

    def _write(self, shard: _Shard) -> None:
        import pyarrow as pa

        shard.parquet.write_table(pa.Table.from_pylist(shard.waiting, self._schema))
        shard.waiting.clear()
        shard.waiting_bytes = 0

    def _close(self, shard: _Shard) -> None:
        if shard.waiting:
            self._write(shard)
        shard.parquet.close()

    def _shard(self, part: str) -> _Shard:
        import pyarrow.parquet as pq

        shard = self._shards.get(part)
        if shard is not None and shard.size_bytes < self._shard_bytes:
            return shard
        if shard is not None:
            self._close(shard)
        files = self._files.setdefault(part, [])
        file = self._folder / f"{part}-{len(files):05}.parquet"
        files.append(file)
        # pictures are compressed already; dictionaries would keep each of them in memory
        writer = pq.ParquetWriter(file, self._schema, use_dictionary=["label", "split", "source"], compression="zstd")
        self._shards[part] = _Shard(writer, file)
        return self._shards[part]


def _schema() -> pa.Schema:
    """With the note by which `datasets` knows the picture column."""
    import pyarrow as pa

    kinds = {name: "int32" if name in WHOLE_NUMBERS else "string" for name in COLUMNS}
    fields = [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    fields += [pa.field(name, pa.int32() if kind == "int32" else pa.string()) for name, kind in kinds.items()]
    features = {
        "image": {"_type": "Image"},
        **{name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()},
    }
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
