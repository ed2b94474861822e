"""Pictures that a whole scan has confirmed as deleted: forgotten in batches, their metadata with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from handlers.index.rows import FileRow
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
        """Forget a batch, but for what came back since; samples that have lost a file and are still there."""
        gone: dict[str, list[FileRow]] = {}
        for row in [self._confirmed.popleft() for _ in range(min(BATCH, len(self._confirmed)))]:
            self._pulse()
            now = self._index.file(row.path)
            if now is None or now.gone != row.gone:
                continue
            self._index.forget_file(row.path)
            if row.sample is not None:
                gone.setdefault(row.sample, []).append(row)
        changed = [sample_id for sample_id, rows in gone.items() if not self._forget_sample(sample_id, rows)]
        if len(gone) > len(changed):
            log.info("samples_deleted", samples=len(gone) - len(changed))
        return changed

    def _forget_sample(self, sample_id: str, rows: Iterable[FileRow]) -> bool:
        """With its metadata, when it has no file any more; else the metadata of its copies that went."""
        sample = self._index.sample(sample_id)
        if sample is not None and not self._index.files_of(sample_id):
            for own in self._index.metadata_of(sample.id, sample.sha256, []):
                self._files.delete(own)
            self._index.forget_sample(sample, self._distance)
            return True
        for row in rows:
            named = self._index.metadata_named(stem(row.path)) if is_scraped_place(row.path) else []
            for own in named:
                if self._index.sample(own.stem) is None:
                    self._files.delete(own)
        return False
