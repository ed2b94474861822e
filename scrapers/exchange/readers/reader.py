"""What a reader of datasets is: chunks of keys, of which the importer asks for those that it does not have yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from utils.images.decoding.kinds import KINDS

CHUNK_ITEMS = 256  # keys that are offered at a time
# as tar members call them; the bytes decide, later
OTHER_EXTENSIONS = ("jpeg", "jpe", "jfif", "heif", "tiff", "j2k")
PICTURE_EXTENSIONS = frozenset((*OTHER_EXTENSIONS, *(kind.extension[1:] for kind in KINDS.values())))
