"""How rows spell what is long as text: hashes as bytes, UUIDs as 16 bytes, times as numbers. Halves the index."""

from __future__ import annotations

import hashlib

UUID_CHARACTERS = 36

# as SQL spells it out: the folder of a file `f`; where a sample `o` lies; of a sample `s` that, and what is packed
PATH = "(SELECT path FROM folders WHERE key = f.folder)"
OTHER_FOLDER = "(SELECT path FROM folders WHERE key = o.folder)"
OTHER_NAME = "(SELECT name FROM files WHERE key = o.file)"
SHA256 = "lower(hex(s.sha256))"
FOLDER = "(SELECT path FROM folders WHERE key = s.folder)"
NAME = "(SELECT name FROM files WHERE key = s.file)"
PHASH = "lower(hex(s.phash))"
ADDED = "strftime('%Y-%m-%dT%H:%M:%SZ', s.added, 'unixepoch')"


def pack_hex(text: str) -> bytes:
    """A hash in hex; what is none equals no hash."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def pack_id(text: str) -> bytes | str:
    """A sample's id: 16 bytes of a UUID in its usual spelling, any other name as it is."""
    if len(text) == UUID_CHARACTERS and text[8] == text[13] == text[18] == text[23] == "-":
        try:
            packed = bytes.fromhex(text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:])
        except ValueError:
            return text
        return packed if unpack_id(packed) == text else text
    return text


def unpack_id(packed: bytes | str) -> str:
    if not isinstance(packed, bytes):
        return packed
    digits = packed.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def pack_path(path: bytes) -> int:
    """A hash that an index holds instead of the path; what has it is compared in full."""
    return int.from_bytes(hashlib.blake2b(path, digest_size=6).digest())
