"""Folder names that stand for a label.

The names are settings (`intake.real_folders`, `intake.generated_folders`). A process serves one data folder, so that
they are the process's: whoever has a configuration calls `adopt` before it asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from utils.config.sections import Intake
from utils.metadata import LABELS, Label

SEPARATORS = re.compile(rb"[ ._-]+")
OWN_NAMES: dict[bytes, Label] = {label.encode(): label for label in LABELS}


@dataclass(frozen=True, slots=True)
class LabelFolders:
    """`other_names` besides `real` and `ai_generated`, as `plain` writes them."""

    other_names: dict[bytes, Label]

    @classmethod
    def from_settings(cls, intake: Intake) -> LabelFolders:
        return cls(_named(intake.real_folders, "real") | _named(intake.generated_folders, "ai_generated"))

    def describe(self) -> str:
        """All names with their labels, as text that changes with them."""
        names = {name.decode(errors="replace"): label for name, label in (OWN_NAMES | self.other_names).items()}
        return json.dumps(names, sort_keys=True)

    def below(self, path: bytes) -> tuple[Label, list[bytes]] | None:
        """The label that the folders on a file's way say, and the folders from the one that says it on.

        The nearest `real` or `ai_generated` decides. Without one, the nearest of the other names does, unless they
        disagree (`fake/photos`): then nobody has said anything.
        """
        parts = path.split(b"/")[:-1]
        names = [plain(part) for part in parts]
        for known in (OWN_NAMES, self.other_names):
            places = [place for place, name in enumerate(names) if name in known]
            if places and (known is OWN_NAMES or len({known[names[place]] for place in places}) == 1):
                return known[names[places[-1]]], parts[places[-1] :]
        return None


@lru_cache(maxsize=1 << 14)
def plain(name: bytes) -> bytes:
    """A name without regard to case and to what keeps its words apart: `AI Generated` is `ai_generated`."""
    return SEPARATORS.sub(b"_", name.lower()).strip(b"_")


def _named(names: Iterable[str], label: Label) -> dict[bytes, Label]:
    return {plain(name.encode()): label for name in names}


_adopted = LabelFolders.from_settings(Intake())


def adopt(intake: Intake) -> None:
    """Use the names of these settings from now on."""
    global _adopted
    _adopted = LabelFolders.from_settings(intake)


def adopted() -> LabelFolders:
    return _adopted
