"""What became of a dataset's pictures, for the command line and the collection's figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

EXAMPLES = 20  # of pictures that were left out, kept with their reasons


@dataclass(slots=True)
class ImportTally:
    """What became of a dataset's pictures. `known`: stored by an earlier run and still there."""

    known: int = 0
    whole_files: int = 0  # of a hub's dataset, taken by an earlier run and not read again
    decided: Counter[tuple[str, str]] = field(default_factory=Counter)  # state, why
    stored: Counter[tuple[str, str]] = field(default_factory=Counter)  # label, and source or generator
    licenses: Counter[str] = field(default_factory=Counter)
    unmapped: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)
    size_bytes: int = 0

    def total(self, state: str) -> int:
        return sum(count for (name, _), count in self.decided.items() if name == state)

    @property
    def looked_at(self) -> int:
        return self.known + self.decided.total()

    def leave_out(self, path: str, reason: str) -> None:
        if len(self.examples) < EXAMPLES:
            self.examples.append((path, reason))
