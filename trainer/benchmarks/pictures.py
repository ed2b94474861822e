"""The pictures of a folder that is measured and never trained on: `real/…` and `ai_generated/…`, sources below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.data.preprocessing import open_image
from trainer.data.types import GroupedSample
from utils.errors import OperatorError
from utils.files import sha256_of_file
from utils.images.perceptual import perceptual_hash
from utils.metadata import LABELS, Label
from utils.sample import Sample

SIDECARS = (".json", ".jsonl", ".txt", ".md", ".csv", ".xml", ".yaml", ".toml")


@dataclass(frozen=True, slots=True)
class BenchmarkPictures:
    """`members` are labelled and can be read, each content once; `skipped` says of other files why not."""

    folder: Path
    members: tuple[GroupedSample, ...]
    skipped: Mapping[str, str]


def read_pictures(folder: Path) -> BenchmarkPictures:
    """Raises OperatorError when there is no such folder, or nothing in it carries a label."""
    if not folder.is_dir():
        raise OperatorError(f"{folder}: no such folder")
    members: dict[str, GroupedSample] = {}
    skipped: dict[str, str] = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        label, below = _place(path.relative_to(folder))
        if label is None:
            skipped[name] = f"lies below no folder named {' or '.join(LABELS)}"
            continue
        try:
            picture = open_image(path)
        except (OSError, ValueError) as error:
            skipped[name] = f"cannot be read: {error}"
            continue
        sha256 = sha256_of_file(path)
        source = below[0] if below else "manual"
        sample = Sample(
            id=sha256[:32],
            path=name,
            sha256=sha256,
            size_bytes=path.stat().st_size,
            label=label,
            source=source,
            format=(picture.format or path.suffix.removeprefix(".")).lower(),
            width=picture.width,
            height=picture.height,
            has_exif=False,
            phash=perceptual_hash(picture),
            generator=source if label == "ai_generated" and below else None,
            series="/".join(below) if len(below) > 1 else None,
        )
        members.setdefault(sha256, GroupedSample(sample, sample.series or sha256, "test"))
    if not members:
        raise OperatorError(f"{folder}: no picture in it lies below a folder named {' or '.join(LABELS)}")
    return BenchmarkPictures(folder, tuple(members[name] for name in sorted(members)), skipped)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and not path.is_symlink() and path.is_file() and path.suffix.lower() not in SIDECARS:
            yield path


def _place(path: Path) -> tuple[Label | None, tuple[str, ...]]:
    """The label of the nearest label folder, and the folders below it."""
    folders = path.parts[:-1]
    for index in range(len(folders) - 1, -1, -1):
        for label in LABELS:
            if folders[index].lower() == label:
                return label, folders[index + 1 :]
    return None, ()
