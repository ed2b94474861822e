"""What kind of file its first bytes say it is, whatever the name claims."""

from __future__ import annotations

from utils.errors import SkipItemError
from utils.images.facts import ImageFormat

HEAD_BYTES = 4096  # enough for every signature below and for a guess at text

OTHER_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"GIF87a", "a GIF picture"),
    (b"GIF89a", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\x00", "a TIFF or raw camera picture"),
    (b"MM\x00*", "a TIFF or raw camera picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"ID3", "an MP3 recording"),
    (b"OggS", "an Ogg recording or video"),
)
RIFF_KINDS = {b"AVI ": "an AVI video", b"WAVE": "a WAV recording"}
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"miaf"})
AVIF_BRANDS = frozenset({b"avif", b"avis"})
TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")


def sniff_format(head: bytes) -> ImageFormat:
    """The format of a file that starts with `head`. Raises SkipItemError that says what the file is instead."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and _brands(head) & AVIF_BRANDS:
        return "avif"
    raise SkipItemError(f"is {name_content(head)}; JPEG, PNG, WebP and AVIF pictures are used")


def name_content(head: bytes) -> str:
    """A person's name for what is not a picture we use."""
    if not head:
        return "empty"
    if not head.strip(b"\x00"):
        return "zeros only (a copy that has not arrived, or a hole in the file)"
    if head[:4] == b"RIFF":
        return RIFF_KINDS.get(head[8:12], "a RIFF file of unknown kind")
    if head[4:8] == b"ftyp":
        return "a HEIC picture" if _brands(head) & HEIF_BRANDS else "an MP4 or QuickTime video"
    for signature, name in OTHER_SIGNATURES:
        if head.startswith(signature):
            return name
    return _name_text(head) if _looks_like_text(head) else "nothing known: its first bytes fit no picture format"


def _brands(head: bytes) -> set[bytes]:
    """Major and compatible brands of an ISO media file's `ftyp` box (ISO/IEC 14496-12, 4.3)."""
    size = min(int.from_bytes(head[:4], "big"), len(head), 256)
    return {head[8:12]} | {head[start : start + 4] for start in range(16, size - 3, 4)}


def _looks_like_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in TEXT_CONTROLS for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3  # only the last character may be cut
    return True


def _name_text(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if b"<svg" in start:
        return "an SVG drawing"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page"
    if start.startswith(b"<?xml"):
        return "an XML document"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the picture itself"
    if start.startswith((b"{", b"[")):
        return "JSON text"
    return "text"
