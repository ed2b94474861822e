"""Rows of the index, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from handlers.file_signature import FileSignature
from handlers.labels.rules import Statement
from handlers.paths import join
from utils.images.facts import ImageFacts
from utils.metadata import Label, LabelSource

FileState = Literal["good", "rejected", "unreadable", "metadata"]
ProblemKind = Literal["rejected", "duplicate", "conflict", "unreadable", "note"]
HELD = 9e18  # `gone` of a file whose whole file system went away: waits for it instead of being forgotten


@dataclass(frozen=True, slots=True)
class Counts:
    """total == real + ai_generated + unlabeled: usable samples. A sample in conflict is in none of these."""

    total: int = 0
    real: int = 0
    ai_generated: int = 0
    unlabeled: int = 0
    duplicates: int = 0  # files whose bytes another file already has
    conflicts: int = 0  # samples whose label is contradicted
    rejected: int = 0  # files that cannot be used
    pending: int = 0  # files that were seen and are not judged yet
    away: int = 0  # of `total` and `conflicts`: samples whose disk is not there, kept until it is back


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a file that its owner may want to know; `path` is relative to the data folder."""

    path: str
    kind: ProblemKind
    reason: str


@dataclass(frozen=True, slots=True)
class KnownSample:
    """A sample whose picture is there. `label_source` is person, even without a label, once a person has judged it."""

    id: str
    sha256: str
    label: Label | None = None
    label_source: LabelSource | None = None


@dataclass(frozen=True, slots=True)
class FileRow:
    """A tracked file; `gone` is set while it is missing."""

    folder: bytes
    name: bytes
    device: int
    signature: FileSignature
    state: FileState
    sample: str | None
    gone: float | None

    @property
    def path(self) -> bytes:
        return join(self.folder, self.name)


@dataclass(frozen=True, slots=True)
class Twin:
    """A picture that most likely has the bytes of another file."""

    path: bytes
    signature: FileSignature
    sample: str


@dataclass(frozen=True, slots=True)
class StoredSample:
    """`key` is the short name that other tables use."""

    key: int
    id: str
    sha256: str
    path: bytes | None  # None while no file of it is there
    phash: str | None
    thumb: bytes | None
    label: Label | None
    label_source: LabelSource | None
    clash: bool
    added: str

    @classmethod
    def new(cls, key: int, sample_id: str, facts: ImageFacts, added: str) -> StoredSample:
        """Not stored yet, so without a place and a label."""
        return cls(key, sample_id, "", None, None, None, None, None, False, added).with_content(facts)

    def with_content(self, facts: ImageFacts) -> StoredSample:
        thumb = bytes.fromhex(facts.thumb) if facts.thumb else None
        return replace(self, sha256=facts.sha256, phash=facts.phash, thumb=thumb)


@dataclass(frozen=True, slots=True)
class StoredMetadata:
    """One file of meta/, as last understood."""

    folder: bytes
    name: bytes
    stem: str
    sha256: str
    statement: Statement
    creator: str | None = None
    post: str | None = None
    generator: str | None = None
    series: str | None = None
    problem: str | None = None

    @property
    def path(self) -> bytes:
        return join(self.folder, self.name)
