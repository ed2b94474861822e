"""Importing torch, timm and scikit-learn makes a million objects that stay until the process ends.

With the collector off while they are made, and told to leave them alone for good, a process starts a second earlier and
ends two seconds earlier: it would otherwise look through all of them again and again.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_import() -> Iterator[None]:
    """For the imports at the beginning of a process, and nothing else."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
