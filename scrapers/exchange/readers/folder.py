"""Image folders: pictures at any depth, with or without metadata.jsonl or metadata.csv, and tables of paths."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

from scrapers.exchange.readers.beneath import read_beneath, version_beneath
from scrapers.exchange.readers.reader import CHUNK_ITEMS, Chunk, Item, ReaderOptions
from scrapers.exchange.readers.tables import METADATA_NAMES, TABLE_SUFFIXES, find_path_column, read_rows
from utils.errors import SkipItemError

COMPANIONS = (
    *TABLE_SUFFIXES,
    *(".json", ".txt", ".md", ".xml", ".xmp", ".yaml", ".yml", ".toml", ".log", ".sha256", ".md5", ".npz", ".npy"),
    *(".html", ".py", ".part", ".tmp"),
)

Named = tuple[str, dict[str, Any]]  # path relative to the root, what a table says of it


@dataclass(frozen=True, slots=True)
class _Files:
    root: Path
    file: str
    named: list[Named]
    keys: list[str]
    max_file_bytes: int

    def items(self, wanted: Set[int]) -> Iterator[Item]:
        for index in sorted(wanted):
            path, columns = self.named[index]
            try:
                yield Item(index, path, columns, read_beneath(self.root, path, self.max_file_bytes))
            except SkipItemError as error:
                yield Item(index, path, columns, problem=str(error))


class FolderReader:
    """All pictures below a folder. A metadata file speaks for what it names, relative to where it lies."""

    def __init__(self, root: Path, options: ReaderOptions) -> None:
        self._root = root
        self._options = options

    def total(self) -> int | None:
        return None

    def chunks(self, skip_files: Set[str]) -> Iterator[Chunk]:
        yield from _in_chunks(self._root, "", self._named(), self._options)

    def _named(self) -> Iterator[Named]:
        told: set[int] = set()  # hashes: a tenth of the memory of the paths
        for table in _find_tables(self._root):
            prefix = table.parent.relative_to(self._root).as_posix()
            for path, columns in _rows_with_paths(table, self._options.path_column):
                whole = path if prefix == "." else f"{prefix}/{path}"
                told.add(hash(whole))
                yield whole, columns
        for path in _walk(self._root, ""):
            if hash(path) not in told:
                yield path, {}


class TableReader:
    """A CSV, TSV or JSON Lines file that names pictures relative to its own folder."""

    def __init__(self, table: Path, options: ReaderOptions) -> None:
        self._table = table
        self._options = options

    def total(self) -> int | None:
        return None

    def chunks(self, skip_files: Set[str]) -> Iterator[Chunk]:
        rows = _rows_with_paths(self._table, self._options.path_column)
        yield from _in_chunks(self._table.parent, self._table.name, rows, self._options)


def _rows_with_paths(table: Path, named_column: str) -> Iterator[Named]:
    column = ""
    for row in read_rows(table):
        column = column or find_path_column(row, named_column, table)
        path = row.get(column)
        yield (path.strip() if isinstance(path, str) else ""), {key: row[key] for key in row if key != column}


def _in_chunks(root: Path, file: str, named: Iterator[Named], options: ReaderOptions) -> Iterator[Chunk]:
    kept = (pair for pair in named if not options.only or fnmatchcase(pair[0], options.only))
    while some := list(islice(kept, CHUNK_ITEMS)):
        keys = [f"{path}@{version_beneath(root, path)}" for path, _ in some]
        yield _Files(root, file, some, keys, options.max_file_bytes)


def _find_tables(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            Path(folder, name) for name in METADATA_NAMES if name in files and not Path(folder, name).is_symlink()
        )


def _walk(root: Path, below: str) -> Iterator[str]:
    """Relative paths of regular files in a fixed order; hidden ones, links and companions are passed over."""
    with os.scandir(root / below) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(root, path)
        elif entry.is_file(follow_symlinks=False) and not entry.name.lower().endswith(COMPANIONS):
            yield path
