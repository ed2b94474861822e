"""Reading and writing the files of meta/, and what the index remembers of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from handlers.file_signature import SIGNED_64, FileSignature, Found
from handlers.index.rows import StoredMetadata, StoredSample
from handlers.index.store import Index
from handlers.labels.rules import MANUAL, Statement, interpret
from handlers.paths import folder_label, printable, split, stem
from utils.clock import Clock, from_iso, to_iso
from utils.errors import SkipItemError
from utils.logs import get_logger
from utils.metadata import Metadata, metadata_path, read_metadata, update_metadata, write_metadata

log = get_logger(__name__)


class MetaFiles:
    """`problem` is why metadata could not be written lately, in words; samples count without it."""

    def __init__(self, root: Path, index: Index, clock: Clock, wrote: Callable[[bytes], None]) -> None:
        self._root = root
        self._index = index
        self._clock = clock
        self._wrote = wrote
        self.problem = ""

    def read(self, found: Found, before: StoredMetadata | None) -> StoredMetadata | None:
        """Take over a metadata file that is new or was edited.

        What is sound in it is taken, the rest is noted. Of a file or a label that cannot be read, what it said before
        stays; nothing is written into a file with a fault, except by a person.

        None when the file is empty or went away: as good as missing.
        """
        file = self._root / os.fsdecode(found.path)
        folder, name = split(found.path)
        try:
            metadata = read_metadata(file)
        except SkipItemError as error:
            if not file.exists():
                return None
            reason = printable(str(error).removeprefix(f"{file}: "))
            log.warning("metadata_unreadable", path=os.fsdecode(found.path), reason=reason)
            row = before or StoredMetadata(folder, name, stem(found.path), "", Statement(None, None, MANUAL, b""))
            row = replace(row, problem=f"{reason}; its earlier content stays in force")
        else:
            image = _clean(metadata.path)
            said = Statement(metadata.label, metadata.label_source, printable(metadata.source), image)
            previous = before.statement if before is not None else None
            if "label" in metadata.faults:
                label, label_source = (previous.label, previous.label_source) if previous is not None else (None, None)
                said = replace(said, label=label, label_source=label_source)
            else:
                said = interpret(said, folder_label(image), previous)
            row = StoredMetadata(
                *(folder, name, stem(found.path), _digest(metadata.sha256), said),
                *(_text(metadata.api_data, key) for key in ("creator", "post", "generator", "series")),
            )
            if metadata.faults:
                row = replace(row, problem=printable(_describe(metadata.faults)))
                log.warning("metadata_faulty", path=os.fsdecode(found.path), reason=row.problem)
            elif said.label_source == "person" != metadata.label_source and self._change(row, found):
                return row
        self._index.put_file(found, "metadata")
        self._index.put_metadata(row)
        return row

    def create(self, sample: StoredSample, said: Statement, note: str | None = None) -> None:
        """The metadata of a picture that came without."""
        file = metadata_path(self._root, sample.id, from_iso(sample.added))
        folder, name = split(os.fsencode(file.relative_to(self._root).as_posix()))
        row = StoredMetadata(folder, name, sample.id, sample.sha256, said)
        metadata = Metadata(
            id=sample.id,
            source=said.source,
            label=said.label,
            timestamp=to_iso(self._clock.now()),
            path=os.fsdecode(said.image),
            sha256=sample.sha256,
            label_source=said.label_source,
        )
        if not os.path.lexists(file):
            # where the folder tells the label again, a power cut may take this file
            durable = said.label_source == "person"
            if self._write(row, lambda: write_metadata(file, metadata, durable=durable, below=self._root)) and note:
                self.update(row, said, sample.sha256, note)

    def update(self, row: StoredMetadata, said: Statement, sha256: str, note: str | None = None) -> StoredMetadata:
        """Write what changed: the place, the content, a label that followed the file; a note, where one is given."""
        updated = replace(row, statement=said, sha256=sha256)
        known = self._index.file(row.path)
        if known is not None:
            self._change(updated, Found(row.folder, row.name, known.signature, known.device), note)
        return updated

    def delete(self, row: StoredMetadata) -> bool:
        """False when the disk does not let it be removed."""
        try:
            (self._root / os.fsdecode(row.path)).unlink(missing_ok=True)
        except OSError as error:
            if not self.problem:
                log.error("metadata_not_removed", path=os.fsdecode(row.path), reason=str(error))
            self.problem = f"metadata cannot be removed: {error}"
            return False
        self._index.forget_file(row.path)
        return True

    def _change(self, row: StoredMetadata, read: Found, note: str | None = None) -> bool:
        """Bring the file in line with `row`, unless it was edited since it was `read`."""
        file = self._root / os.fsdecode(row.path)
        said = row.statement

        def change() -> None:
            update_metadata(
                file,
                label=said.label,
                label_source=said.label_source,
                source=said.source or None,
                path=os.fsdecode(said.image) or None,
                sha256=row.sha256 or None,
                note=note,
                durable=said.label_source in ("person", "source"),
            )

        try:
            if FileSignature.of(file.lstat()) != read.signature:
                return False
            return self._write(row, change)
        except (SkipItemError, FileNotFoundError):
            return False  # edited or removed this moment: the scan sees what came of it

    def _write(self, row: StoredMetadata, write: Callable[[], None]) -> bool:
        """Write, and remember our own signature, so that the next scan does not take it for somebody's edit."""
        file = self._root / os.fsdecode(row.path)
        self._wrote(row.path)
        try:
            write()
            signature = FileSignature.of(file.lstat())
            device = file.parent.stat().st_dev & SIGNED_64
        except OSError as error:
            if not self.problem:
                log.error("metadata_write_failed", path=os.fsdecode(row.path), reason=str(error))
            self.problem = f"metadata cannot be written: {error}"
            return False
        self.problem = ""
        self._index.put_file(Found(row.folder, row.name, signature, device), "metadata")
        self._index.put_metadata(row)
        return True


def _describe(faults: dict[str, str]) -> str:
    kept = "the label from before stays, the rest counts" if "label" in faults else "the rest counts"
    return f"{'; '.join(faults.values())}; {kept}"


def _clean(path: str) -> bytes:
    """A path relative to the data folder; anything that leads out of it names nothing."""
    parts = path.split("/")
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return b""
    try:
        return os.fsencode(path)
    except UnicodeEncodeError:
        return b""


def _text(values: dict[str, Any], key: str) -> str | None:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        return None
    return printable(str(value))


def _digest(text: str) -> str:
    """A SHA-256 in lower-case hex, or nothing."""
    text = text.strip().lower()
    return text if is_digest(text) else ""


def is_digest(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text.lower())
