"""WebDataset shards: tar files in which neighbouring members of one base name are one sample."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from scrapers.exchange.readers.reader import (
    CHUNK_ITEMS,
    MAX_TABLE_LINE_BYTES,
    PICTURE_EXTENSIONS,
    BrokenFile,
    Chunk,
    Item,
    ReaderOptions,
    version_of,
)
from utils.errors import SkipItemError

TAR_ERRORS = (tarfile.TarError, OSError, ValueError, RecursionError)
TEXT_EXTENSIONS = ("cls", "txt", "text", "caption")  # become columns of that name


@dataclass(slots=True)
class _Sample:
    """The members of one sample that are of use; their bytes are read when the sample is wanted."""

    name: str
    picture: tarfile.TarInfo
    others: dict[str, tarfile.TarInfo] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Samples:
    tar: tarfile.TarFile
    file: str
    samples: Sequence[_Sample]
    keys: Sequence[str]
    max_file_bytes: int

    def items(self, wanted: Set[int]) -> Iterator[Item]:
        for index in sorted(wanted):
            sample = self.samples[index]
            path = f"{self.file}/{sample.picture.name}"
            try:
                columns = self._columns(sample)
                yield Item(index, path, columns, self._read(sample.picture, self.max_file_bytes))
            except (SkipItemError, *TAR_ERRORS) as error:
                yield Item(index, path, problem=str(error))

    def _columns(self, sample: _Sample) -> dict[str, Any]:
        columns: dict[str, Any] = {}
        for extension, member in sample.others.items():
            text = self._read(member, MAX_TABLE_LINE_BYTES).decode("utf-8", "replace")
            if extension == "json":
                told = json.loads(text)
                columns |= told if isinstance(told, dict) else {}
            else:
                columns[extension] = text.strip()
        return columns

    def _read(self, member: tarfile.TarInfo, max_bytes: int) -> bytes:
        if member.size > max_bytes:
            raise SkipItemError(f"{member.name}: has {member.size} bytes, at most {max_bytes} are allowed")
        stream = self.tar.extractfile(member)
        data = stream.read(max_bytes) if stream is not None else b""
        if len(data) != member.size:
            raise SkipItemError(f"{member.name}: is cut short")
        return data


class WebDatasetReader:
    """Shards in the order of their names. Nothing is unpacked: names of members are names, never paths."""

    def __init__(self, root: Path, files: Sequence[Path], options: ReaderOptions) -> None:
        self._root = root
        self._files = files
        self._options = options

    def total(self) -> int | None:
        return None

    def chunks(self, skip_files: Set[str]) -> Iterator[Chunk]:
        for file in self._files:
            name = file.relative_to(self._root).as_posix()
            if name not in skip_files:
                yield from self._chunks_of(file, name)

    def _chunks_of(self, file: Path, name: str) -> Iterator[Chunk]:
        version = self._options.version or version_of(file)
        some: list[_Sample] = []

        def chunk(tar: tarfile.TarFile) -> _Samples:
            keys = [f"{name}@{version}:{sample.name}" for sample in some]
            return _Samples(tar, name, some, keys, self._options.max_file_bytes)

        try:
            with tarfile.open(file, "r:") as tar:
                reason = ""
                try:
                    for sample in self._samples(tar):
                        some.append(sample)
                        if len(some) == CHUNK_ITEMS:
                            yield chunk(tar)
                            some = []
                except TAR_ERRORS as error:
                    reason = str(error)  # what came before it is whole
                if some:
                    yield chunk(tar)
                if reason:
                    yield BrokenFile(name, f"is a damaged tar: {reason}")
        except TAR_ERRORS as error:
            yield BrokenFile(name, f"is a damaged tar: {error}")

    def _samples(self, tar: tarfile.TarFile) -> Iterator[_Sample]:
        wanted = {self._options.image_column} if self._options.image_column else PICTURE_EXTENSIONS
        for name, members in groupby(_members(tar), key=lambda member: _split(member.name)[0]):
            sample: _Sample | None = None
            others: dict[str, tarfile.TarInfo] = {}
            for member in members:
                extension = _split(member.name)[1]
                if extension in wanted or extension.rpartition(".")[2] in wanted:
                    sample = sample or _Sample(name, member)
                elif extension == "json" or extension in TEXT_EXTENSIONS:
                    others[extension] = member
            if sample is not None:
                sample.others = others
                yield sample


def _members(tar: tarfile.TarFile) -> Iterable[tarfile.TarInfo]:
    """Regular files only: links and devices are no samples."""
    for member in tar:
        vars(tar)["members"] = []  # tarfile would keep every header it has seen
        if member.isreg():
            yield member


def _split(name: str) -> tuple[str, str]:
    """Base name and extension as WebDataset has it: at the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    base, _, extension = last.partition(".")
    return f"{folder}{slash}{base}", extension.lower()
