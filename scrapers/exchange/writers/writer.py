"""What a writer of datasets is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scrapers.exchange.columns import Exported
from utils.images.decoding.kinds import KINDS

SHA256_REGEX = "([0-9a-f]{64})"
PICTURE_TYPES = tuple(kind.media_type for kind in KINDS.values())


@dataclass(frozen=True, slots=True)
class Description:
    """The parts of a Croissant description that depend on the form: what files there are, and where fields are."""

    distribution: Sequence[dict[str, Any]]
    image: dict[str, Any]  # the source of the field `image`
    columns: dict[str, Any]  # the files that hold every other field, as columns
    join: dict[str, Any] | None = None  # the source of the picture's SHA-256, where pictures lie apart from columns


class Writer(Protocol):
    """Pictures of one split come in any order; `finish` closes all files and describes them."""

    def add(self, picture: Exported, data: bytes) -> None: ...

    def finish(self) -> Description: ...
