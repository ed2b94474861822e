"""Keeping the labels in proportion: whoever is far ahead waits for the others, as long as there are others at work."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping

SLACK_IMAGES = 500  # a label may be this far ahead whatever the ratio


class Balance:
    """Shared by the sources of one run. A label without an active source of the other label is never held back."""

    def __init__(self, stored: Mapping[str, int], ratio: float) -> None:
        self._stored = Counter(dict(stored))
        self._active: Counter[str] = Counter()
        self._took_part: set[str] = set()
        self._ratio = ratio
        self._changed = asyncio.Condition()

    def join(self, label: str) -> None:
        self._active[label] += 1
        self._took_part.add(label)

    async def leave(self, label: str) -> None:
        async with self._changed:
            self._active[label] -= 1
            self._changed.notify_all()

    async def note_stored(self, label: str) -> None:
        async with self._changed:
            self._stored[label] += 1
            self._changed.notify_all()

    async def wait(self, label: str) -> bool:
        """Return when `label` may go on; False when it is too far ahead and the others have finished."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._ahead(label) or not self._others(label))
            return not self._ahead(label)

    def _ahead(self, label: str) -> bool:
        others = self._took_part - {label}
        if not self._ratio or not others:
            return False
        return self._stored[label] > SLACK_IMAGES + self._ratio * min(self._stored[other] for other in others)

    def _others(self, label: str) -> bool:
        return any(count for other, count in self._active.items() if other != label)
