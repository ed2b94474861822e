"""One writer of collected pictures at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import StopRunError

LOCK_FILE = "scrape.lock"


@contextmanager
def collecting(state_path: Path) -> Iterator[None]:
    """One collection at a time on one state; the kernel lets go of it however the process ends."""
    state_path.mkdir(parents=True, exist_ok=True)
    with (state_path / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StopRunError(f"another collection is running on {state_path}") from error
        yield
