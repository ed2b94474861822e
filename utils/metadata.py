"""The metadata file of an image: the integration guide's form, and what we add to it (see ARCHITECTURE.md, "Files")."""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from utils.errors import SkipItemError
from utils.files import write_json_atomically

Label = Literal["real", "ai_generated"]
LabelSource = Literal["source", "folder", "person"]
LABELS: tuple[Label, ...] = ("real", "ai_generated")
LABEL_SOURCES: tuple[LabelSource, ...] = ("source", "folder", "person")
IMAGES_FOLDER = "images"
META_FOLDER = "meta"
MAX_METADATA_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Metadata:
    """One image's metadata. `path` is relative to the data folder, with `/`; times are ISO 8601 UTC.

    `api_data` may carry the keys `creator`, `post`, `series` and `generator` (strings): samples that share one of
    `creator`/`post`/`series` never lie on two sides of a split, and results are reported per generator.
    """

    id: str
    source: str
    label: Label | None
    timestamp: str
    path: str
    sha256: str
    label_source: LabelSource | None = None
    attribution: dict[str, Any] = field(default_factory=dict)
    api_data: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict, compare=False)  # fields that could not be read, and why


def new_sample_id(now: datetime) -> str:
    """A UUID of version 7 (RFC 9562, section 5.7): milliseconds, then 74 random bits.

    In the order of time, so that what is added together lies together in folders and indexes, also among a million.
    """
    milliseconds = int(now.timestamp() * 1000)
    value = milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def metadata_path(data_folder: Path, sample_id: str, added: datetime) -> Path:
    """`meta/YYYY/MM/DD/{id}.json` of the day (UTC) on which the sample was added."""
    return data_folder / META_FOLDER / f"{added:%Y/%m/%d}" / f"{sample_id}.json"


def image_path(data_folder: Path, sample_id: str, added: datetime, extension: str) -> Path:
    """`images/YYYY/MM/DD/{id}{extension}`; the extension is the sniffed one, with its dot."""
    return data_folder / IMAGES_FOLDER / f"{added:%Y/%m/%d}" / f"{sample_id}{extension}"


def metadata_text(metadata: Metadata) -> str:
    """The JSON that `write_metadata` writes."""
    return json.dumps(asdict(metadata), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_metadata(file: Path, metadata: Metadata, *, durable: bool = True, below: Path | None = None) -> None:
    """`below`: the data folder, which must be there; without it every folder on the way is made."""
    value = asdict(metadata)
    del value["faults"]
    write_json_atomically(file, value, durable=durable, below=below)


def update_metadata(
    file: Path,
    *,
    label: Label | None,
    label_source: LabelSource | None,
    source: str | None = None,
    path: str | None = None,
    sha256: str | None = None,
    note: str | None = None,
    durable: bool = True,
) -> None:
    """Change these fields of a metadata file and keep all others, known or not. None leaves the others as they are.

    Raises SkipItemError when the file is no JSON object, or holds what cannot be written again.
    """
    raw = _read_object(file)
    changes = {
        "label": label,
        "label_source": label_source,
        "source": source,
        "path": path,
        "sha256": sha256,
        "note": note,
    }
    always = ("label", "label_source")
    raw.update({key: value for key, value in changes.items() if key in always or value is not None})
    try:
        write_json_atomically(file, raw, durable=durable, below=file.parent)
    except (ValueError, RecursionError) as error:
        raise SkipItemError(f"{file}: cannot be written again: {error}") from error


def read_metadata(file: Path) -> Metadata:
    """What is sound in a metadata file; unknown keys are ignored, and a wrong value is one of the `faults`.

    Raises SkipItemError, naming the file, when it is no JSON object at all.
    """
    raw = _read_object(file)
    faults: dict[str, str] = {}
    label, label_source = raw.get("label"), raw.get("label_source")
    if label not in (*LABELS, None):
        label, faults["label"] = None, f"label is {label!r}, allowed are {', '.join(LABELS)} and null"
    if label_source not in (*LABEL_SOURCES, None):
        faults["label_source"] = f"label_source is {label_source!r}, allowed are {', '.join(LABEL_SOURCES)} and null"
        label_source = None
    return Metadata(
        id=_text(raw, "id", faults) or file.stem,
        source=_text(raw, "source", faults),
        label=label,
        timestamp=_text(raw, "timestamp", faults),
        path=_text(raw, "path", faults, needed=False),
        sha256=_text(raw, "sha256", faults, needed=False),
        label_source=label_source,
        attribution=_table(raw, "attribution", faults),
        api_data=_table(raw, "api_data", faults),
        faults=faults,
    )


def _text(raw: dict[str, Any], key: str, faults: dict[str, str], *, needed: bool = True) -> str:
    value = raw.get(key)
    if isinstance(value, str) and (value or not needed):
        return value
    if needed or value is not None:
        faults[key] = f"{key} is {value!r:.80}, a text is needed"
    return ""


def _table(raw: dict[str, Any], key: str, faults: dict[str, str]) -> dict[str, Any]:
    value = raw.get(key)
    if isinstance(value, dict):
        return value
    if value is not None:
        faults[key] = f"{key} is {value!r:.80}, an object is needed"
    return {}


def _read_object(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > MAX_METADATA_BYTES:
            raise SkipItemError(f"{file}: larger than {MAX_METADATA_BYTES} bytes")
        content = file.read_bytes()
        # editors put a byte order mark first, and some save UTF-16
        raw = json.loads(content.decode(json.detect_encoding(content)), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise SkipItemError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(raw, dict):
        raise SkipItemError(f"{file}: is not a JSON object")
    return raw


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
