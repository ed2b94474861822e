"""Which picture formats are read, and how their first bytes tell them. No imaging library is imported here."""

from __future__ import annotations

from dataclasses import dataclass

HEAD_BYTES = 4096  # enough for every signature


@dataclass(frozen=True, slots=True)
class Kind:
    """A format: our name for it, a person's, Pillow's, the true extension, and the media type.

    `library`: the package that reads it, and its `module`; None where Pillow does.
    """

    name: str
    title: str
    pillow: str
    extension: str
    media_type: str
    library: str | None = None
    module: str | None = None


KINDS = {
    kind.name: kind
    for kind in (
        Kind("jpeg", "JPEG", "JPEG", ".jpg", "image/jpeg"),
        Kind("png", "PNG", "PNG", ".png", "image/png"),
        Kind("webp", "WebP", "WEBP", ".webp", "image/webp"),
        Kind("avif", "AVIF", "AVIF", ".avif", "image/avif"),
        Kind("heif", "HEIC", "HEIF", ".heic", "image/heic", "pillow-heif", "pillow_heif"),
        Kind("tiff", "TIFF", "TIFF", ".tif", "image/tiff"),
        Kind("bmp", "BMP", "BMP", ".bmp", "image/bmp"),
        Kind("gif", "GIF", "GIF", ".gif", "image/gif"),
        Kind("jp2", "JPEG 2000", "JPEG2000", ".jp2", "image/jp2"),
        Kind("jxl", "JPEG XL", "JXL", ".jxl", "image/jxl", "pillow-jxl-plugin", "pillow_jxl"),
    )
}
SIGNATURES = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),  # BigTIFF
    (b"MM\x00+", "tiff"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),  # a bare codestream
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),  # a bare codestream
)
BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # sizes of its second header, which follows "BM"
AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"miaf"})


def sniff(head: bytes) -> str | None:
    """The name of the format that a file with these first bytes has; None when it is none of KINDS."""
    for signature, name in SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return "bmp"
    if head[4:8] == b"ftyp":
        found = brands(head)
        return "avif" if found & AVIF_BRANDS else "heif" if found & HEIF_BRANDS else None
    return None


def brands(head: bytes) -> set[bytes]:
    """Major and compatible brands of an ISO media file's `ftyp` box (ISO/IEC 14496-12, 4.3)."""
    size = min(int.from_bytes(head[:4], "big"), len(head), 256)
    return {head[8:12]} | {head[start : start + 4] for start in range(16, size - 3, 4)}
