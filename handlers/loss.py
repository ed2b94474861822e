"""Whether what is missing was lost or deleted. Pure.

Who deletes pictures leaves their metadata in meta/. A disk that goes, an empty folder that is mounted over the data or
`rm -rf *` takes both: that is a loss, and nothing is forgotten until the data is back or a person confirms.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from utils.data_folder import ACCEPT_COMMAND

LOST_SHARE = 0.5  # of the pictures and of the metadata files: more than this missing at once is a loss
SMALLEST_LOSS = 20  # pictures; fewer are only a loss when nothing at all is left
RETURNED_SHARE = 0.95  # of the pictures: so many are there again before a loss is over by itself


@dataclass(frozen=True, slots=True)
class Inventory:
    """Known files that are there and that are missing and not yet forgotten: pictures, and metadata."""

    pictures: int
    missing_pictures: int
    metadata: int
    missing_metadata: int


def is_loss(now: Inventory, *, was_lost: bool = False, is_strange: bool = False) -> bool:
    """`was_lost`: a loss is not over before nearly everything is back. `is_strange`: another folder is at the place."""
    known = now.pictures + now.missing_pictures
    if not now.missing_pictures:
        return False
    if was_lost and now.pictures < RETURNED_SHARE * known:
        return True
    if not now.pictures and (not now.metadata or is_strange):
        return True
    if now.missing_pictures < SMALLEST_LOSS:
        return False
    pictures_lost = now.missing_pictures > LOST_SHARE * known
    metadata_lost = now.missing_metadata > LOST_SHARE * (now.metadata + now.missing_metadata)
    return pictures_lost and (metadata_lost or is_strange)


def explain_loss(now: Inventory, root: Path) -> str:
    """What is missing, what is not done meanwhile, and the command that confirms a deletion."""
    return (
        f"{now.missing_pictures} of {now.missing_pictures + now.pictures} pictures are missing from {root},"
        " with their metadata: emptied, replaced, or not mounted. Nothing is forgotten and nothing is trained until"
        f" they are back. If they were deleted on purpose: {ACCEPT_COMMAND}"
    )
