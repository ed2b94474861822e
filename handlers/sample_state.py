"""One sample's state, and what follows from it. Loaded once, decided on here, written once. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from handlers.index.rows import HELD, FileRow, StoredMetadata, StoredSample
from handlers.labels.history import Entry
from handlers.labels.rules import MANUAL, Resolution, Statement, follow, resolve
from handlers.paths import folder_label


@dataclass(slots=True)
class SampleState:
    """All that the index knows of a sample. `files`: first seen first, missing ones too; `metadata`: what names it.

    `is_new`: it is not stored yet.
    """

    sample: StoredSample
    files: Sequence[FileRow]
    metadata: Sequence[StoredMetadata]
    is_new: bool = False

    @property
    def present(self) -> list[bytes]:
        return [row.path for row in self.files if row.gone is None]

    @property
    def is_held(self) -> bool:
        """Whether a file of it waits for its file system."""
        return any(row.gone is not None and row.gone >= HELD for row in self.files)

    @property
    def named(self) -> list[StoredMetadata]:
        """Metadata files that carry its id, the newest folder first."""
        return sorted((row for row in self.metadata if row.stem == self.sample.id), key=_newest_first, reverse=True)

    @property
    def own(self) -> StoredMetadata | None:
        return min(self.named, key=lambda row: (row.folder, row.name), default=None)

    @property
    def primary(self) -> bytes:
        """The file that stands for it: the one that its metadata names, else the one from before, else the first."""
        present = self.present
        places = [*(row.statement.image for row in self.named), self.sample.path or b""]
        return next((path for path in places if path in present), present[0])


@dataclass(frozen=True, slots=True)
class Change:
    """What a metadata file has to say from now on; `note` where a person's word comes back with one."""

    row: StoredMetadata
    statement: Statement
    sha256: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a sample is and what it is; `changes` of metadata files; `said` for a metadata file that is to be made."""

    primary: bytes
    resolution: Resolution
    spoken: Sequence[StoredMetadata] = ()
    changes: Sequence[Change] = field(default=())
    said: Statement | None = None


def decide(state: SampleState, word: Entry | None, *, is_undecided: bool = False) -> Decision:
    """A sample that is there, from its files and all its metadata.

    `word`: what a person has said of this content before, where no metadata says it now. `is_undecided`: the file that
    its metadata names was not looked at yet, so nobody knows whether it has moved.
    """
    sample, primary, own = state.sample, state.primary, state.own
    spoken: list[StoredMetadata] = []
    changes: list[Change] = []
    said = None
    if own is None:
        said = first_statement(primary, word)
        spoken.append(StoredMetadata(b"", b"", sample.id, sample.sha256, said))
    elif is_undecided:
        spoken.append(own)
    else:
        now = follow(own.statement, primary, folder_label(primary))
        if word is not None and own.problem is None:
            now = replace(now, label=word.label, label_source="person")
        if own.problem is None and (now != own.statement or own.sha256 != sample.sha256):
            changes.append(Change(own, now, sample.sha256, word.note if word is not None else None))
            own = replace(own, sha256=sample.sha256)
        spoken.append(replace(own, statement=now))
    for row in state.metadata:
        is_of_place = not row.sha256 and row.statement.image == primary
        if row.stem == sample.id or not (row.sha256 == sample.sha256 or is_of_place):
            continue
        if not row.sha256 and row.problem is None:  # knew its picture by place; from now on it moves with it
            changes.append(Change(row, row.statement, sample.sha256))
        spoken.append(row)
    folders = [(path, folder_label(path)) for path in state.present]
    return Decision(primary, resolve([row.statement for row in spoken], folders), spoken, changes, said)


def first_statement(image: bytes, word: Entry | None) -> Statement:
    """What the metadata of a picture that came without says: a person's earlier word, else where it lies."""
    said = follow(Statement(None, None, MANUAL, image), image, folder_label(image))
    return said if word is None else replace(said, label=word.label, label_source="person")


def _newest_first(row: StoredMetadata) -> tuple[bytes, list[int]]:
    """Folders from the newest; names in one folder in their order."""
    return row.folder, [-byte for byte in row.name]


def descriptions(rows: Sequence[StoredMetadata], path: bytes, sha256: str, name: str | None) -> list[StoredMetadata]:
    """Of `rows`, what may describe a picture that is new: by its name (of one under images/), content, place."""
    named = [row for row in rows if row.stem == name and may_be_about(row, path, sha256)]
    content = [row for row in rows if row.sha256 == sha256]
    return [*named, *content, *(row for row in rows if row.statement.image == path)]


def may_be_about(row: StoredMetadata, path: bytes, sha256: str) -> bool:
    """Whether metadata that shares its name with a picture does not say that it is about another one."""
    return row.sha256 in ("", sha256) or row.statement.image in (b"", path)


def is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
