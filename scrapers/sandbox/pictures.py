"""The pictures that the sandbox offers: a folder of real ones, and small drawn ones for tests of scale.

Everything a payload says about a picture follows from its key, so that ids, names and dates survive a restart.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

from PIL import Image

from scrapers.sandbox.settings import SandboxSettings, SourceName
from utils.errors import OperatorError
from utils.files import sha256_of_file
from utils.logs import get_logger
from utils.metadata import LABELS, Label

log = get_logger(__name__)

MEDIA_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "AVIF": "image/avif"}
NEWEST = datetime(2026, 8, 1, tzinfo=UTC)
AGE_SECONDS = 300 * 24 * 3600
SYNTHETIC_SPACING_SECONDS = 60
SYNTHETIC_SIZE = (160, 120)
SYNTHETIC_FORMATS = ("JPEG", "PNG", "WEBP")
NAME_NOISE = re.compile(
    r"^(image|api|templates?)[_-]|[_-](t2i|text_to_image|example|simple|prompt|\d+)(?=[_-]|$)", re.I
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One candidate of one source. `oddity` names the way in which its payload or file is out of the ordinary."""

    key: str  # 64 hex digits: the SHA-256 of its bytes, or of its number when drawn
    label: Label
    title: str
    generator: str
    media_type: str
    width: int
    height: int
    created: datetime
    path: Path | None = None
    oddity: str = ""

    @property
    def seconds(self) -> int:
        """Unix time of creation, different for each picture of a source: the basis of numeric ids."""
        return int(self.created.timestamp())

    def number(self, purpose: str, below: int) -> int:
        """A number in [0, below) that depends on the picture and the purpose only."""
        digest = hashlib.blake2b(f"{purpose}:{self.key}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) % below

    def read(self) -> bytes:
        """The original bytes."""
        return self.path.read_bytes() if self.path else draw(self.key, self.media_type)


def draw(key: str, media_type: str) -> bytes:
    """A small smooth picture that follows from `key`; no two keys give near-duplicates."""
    noise = random.Random(key).randbytes(12 * 9 * 3)
    image = Image.frombytes("RGB", (12, 9), noise).resize(SYNTHETIC_SIZE, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, next(name for name, kind in MEDIA_TYPES.items() if kind == media_type))
    return stream.getvalue()


def drawn_picture(name: str, label: Label, created: datetime, oddity: str = "") -> Picture:
    """A picture without a file; its key follows from `name`."""
    key = hashlib.sha256(name.encode()).hexdigest()
    media_type = MEDIA_TYPES[SYNTHETIC_FORMATS[int(key[:4], 16) % len(SYNTHETIC_FORMATS)]]
    width, height = SYNTHETIC_SIZE
    generator = f"Drawn {int(key[4:6], 16) % 8}" if label == "ai_generated" else ""
    return Picture(key, label, name.replace("-", " "), generator, media_type, width, height, created, oddity=oddity)


def collect_pictures(folder: Path, settings: SandboxSettings) -> dict[SourceName, tuple[Picture, ...]]:
    """Every candidate by source, newest first. Raises OperatorError when there is none at all."""
    by_source: dict[SourceName, list[Picture]] = {name: [] for name in get_args(SourceName)}
    photo_sources = settings.photo_sources
    for picture in _scan(folder):
        if picture.label == "real":
            by_source[photo_sources[picture.number("source", len(photo_sources))]].append(picture)
            if "openverse" not in photo_sources:  # a catalogue of other sites' pictures
                by_source["openverse"].append(picture)
        else:
            by_source["civitai"].append(picture)
        by_source["wikimedia"].append(picture)  # of both kinds, and also elsewhere
    for index in range(settings.synthetic):
        created = NEWEST - timedelta(seconds=SYNTHETIC_SPACING_SECONDS * index)
        label: Label = LABELS[index % 2]
        source: SourceName = "civitai" if label == "ai_generated" else photo_sources[index // 2 % len(photo_sources)]
        by_source[source].append(drawn_picture(f"synthetic-{index}", label, created))
    if not any(by_source.values()):
        raise OperatorError(f"no picture (JPEG, PNG, WebP, AVIF) in {folder}/real or {folder}/ai_generated")
    return {name: _newest_first(pictures) for name, pictures in by_source.items()}


def with_oddities(pictures: Sequence[Picture], oddities: Iterable[str], label: Label) -> tuple[Picture, ...]:
    """`pictures` with one drawn picture more for each oddity, spread evenly over the list."""
    mixed = list(pictures)
    names = list(oddities)
    for index, oddity in reversed(list(enumerate(names, start=1))):
        position = index * len(pictures) // (len(names) + 1)
        created = pictures[position].created if position < len(pictures) else NEWEST
        mixed.append(drawn_picture(f"odd-{oddity}", label, created + timedelta(seconds=index), oddity))
    return _newest_first(mixed)


def _scan(folder: Path) -> Iterable[Picture]:
    for label in LABELS:
        root = folder / label
        for path in sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith(".")):
            try:
                with Image.open(path, formats=tuple(MEDIA_TYPES)) as image:
                    # MPO: what Pillow calls a JPEG with a preview behind it
                    media_type = MEDIA_TYPES["JPEG" if image.format in (None, "MPO") else image.format]
                    width, height = image.size
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                log.warning("sandbox_picture_skipped", path=str(path), reason=str(error))
                continue
            key = sha256_of_file(path)
            age = int(key[:12], 16) % AGE_SECONDS
            title = re.sub(r"[\W_]+", " ", path.stem).strip() or "untitled"
            generator = _generator(path, root) if label == "ai_generated" else ""
            created = NEWEST - timedelta(seconds=age)
            yield Picture(key, label, title, generator, media_type, width, height, created, path)


def _generator(path: Path, root: Path) -> str:
    """The folder's name when the picture lies in one; else what the file name says without its noise words."""
    if path.parent != root:
        return path.parent.name
    name = path.stem
    while (shorter := NAME_NOISE.sub("", name)) != name:
        name = shorter
    return re.sub(r"[_-]+", " ", name).strip() or "unknown"


def _newest_first(pictures: Iterable[Picture]) -> tuple[Picture, ...]:
    """Sorted, one of each content, with times moved apart by a second where two are equal."""
    taken: set[int] = set()
    placed: list[Picture] = []
    for picture in {picture.key: picture for picture in sorted(pictures, key=lambda picture: picture.key)}.values():
        created = picture.created
        while int(created.timestamp()) in taken:
            created += timedelta(seconds=1)
        taken.add(int(created.timestamp()))
        placed.append(replace(picture, created=created) if created != picture.created else picture)
    return tuple(sorted(placed, key=lambda picture: picture.created, reverse=True))
