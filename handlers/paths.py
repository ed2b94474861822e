"""What a path under the data folder means. Paths are bytes relative to it, since file names need not be UTF-8."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from handlers.labels.folders import adopted
from utils.files import PART_SUFFIX
from utils.metadata import IMAGES_FOLDER, META_FOLDER, Label

META = os.fsencode(META_FOLDER)
IMAGES = os.fsencode(IMAGES_FOLDER)
COOKIE_NAME = b".exposr-cookie"  # what the watcher's liveness probe writes into the data folder

IGNORED_FOLDERS = frozenset(
    {b"@eadir", b"#recycle", b"$recycle.bin", b"system volume information", b"lost+found", b"__macosx"}
)
IGNORED_FILES = frozenset({b"thumbs.db", b"desktop.ini", b"ehthumbs.db"})
UNFINISHED_SUFFIXES = (
    *(PART_SUFFIX.encode(), b".tmp", b".crdownload", b".partial", b".download", b".filepart", b"~"),
    *(b".opdownload", b".aria2", b".bc!", b".incomplete", b".unfinished", b".downloading"),
)
LEFT_OVER = re.compile(rb"\.[0-9a-f]{32}" + re.escape(PART_SUFFIX.encode()))
UNFINISHED_MARK = b".!"  # torrent and sync clients: .!sync, .!ut, .!qb
SIDECAR_SUFFIXES = tuple(
    b".json .jsonl .txt .md .csv .tsv .xml .xmp .aae .yaml .yml .toml .sha256 .md5 .log .parquet .npz .sqlite".split()
)
CLIP_SUFFIXES = (b".mov", b".mp4", b".mp")
CLIP_LAST_BYTES = b"".join(suffix[-1:] + suffix[-1:].upper() for suffix in CLIP_SUFFIXES)
STILL_SUFFIXES = (b".heic", b".heif", b".jpg", b".jpeg")


def join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name


def split(path: bytes) -> tuple[bytes, bytes]:
    """Folder (empty for the data folder itself) and name."""
    folder, _, name = path.rpartition(b"/")
    return folder, name


def is_under(path: bytes, folder: bytes) -> bool:
    """Whether `path` is `folder` or lies in it; everything is under the empty folder."""
    return not folder or path == folder or path.startswith(folder + b"/")


def is_scraped_place(path: bytes) -> bool:
    """Under images/, where a scraper writes the image first and its metadata right after."""
    return path.startswith(IMAGES + b"/")


def is_left_over(folder: bytes, name: bytes) -> bool:
    """What a killed writer of metadata leaves: `write_atomically` writes beside the place, under such a name."""
    return is_under(folder, META) and LEFT_OVER.fullmatch(name) is not None


def is_ignored_folder(name: bytes) -> bool:
    return name.startswith(b".") or name.lower() in IGNORED_FOLDERS


def is_ignored_file(folder: bytes, name: bytes) -> bool:
    """Hidden, unfinished and well-known companion files; anything else is judged by its bytes, whatever its suffix."""
    lower = name.lower()
    if name.startswith(b".") or lower in IGNORED_FILES or lower.endswith(UNFINISHED_SUFFIXES):
        return True
    if UNFINISHED_MARK in lower and b"." not in lower.rpartition(UNFINISHED_MARK)[2]:
        return True
    if is_under(folder, META):
        return not lower.endswith(b".json")
    return lower.endswith(SIDECAR_SUFFIXES)


def is_clip(name: bytes) -> bool:
    """A video, by its name. Beside its still picture it is the moving part of a live photo, and no file to report."""
    return name[-1:] in CLIP_LAST_BYTES and name.lower().endswith(CLIP_SUFFIXES)


def clips_of_stills(names: Iterable[bytes]) -> set[bytes]:
    """Of the names in a folder, the clips beside their still picture.

    `IMG_1.MOV` beside `IMG_1.HEIC` (Apple), `PXL_1.MP` beside `PXL_1.MP.jpg` (Google).
    """
    names = list(names)
    stills = {name.lower().rpartition(b".")[0] for name in names if name.lower().endswith(STILL_SUFFIXES)}
    return {name for name in names if is_clip(name) and {name.lower(), name.lower().rpartition(b".")[0]} & stills}


def folder_label(path: bytes) -> Label | None:
    """The label that the folders on the way from the data folder to the file say (`handlers/labels/folders.py`)."""
    below = adopted().below(path)
    return below[0] if below else None


def folder_source(path: bytes) -> str | None:
    """Where the folders say that a picture is from: the first one below its label folder, a real source or a generator.

    None right in the label folder, and outside of any.
    """
    _, folders = adopted().below(path) or (None, [])
    return printable(folders[1]) if len(folders) > 1 else None


def folder_series(path: bytes) -> str | None:
    """An album, a burst, one subject: the path from the label folder on, where folders lie below the source."""
    _, folders = adopted().below(path) or (None, [])
    return printable(b"/".join(folders)) if len(folders) > 2 else None


def stem(path: bytes) -> str:
    """The name without its last suffix: the id, for files under images/ and meta/. Always text that can be stored."""
    return printable(os.path.splitext(split(path)[1])[0])  # noqa: PTH122  names may hold anything


def printable(text: bytes | str) -> str:
    """Text without the lone surrogates that neither SQLite nor UTF-8 takes; what is no UTF-8 is spelled out."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "backslashreplace")
