"""What a single run was told by whoever started it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from scrapers.candidate import Candidate, Page


@dataclass(frozen=True, slots=True)
class Wishes:
    """What one run was told: images of a source at most, the oldest and the smallest (shorter side, pixels) ones."""

    limit: int | None = None
    since: datetime | None = None
    min_side: int = 0

    def reject(self, candidate: Candidate) -> bool:
        """Left waiting for a run that wants it."""
        if self.since is not None and not self._is_recent(candidate):
            return True
        return bool(self.min_side) and candidate.size is not None and min(candidate.size) < self.min_side

    def ends_at(self, page: Page) -> bool:
        """Whether everything on a page is too old: what follows is older still."""
        if self.since is None:
            return False
        candidates = [item for item in page.items if isinstance(item, Candidate)]
        return bool(candidates) and not any(self._is_recent(candidate) for candidate in candidates)

    def _is_recent(self, candidate: Candidate) -> bool:
        try:
            created = datetime.fromisoformat(candidate.created or "")
        except ValueError:
            return False
        return self.since is None or created.replace(tzinfo=created.tzinfo or UTC) >= self.since
