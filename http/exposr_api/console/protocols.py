"""What the console's pages show and do beyond the API. The daemon implements it.

All methods are thread-safe. They are called in worker threads and may read a disk; `thumbnail` is a coroutine.
A picture is named by its `sha256`, 64 hex digits. Pictures are objects with the attributes sha256, name, path, label,
label_source, clash, source, generator, added, width, height and folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from exposr_api.protocols import Decision, Json
from utils.metadata import Label

ThumbnailSize = Literal["small", "large"]
ProblemKind = Literal["rejected", "conflict", "duplicate", "unreadable", "note"]
QueueGrouping = Literal["one", "folder", "similar"]


class PicturePage(Protocol):
    """One page, newest first, or with `novelty` the most novel first. `older` is the cursor of the next page, empty at
    the end.

    A filter that fits few pictures is searched in steps: `searched_to` is then the ISO time, or the novelty, at which
    this step ended.
    """

    @property
    def pictures(self) -> Sequence[Any]: ...
    @property
    def older(self) -> str: ...
    @property
    def searched_to(self) -> str: ...


class ProblemPage(Protocol):
    """Problems (path, kind, reason, and sha256 where there is a picture); `next` is a cursor as above."""

    @property
    def problems(self) -> Sequence[Any]: ...
    @property
    def next(self) -> str: ...


class QueueView(Protocol):
    """What to label next. `why` says why this picture comes first; `others` share its batch; `ahead` are next.

    `decided` counts what this person has decided since the service started."""

    @property
    def picture(self) -> Any | None: ...
    @property
    def why(self) -> str: ...
    @property
    def details(self) -> Json: ...
    @property
    def others(self) -> Sequence[Any]: ...
    @property
    def ahead(self) -> Sequence[Any]: ...
    @property
    def decided(self) -> int: ...
    @property
    def can_undo(self) -> bool: ...


class Labelled(Protocol):
    """How many pictures were written, had been decided by somebody else, or could not be written."""

    @property
    def written(self) -> int: ...
    @property
    def taken(self) -> int: ...
    @property
    def failed(self) -> int: ...


class ConsoleData(Protocol):
    """The daemon, as the console sees it besides `exposr_api.protocols.Service`."""

    def pictures(self, wanted: Mapping[str, str], cursor: str, limit: int) -> PicturePage:
        """`wanted` has any of the keys label, source, generator, since, until, part, model, novelty; other values fit
        all."""

    def choices(self) -> Mapping[str, Sequence[str]]:
        """What the filters source, generator, part, model and novelty may be set to."""

    def picture(self, sha256: str) -> Json | None:
        """`picture`, `files`, `metadata` (the file's own content), `near` (pictures), `part`, `opinion`, `history`."""

    def problems(self, kind: ProblemKind, cursor: str) -> ProblemPage: ...

    async def thumbnail(self, sha256: str, size: ThumbnailSize) -> bytes | None:
        """WebP, made by a confined process and cached; None when the picture is not there or cannot be drawn."""

    def mix(self) -> Sequence[tuple[str, str, int]] | None:
        """(label, source, pictures) as of a moment ago; None while it is being counted for the first time."""

    def queue(self, grouping: QueueGrouping, who: str) -> QueueView:
        """`who` is a session: what one person looks at is not shown to another for a while."""

    def label(self, who: str, pictures: Sequence[str], label: Label | None, *, override: bool = False) -> Labelled:
        """Write a person's label into their metadata. Without `override`, what another person has decided stays; what
        is gone counts as nothing."""

    def skip(self, who: str, pictures: Sequence[str]) -> None:
        """Ask about these again after a restart only."""

    def undo(self, who: str) -> str:
        """Take back the last decision of `who`; in words what was taken back, empty when there is none."""

    def card(self, model: str, version: str) -> Json | None:
        """The version's model.json; None without such a version."""

    def report(self, model: str, version: str) -> bytes | None:
        """The version's report.html."""

    def run_log(self, run_id: str) -> str:
        """The end of the run's log; empty when it is not kept any more."""

    def sources(self) -> Sequence[Json]:
        """Each source with its state, quotas, stored, and what was refused by reason."""

    def start_source(self, name: str) -> Decision:
        """Collect from this source alone, now."""
