"""Which label a sample has, and what its metadata has to say. Pure decisions.

A label is stated by a person (an edited JSON, the CLI), by the folder a file lies in, or by the source it came from.
A person outranks the rest. What is left must agree over all copies of the same bytes, else the sample is in conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from handlers.paths import folder_label, folder_source, is_scraped_place, printable
from utils.metadata import Label, LabelSource

MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Statement:
    """What one metadata file says; `image` is the path it names, relative to the data folder (may be empty)."""

    label: Label | None
    label_source: LabelSource | None
    source: str
    image: bytes


@dataclass(frozen=True, slots=True)
class Resolution:
    """A sample's label; `clash`: copies or metadata of the same bytes contradict each other."""

    label: Label | None
    label_source: LabelSource | None
    clash: bool = False


def interpret(read: Statement, folder: Label | None, before: Statement | None) -> Statement:
    """What a metadata file that was just read means, given what it said before (None: not known).

    A label that nobody but a person can have put there becomes the person's: one that differs from the label of the
    folder it claims to come from (`folder`, of the path it names), and one that was changed after the source wrote it.
    """
    if read.label_source is None and read.label is not None:  # the guide's form does not say where a label is from
        read = replace(read, label_source="person" if is_by_hand(read) else "source")
    if read.label_source == "folder" and read.label != folder and (folder is not None or not read.image):
        # where no folder says a label any more, a name was taken out of the settings: `follow` sees to it
        return replace(read, label_source="person")
    was_sourced = before is not None and before.source == read.source and before.label_source == "source"
    if before is not None and was_sourced and before.label != read.label and read.label_source in ("source", None):
        return replace(read, label_source="person")
    return read


def follow(statement: Statement, path: bytes, folder: Label | None) -> Statement:
    """What the metadata has to say once its image lies at `path`, whose folder says `folder`.

    A folder's label follows the file. A source's label stays, unless the file was moved into a label's folder, which
    is a statement about it. A person's label always stays. The source, too, follows the folder, where it came from one.
    """
    moved = bool(statement.image) and statement.image != path
    if is_by_hand(statement):
        statement = replace(statement, source=source_of_place(path))
    if statement.label_source == "source" and not (moved and folder is not None):
        return replace(statement, image=path)
    if statement.label_source == "person":
        return replace(statement, image=path)
    return replace(statement, image=path, label=folder, label_source="folder" if folder else None)


def is_by_hand(statement: Statement) -> bool:
    """Nobody but the place of its image says where a sample comes from; a scraper's or a person's word stands."""
    return statement.source in ("", MANUAL, source_of_place(statement.image))


def source_of_place(path: bytes) -> str:
    """The source of a picture that a person put at `path`: the first folder below its label's, or of the data folder.

    Where there is no such folder, it is `manual`; under images/ only metadata can tell.
    """
    if folder_label(path) is not None or is_scraped_place(path):
        return folder_source(path) or MANUAL
    first, below, _ = path.partition(b"/")
    return printable(first) if below else MANUAL


def resolve(statements: Sequence[Statement], folders: Iterable[tuple[bytes, Label | None]]) -> Resolution:
    """The label of a sample from all its metadata and all its files (`folders`: path, and label of its folder)."""
    by_person = {statement.label for statement in statements if statement.label_source == "person"}
    if by_person:
        return _agree(by_person, "person")
    sourced = [statement for statement in statements if statement.label_source == "source" and statement.label]
    labels: set[Label | None] = {statement.label for statement in sourced}
    spoken_for = {statement.image for statement in sourced}
    labels |= {label for path, label in folders if label and path not in spoken_for}
    return _agree(labels, "source" if sourced else "folder")


def _agree(labels: set[Label | None], label_source: LabelSource) -> Resolution:
    if len(labels) > 1:
        return Resolution(None, None, clash=True)
    label = next(iter(labels), None)
    return Resolution(label, label_source if label or label_source == "person" else None)
