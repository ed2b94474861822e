"""Which metadata belongs to which picture: by id, by content, by place. Looks things up, changes nothing."""

from __future__ import annotations

import uuid

from handlers.index.rows import FileRow, StoredMetadata, StoredSample
from handlers.index.store import Index
from handlers.paths import is_scraped_place, stem


class Links:
    """Questions to the index about metadata and samples."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def description_of(self, path: bytes, sha256: str) -> StoredMetadata | None:
        """Metadata that waits for this picture, and no other: by its name, by its content, or by its place."""
        about = self._index.metadata_about(path)
        at_place = [row for row in about if row.sha256 in ("", sha256) or not self.is_in_use(row)]
        rows = [*self.named_after(path, sha256), *self._index.metadata_with_content(sha256), *at_place]
        return next((row for row in rows if not self.is_in_use(row)), None)

    def named_after(self, path: bytes, sha256: str) -> list[StoredMetadata]:
        """Metadata that shares its name with a picture under images/, unless it says that it is about another one."""
        named = self._index.metadata_named(stem(path)) if is_scraped_place(path) else []
        return [row for row in named if row.sha256 in ("", sha256) or row.statement.image in (b"", path)]

    def is_in_use(self, row: StoredMetadata) -> bool:
        """Whether a sample has this metadata as its own."""
        return self._index.sample(row.stem) is not None

    def samples_about(self, row: StoredMetadata) -> set[str]:
        """Samples that this metadata speaks of."""
        by_content = self._index.sample_of_content(row.sha256) if row.sha256 else None
        at_place = self._index.file(row.statement.image) if row.statement.image else None
        found = {row.stem} if self.is_in_use(row) else set()
        found |= {by_content.id} if by_content is not None else set()
        return found | ({at_place.sample} if at_place is not None and at_place.sample is not None else set())

    def samples_at(self, path: bytes, before: FileRow | None) -> set[str]:
        """Samples that had this file (`before`), or whose metadata names it."""
        found = {row.stem for row in self._index.metadata_about(path)}
        return found | ({before.sample} if before is not None and before.sample is not None else set())

    def is_only_file(self, sample: StoredSample, path: bytes) -> bool:
        return [row.path for row in self._index.files_of(sample.id)] == [path]

    def new_id(self, path: bytes) -> str:
        """The name of a collected picture, which is a UUID; any other gets a new one."""
        name = stem(path)
        if is_scraped_place(path) and _is_uuid(name) and self._index.sample(name) is None:
            return name
        return str(uuid.uuid4())


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
