"""Which form a dataset has, by what lies at its path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

from scrapers.exchange.readers.folder import FolderReader, TableReader
from scrapers.exchange.readers.parquet import ParquetReader
from scrapers.exchange.readers.reader import Reader, ReaderOptions
from scrapers.exchange.readers.tables import TABLE_SUFFIXES
from scrapers.exchange.readers.webdataset import WebDatasetReader
from utils.errors import OperatorError

FORMS = ("folder", "table", "webdataset", "parquet")
SUFFIXES = {".parquet": "parquet", ".tar": "webdataset", **dict.fromkeys(TABLE_SUFFIXES, "table")}
UNPACK = {
    ".zip": "unzip FILE -d FOLDER",
    ".tar.gz": "tar xf FILE -C FOLDER",
    ".tgz": "tar xf FILE -C FOLDER",
    ".tar.zst": "tar xf FILE -C FOLDER",
    ".tar.xz": "tar xf FILE -C FOLDER",
    ".tar.bz2": "tar xf FILE -C FOLDER",
    ".7z": "7z x FILE",
    ".rar": "unrar x FILE",
    ".arrow": "datasets' Dataset.to_parquet",
}


def open_dataset(path: Path, options: ReaderOptions) -> tuple[str, Reader]:
    """The form and its reader. Raises OperatorError that says what can be read."""
    if not path.exists():
        raise OperatorError(f"{path}: there is nothing")
    path = path.resolve()
    form = options.form or (_form_of_file(path) if path.is_file() else _form_of_folder(path))
    if form not in FORMS:
        raise OperatorError(f"no such form: {form!r}; forms are {', '.join(FORMS)}")
    if form == "table":
        return form, TableReader(path, options)
    if form == "folder":
        if not path.is_dir():
            raise OperatorError(f"{path}: is no folder")
        return form, FolderReader(path, options)
    root, files = (path.parent, [path]) if path.is_file() else (path, _shards(path, form, options.only))
    if not files:
        raise OperatorError(f"{path}: holds no {form} file" + (f" that fits {options.only!r}" if options.only else ""))
    if form == "webdataset":
        return form, WebDatasetReader(root, files, options)
    if find_spec("pyarrow") is None:
        raise OperatorError("reading parquet needs pyarrow: pip install 'exposr-trainer[exchange]'")
    return form, ParquetReader(root, files, options)


def _form_of_file(path: Path) -> str:
    name = path.name.lower()
    for suffix, command in UNPACK.items():
        if name.endswith(suffix):
            raise OperatorError(f"{path}: unpack it first ({command}), then import the folder")
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise OperatorError(f"{path}: can be a folder of pictures, {', '.join(SUFFIXES)}")
    return form


def _form_of_folder(path: Path) -> str:
    """Parquet before tar before pictures: what holds pictures has pictures beside it as samples at most."""
    for form in ("parquet", "webdataset"):
        if next(_find(path, form), None) is not None:
            return form
    return "folder"


def _shards(path: Path, form: str, only: str) -> list[Path]:
    found = (file for file in _find(path, form) if not only or fnmatchcase(file.relative_to(path).as_posix(), only))
    return sorted(found)


def _find(path: Path, form: str) -> Iterator[Path]:
    """Regular files of this form at any depth, no links, nothing hidden."""
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(folder, name)
            if SUFFIXES.get(file.suffix.lower()) == form and not name.startswith(".") and not file.is_symlink():
                yield file
