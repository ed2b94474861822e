"""Pictures that a whole scan has confirmed as deleted: forgotten in batches, their metadata with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from handlers.index.rows import FileRow, StoredMetadata
from handlers.index.store import Index
from handlers.metadata_files import MetaFiles
from handlers.paths import is_scraped_place, stem
from utils.logs import get_logger

log = get_logger(__name__)

BATCH = 512


class Deletions:
    """Called inside the caller's transaction."""

    def __init__(self, index: Index, files: MetaFiles, distance: int, pulse: Callable[[], None]) -> None:
        self._index = index
        self._files = files
        self._distance = distance
        self._pulse = pulse
        self._confirmed: deque[FileRow] = deque()

    def __len__(self) -> int:
        return len(self._confirmed)

    def confirm(self, rows: Iterable[FileRow]) -> None:
        """Missing files that were looked for once more."""
        self._confirmed = deque(rows)

    def forget_some(self) -> list[str]:
        """Forget a batch, but for what came back since; samples that have lost a file and are still there.

        Where metadata cannot be removed, its files stay missing, and are confirmed again by a later scan.
        """
        gone: dict[str, list[FileRow]] = {}
        for row in [self._confirmed.popleft() for _ in range(min(BATCH, len(self._confirmed)))]:
            self._pulse()
            now = self._index.file(row.path)
            if now is None or now.gone != row.gone:
                continue
            if row.sample is not None:
                gone.setdefault(row.sample, []).append(row)
            else:
                self._index.forget_file(row.path)
        changed, deleted = [], 0
        for sample_id, rows in gone.items():
            sample, paths = self._index.sample(sample_id), {row.path for row in rows}
            is_last = sample is not None and all(file.path in paths for file in self._index.files_of(sample_id))
            if sample is not None and is_last:
                doomed = self._index.metadata_of(sample.id, sample.sha256, [])
            else:
                doomed = [own for row in rows for own in self._of_copy(row)]
            if [own for own in doomed if not self._files.delete(own)]:
                continue
            for row in rows:
                self._index.forget_file(row.path)
            if sample is not None and is_last:
                self._index.forget_sample(sample, self._distance)
                deleted += 1
            else:
                changed.append(sample_id)
        if deleted:
            log.info("samples_deleted", samples=deleted)
        return changed

    def _of_copy(self, row: FileRow) -> list[StoredMetadata]:
        """Metadata that a collected copy had of its own."""
        named = self._index.metadata_named(stem(row.path)) if is_scraped_place(row.path) else []
        return [own for own in named if self._index.sample(own.stem) is None]
