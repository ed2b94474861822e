"""The processes that a test's own process has started."""

from __future__ import annotations

import contextlib

import psutil


def running_children(module: str) -> list[psutil.Process]:
    """Those that run `python -m module`; one that has ended and was not reaped yet has no command line any more."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            if module in child.cmdline():
                found.append(child)
    return found
