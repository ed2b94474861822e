"""What the item store hands out and takes in: an item on its way from a page to its place, or to the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from scrapers.candidate import Candidate

State = Literal["stored", "duplicate", "filtered", "refused", "failed"]
STATES: tuple[State, ...] = ("stored", "duplicate", "filtered", "refused", "failed")


@dataclass(frozen=True, slots=True)
class QueuedItem:
    """A candidate that waits for its download. The sample id follows from the source's id: a repeat overwrites."""

    row: int
    sample_id: str
    tracked: bool
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of an item. `again`: a failure that a later run may try again; it `counts` as one of the item's tries
    unless it was the host's. `basis`: what the verdict depends on; empty when it stands for good."""

    row: int
    state: State
    why: str = ""
    again: bool = False
    counts: bool = True
    basis: str = ""


@dataclass(slots=True)
class Seen:
    """What a page's items were: new ones, ones stored before, and what was decided at once or still holds (`again`)."""

    new: int = 0
    known: int = 0
    again: int = 0
    decided: list[tuple[State, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Placement:
    """A checked file on its way to its place; `metadata` is the JSON that goes beside it."""

    row: int
    sha256: str
    size_bytes: int
    label: str
    path: str
    meta_path: str
    metadata: str
    day: str
    creator: str | None = None  # where they were not known before the file was read
    generator: str | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A store that a crash may have left half-done."""

    row: int
    sample_id: str
    path: str
    meta_path: str
    metadata: str
