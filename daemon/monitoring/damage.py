"""State that was damaged and begun anew while the service runs, whoever did so: for /health, until the next start.

Whoever owns a file sets a damaged one aside (`utils/sqlite_files.py`); this looks for what was set aside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from utils.files import SET_ASIDE_SUFFIX

FOLLOWS = {
    "index.sqlite": "made again from the files",
    "labels.sqlite": "filled again from the metadata files; the history, and labels of absent pictures, are lost",
    "daemon.sqlite": "history and deadlines begin anew",
    "field.sqlite": "reports and histograms of Exposr-Core begin anew",
    "split.sqlite": "made again from the published versions",
    "cache.sqlite": "embeddings are computed again",
    "registry.json": "made again from the folders of the versions",
    "aliases.json": "made again from its copy",
}


class SetAsideFiles:
    """What was there at the start is not told. Cheap enough for each answer of /health."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders
        self._before = self._look()

    def notices(self) -> list[str]:
        """One for each file, in words."""
        names = sorted(name for name, _ in self._look() - self._before)
        return [
            f"{name} was damaged: kept as {name}{SET_ASIDE_SUFFIX}, {FOLLOWS.get(name, 'begun anew')}" for name in names
        ]

    def _look(self) -> set[tuple[str, int]]:
        """Names and inodes: of a file that is set aside over an older one only the inode is new."""
        found = set()
        for folder in self._folders:
            for file in folder.glob(f"*{SET_ASIDE_SUFFIX}"):
                with contextlib.suppress(OSError):
                    found.add((file.name.removesuffix(SET_ASIDE_SUFFIX), file.stat().st_ino))
        return found
