"""Parquet files with a column of pictures, as Hugging Face datasets are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapers.exchange.readers.reader import BrokenFile, Chunk, Item, ReaderOptions, version_of
from utils.errors import OperatorError, SkipItemError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "picture", "photo", "bytes", "image_bytes", "data")
BATCH_BYTES = 32 << 20  # of pictures in memory at a time, about
MOST_BATCH_ROWS = 64
READING_ERRORS = (OSError, ValueError, KeyError, IndexError, MemoryError, NotImplementedError, OverflowError)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns are read. `names`: texts of the whole numbers of a class label column."""

    image: str
    plain: tuple[str, ...]
    names: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class _RowGroup:
    parquet: pq.ParquetFile
    file: str
    number: int
    keys: Sequence[str]
    layout: Layout
    max_file_bytes: int

    def items(self, wanted: Set[int]) -> Iterator[Item]:
        waiting = set(wanted)
        try:
            for item in self._read(waiting):
                waiting.discard(item.index)
                yield item
        except READING_ERRORS as error:  # pyarrow's errors are among them
            reason = f"cannot be read: {type(error).__name__}: {error}"
            for index in sorted(waiting):
                yield Item(index, self.file, problem=reason)

    def _read(self, wanted: Set[int]) -> Iterator[Item]:
        columns = [self.layout.image, *self.layout.plain]
        start = 0
        for batch in self.parquet.iter_batches(self._batch_rows(), [self.number], columns, use_threads=False):
            for row in range(batch.num_rows):
                if start + row in wanted:
                    yield self._item(start + row, batch, row)
            start += batch.num_rows

    def _batch_rows(self) -> int:
        group = self.parquet.metadata.row_group(self.number)
        average: int = group.total_byte_size // max(1, group.num_rows)
        return max(1, min(MOST_BATCH_ROWS, BATCH_BYTES // max(1, average)))

    def _item(self, index: int, batch: pa.RecordBatch, row: int) -> Item:
        told = {name: self._plain(name, batch.column(name)[row].as_py()) for name in self.layout.plain}
        path = self.file
        try:
            value = batch.column(self.layout.image)[row].as_py()
            if isinstance(value, dict):
                path = str(value.get("path") or self.file)
                value = value.get("bytes")
            if not value:
                raise SkipItemError("holds no bytes, only the name of a file: this is not a self-contained dataset")
            if len(value) > self.max_file_bytes:
                raise SkipItemError(f"has {len(value)} bytes, at most {self.max_file_bytes} are allowed")
            return Item(index, path, told, value)
        except SkipItemError as error:
            return Item(index, path, told, problem=str(error))

    def _plain(self, name: str, value: Any) -> Any:
        names = self.layout.names.get(name)
        if names is not None and isinstance(value, int) and 0 <= value < len(names):
            return names[value]
        return value


class ParquetReader:
    """Files in the order of their names, row group by row group."""

    def __init__(self, root: Path, files: Sequence[Path], options: ReaderOptions) -> None:
        self._root = root
        self._files = files
        self._options = options

    def total(self) -> int | None:
        import pyarrow.parquet as pq

        try:
            return sum(int(pq.read_metadata(file).num_rows) for file in self._files)
        except READING_ERRORS:
            return None  # a damaged file is named when its turn comes

    def chunks(self, skip_files: Set[str]) -> Iterator[Chunk]:
        for file in self._files:
            name = file.relative_to(self._root).as_posix()
            if name not in skip_files:
                yield from self._chunks_of(file, name)

    def _chunks_of(self, file: Path, name: str) -> Iterator[Chunk]:
        import pyarrow.parquet as pq

        version = self._options.version or version_of(file)
        try:
            parquet = pq.ParquetFile(file, memory_map=False)
            groups = [parquet.metadata.row_group(number).num_rows for number in range(parquet.num_row_groups)]
            schema = parquet.schema_arrow
        except READING_ERRORS as error:
            yield BrokenFile(name, f"is a damaged parquet file: {error}")
            return
        layout = find_layout(schema, self._options.image_column, name)
        start = 0
        for number, rows in enumerate(groups):
            keys = [f"{name}@{version}:{row}" for row in range(start, start + rows)]
            yield _RowGroup(parquet, name, number, keys, layout, self._options.max_file_bytes)
            start += rows


def find_layout(schema: pa.Schema, named: str, file: str) -> Layout:
    """Raises OperatorError that lists the columns when it is not clear which one holds the pictures."""
    import pyarrow as pa

    def is_binary(kind: pa.DataType) -> bool:
        return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))

    def holds_pictures(kind: pa.DataType) -> bool:
        return is_binary(kind) or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)

    def is_plain(kind: pa.DataType) -> bool:
        texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        return any(test(kind) for test in (*texts, *numbers)) or (
            pa.types.is_dictionary(kind) and is_plain(kind.value_type)
        )

    features = _features(schema)
    able = [column.name for column in schema if holds_pictures(column.type)]
    image = named or next((name for name, feature in features.items() if feature.get("_type") == "Image"), "")
    image = image or next((name for name in IMAGE_NAMES if name in able), "")
    image = image or (able[0] if len(able) == 1 else "")
    if image not in able:
        columns = ", ".join(f"{column.name} ({column.type})" for column in schema)
        raise OperatorError(
            f"{file}: which column holds the pictures' bytes? Say --image-column; columns are {columns}"
        )
    names = {
        name: [str(text) for text in feature["names"]]
        for name, feature in features.items()
        if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }
    plain = tuple(column.name for column in schema if column.name != image and is_plain(column.type))
    return Layout(image, plain, names)


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What `datasets` has written into the schema about its columns."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    if not isinstance(told, dict):
        return {}
    return {str(name): feature for name, feature in told.items() if isinstance(feature, dict)}
