"""What a reader of datasets is: chunks of keys, of which the importer asks for those that it does not have yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from utils.images.decoding.kinds import KINDS

CHUNK_ITEMS = 256  # keys that are offered at a time
# as tar members call them; the bytes decide, later
OTHER_EXTENSIONS = ("jpeg", "jpe", "jfif", "heif", "tiff", "j2k")
PICTURE_EXTENSIONS = frozenset((*OTHER_EXTENSIONS, *(kind.extension[1:] for kind in KINDS.values())))
MAX_TABLE_LINE_BYTES = 1 << 20  # of one line of CSV or JSON Lines, and of one sample's JSON in a tar


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """What the operator says about the dataset; empty: found by the usual names.

    `only` is a glob over paths relative to the dataset. `max_file_bytes` is the largest picture that is read.
    `version` stands for size and time of the file in its keys, where something better is known of its content.
    """

    form: str = ""
    only: str = ""
    image_column: str = ""
    path_column: str = ""
    version: str = ""
    max_file_bytes: int = 64_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """A picture as the dataset has it. `path` is its place there, with `/`; `problem` says why there is no `data`."""

    index: int
    path: str
    columns: dict[str, Any] = field(default_factory=dict)
    data: bytes = b""
    problem: str = ""


class Chunk(Protocol):
    """A few pictures of one file of the dataset."""

    @property
    def file(self) -> str:
        """The file that would be at fault if reading it ended the process."""

    @property
    def keys(self) -> Sequence[str]:
        """Names the pictures; a key changes when the file that holds the picture does."""

    def items(self, wanted: Set[int]) -> Iterator[Item]:
        """The pictures at these places of `keys`. Raises nothing for what the dataset holds."""


class Reader(Protocol):
    """A dataset of one form."""

    def total(self) -> int | None:
        """How many pictures there are, where that costs little to know."""

    def chunks(self, skip_files: Set[str]) -> Iterator[Chunk]:
        """In a fixed order; `skip_files` are left out."""


def version_of(file: Path) -> str:
    """What changes when somebody writes the file: its size and time."""
    found = file.stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A chunk that stands for a file, or the rest of one, that cannot be read."""

    file: str
    reason: str

    @property
    def keys(self) -> Sequence[str]:
        return (f"{self.file}:unreadable",)

    def items(self, wanted: Set[int]) -> Iterator[Item]:
        for index in wanted:
            yield Item(index, self.file, problem=self.reason)
