"""What a file is that is no picture we use, and what a person can do about it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from utils.images.decoding.kinds import HEAD_BYTES, KINDS, brands, sniff

__all__ = ["HEAD_BYTES", "Content", "content_code", "name_content", "recognise", "remedy_for", "sniff"]

RAW = "a raw camera picture"
VIDEO = "an MP4 or QuickTime video"
TAR_PLACE = 257  # of its signature

OTHER_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x00\x00\x01\x00", "an icon"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIU\x00", RAW),
    (b"IIRO", RAW),
    (b"IIRS", RAW),
    (b"MMOR", RAW),
    (b"FOVb", RAW),
    (b"\x00MRM", RAW),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
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
TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")
# {file} and {folder} are quoted for a shell
UNPACK_COMMANDS = {
    "a ZIP archive": "unzip -n {file} -d {folder}",
    "a tar archive": "mkdir -p {folder} && tar -xf {file} -C {folder}",
    "a 7z archive": "7z x {file} -o{folder}",
    "a RAR archive": "unrar x {file} {folder}/",
}
TAR_WRAPPERS = {
    "a gzip archive": "gunzip -k {file}",
    "a bzip2 archive": "bunzip2 -k {file}",
    "an xz archive": "unxz -k {file}",
    "a zstd archive": "unzstd {file}",
}
TAR_SUFFIXES = (".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
REMEDIES = {
    RAW: "develop it and export it as JPEG or TIFF (darktable-cli IN out.jpg)",
    "an icon": "save it as PNG",
    "a Photoshop file": "export it as PNG or TIFF",
    "a PDF document": "take its pictures out (pdfimages -png IN out)",
    "an SVG drawing": "it has no pixels of its own; draw it first (rsvg-convert -o out.png IN)",
    "a Git LFS pointer, not the picture itself": "fetch it (git lfs pull)",
}


class Content(NamedTuple):
    """What a file is, in words: `name`, and the `remedy` where there is one."""

    name: str
    remedy: str

    def __str__(self) -> str:
        return f"is {self.name}; {self.remedy}" if self.remedy else f"is {self.name}"


def recognise(head: bytes, path: Path) -> Content | None:
    """What the file at `path`, which starts with `head`, is instead of a picture of ours; None when it may be one."""
    if sniff(head) is not None:
        return None
    name = name_content(head)
    return Content(name, remedy_for(name, path))


def content_code(head: bytes) -> str:
    """The same as a slug that can be counted: empty, gif, video, svg, html, json or not_an_image."""
    if not head.strip(b"\x00"):
        return "empty"
    if head.startswith(b"GIF8"):
        return "gif"
    if head[4:8] == b"ftyp" and sniff(head) is None:
        return "video"
    if head.startswith((b"\x1aE\xdf\xa3", b"OggS")) or head[8:12] == b"AVI ":
        return "video"
    if not _looks_like_text(head):
        return "not_an_image"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if b"<svg" in start:
        return "svg"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "html"
    return "json" if start.startswith((b"{", b"[")) else "not_an_image"


def name_content(head: bytes) -> str:
    """A person's name for what a file with these first bytes is."""
    if not head:
        return "empty"
    if not head.strip(b"\x00"):
        return "zeros only (a copy that has not arrived, or a hole in the file)"
    if (kind := sniff(head)) is not None:
        return f"a {KINDS[kind].title} picture"
    if head[:4] == b"RIFF":
        return RIFF_KINDS.get(head[8:12], "a RIFF file of unknown kind")
    if head[4:8] == b"ftyp":
        return RAW if b"crx " in brands(head) else VIDEO
    if head[TAR_PLACE : TAR_PLACE + 5] == b"ustar":
        return "a tar archive"
    for signature, name in OTHER_SIGNATURES:
        if head.startswith(signature):
            return name
    return _name_text(head) if _looks_like_text(head) else "nothing known: its first bytes fit no picture format"


def remedy_for(name: str, path: Path) -> str:
    """What makes pictures of it; empty when nothing does."""
    command = UNPACK_COMMANDS.get(name) or TAR_WRAPPERS.get(name)
    if name in TAR_WRAPPERS and path.name.lower().endswith(TAR_SUFFIXES):
        command = UNPACK_COMMANDS["a tar archive"]
    if command is not None:
        folder = path.with_name(path.name.partition(".")[0] or "unpacked")
        if folder == path:
            folder = path.with_name(f"{path.name} unpacked")
        if not str(path).isprintable():
            return "what is in it counts once it is unpacked"
        places = {"file": shlex.quote(str(path)), "folder": shlex.quote(str(folder))}
        return f"what is in it counts once it is unpacked: {command.format(**places)}"
    if name.endswith("video"):
        return "save a frame of it (ffmpeg -i IN -frames:v 1 out.png)"
    return REMEDIES.get(name, "")


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
