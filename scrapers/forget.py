"""Deleting what a source or a photographer asks to be deleted, and remembering it, so that it never comes back.

The image, its thumbnails and its metadata are deleted at once; the sample index notices like any other deletion. The
tombstone holds ids and hashes only. Works from the metadata files, so also where scrape.sqlite was lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from scrapers.status import KEYS
from scrapers.store.item_store import ItemStore
from scrapers.store.schema import open_read_only
from utils.clock import to_iso
from utils.config_loader import Config
from utils.errors import OperatorError, SkipItemError
from utils.files import fsync_folder
from utils.images.thumbnail_files import remove_thumbnails
from utils.metadata import META_FOLDER, Metadata, read_metadata

REASON = "forgotten on request"


def forget(config: Config, source: str, *, source_id: str | None = None, photographer: str | None = None) -> int:
    """Delete one item of `source`, or everything of a photographer (their id there, display name or profile URL).

    Returns how many images were deleted. What was not collected yet is remembered all the same.
    """
    if (source_id is None) == (photographer is None):
        raise OperatorError("name either an id or a photographer to forget")
    data = config.storage.local_path
    if source not in KEYS and next(_stored(data, source), None) is None:  # sources of imported pictures have any name
        raise OperatorError(f"no picture is from {source!r}; sources to collect from are {', '.join(KEYS)}")
    item_store = ItemStore(config.storage.state_path, run_id="forget")
    try:
        deleted = 0
        creators: set[str] = {f"{source}:{photographer}"} if photographer is not None else set()
        for file, metadata in _stored(data, source):
            if not _is_meant(metadata, source, source_id, photographer):
                continue
            if photographer is not None and (creator := metadata.api_data.get("creator")):
                creators.add(str(creator))
            # the tombstone first: a crash in between leaves something to delete, not something that comes back
            _add_tombstone(item_store, source, str(metadata.api_data.get("id") or "") or None, metadata.sha256)
            _delete(data, file, metadata)
            remove_thumbnails(config.storage.state_path, metadata.sha256.lower())
            deleted += 1
        _remember(item_store, source, source_id, creators)
        return deleted
    finally:
        item_store.close()


def is_forgotten(config: Config, sha256: str) -> bool:
    """Whether a picture of these bytes was deleted on request."""
    connection = open_read_only(config.storage.state_path)
    if connection is None:
        return False
    with contextlib.closing(connection):
        return connection.execute("SELECT 1 FROM tombstones WHERE sha256 = ?", (sha256,)).fetchone() is not None


def _stored(data: Path, source: str) -> Iterator[tuple[Path, Metadata]]:
    for file in sorted((data / META_FOLDER).rglob("*.json")):
        with contextlib.suppress(SkipItemError):
            metadata = read_metadata(file)
            if metadata.source == source:
                yield file, metadata


def _is_meant(metadata: Metadata, source: str, source_id: str | None, photographer: str | None) -> bool:
    if source_id is not None:
        return str(metadata.api_data.get("id")) == source_id
    credit = metadata.attribution
    names = (metadata.api_data.get("creator"), credit.get("photographer"), credit.get("photographer_url"))
    return any(name in (photographer, f"{source}:{photographer}") for name in names if name)


def _delete(data: Path, file: Path, metadata: Metadata) -> None:
    image = (data / metadata.path).resolve()
    if metadata.path and image.is_relative_to(data.resolve()):
        image.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            fsync_folder(image.parent)
    file.unlink(missing_ok=True)
    fsync_folder(file.parent)


def _add_tombstone(
    item_store: ItemStore, source: str, source_id: str | None, sha256: str | None, creator: str | None = None
) -> None:
    with item_store.transaction() as db:
        db.execute(
            "INSERT INTO tombstones (source, source_id, creator, sha256, reason, at) VALUES (?, ?, ?, ?, ?, ?)",
            (source, source_id, creator, sha256 or None, REASON, to_iso(datetime.now(UTC))),
        )


def _remember(item_store: ItemStore, source: str, source_id: str | None, creators: set[str]) -> None:
    """Tombstones for what was asked for by name, and for every known item of it, stored or waiting."""
    if source_id is not None:
        _add_tombstone(item_store, source, source_id, None)
    for creator in creators:
        _add_tombstone(item_store, source, None, None, creator)
    with item_store.transaction() as db:
        db.executemany(
            "UPDATE items SET state = 'refused', why = 'tombstone', candidate = NULL, metadata = NULL, again = 0"
            " WHERE source = ? AND (source_id = ? OR creator = ?) AND state != 'placing'",
            [(source, source_id, creator) for creator in (creators or {""})],
        )
