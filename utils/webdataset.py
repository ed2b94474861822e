"""Writing WebDataset samples: members of a tar that share a key and lie next to each other."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping


def add_sample(tar: tarfile.TarFile, key: str, members: Mapping[str, bytes]) -> dict[str, int]:
    """Add a member `key + extension` for each entry. Returns the offset of each one's bytes in the tar, by extension.

    Time, owner and mode are fixed, so that the same data always give the same tar.
    """
    offsets = {}
    for extension, content in members.items():
        member = tarfile.TarInfo(f"{key}{extension}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
        offsets[extension] = tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return offsets
