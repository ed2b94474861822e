"""Whether the data folder is the one that the service knows. Gone or replaced is an alarm, never a deletion.

The folder carries a marker file with an id; the state folder remembers the id, the device and the inode. A folder that
was copied, restored or mounted anew is known by its marker, one that cannot be written to by device and inode.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from utils.errors import OperatorError
from utils.files import write_json_atomically

MARKER_NAME = ".exposr-data"  # in the data folder; hidden, so no scan looks at it
RECORD_FILE = "data-folder.json"  # in the state folder
ACCEPT_FILE = "data-folder.accepted"  # in the state folder: a person has said that what is missing was deleted
ACCEPT_COMMAND = "exposr-trainer accept-loss"
MARKER_BYTES = 4096  # more is no marker of ours
ABOUT = "Exposr Trainer knows its data folder by this file; leave it here."

RootState = Literal["new", "known", "strange", "missing"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one folder from another; `marker` is empty where there is none."""

    marker: str
    device: int
    inode: int


def judge_root(remembered: Identity | None, found: Identity | None) -> RootState:
    """`new`: nothing is remembered. `strange`: another folder is at the place, perhaps with the same content."""
    if remembered is None:
        return "new"
    if found is None:
        return "missing"
    if found.marker:
        return "known" if found.marker == remembered.marker else "strange"
    return "known" if (found.device, found.inode) == (remembered.device, remembered.inode) else "strange"


class DataFolder:
    """The data folder's identity, and the record of it. Cheap: two calls of stat and one small read for each look."""

    def __init__(self, root: Path, state: Path) -> None:
        self.root = root
        self._record = state / RECORD_FILE
        self._accepted = state / ACCEPT_FILE
        self._remembered = _read_identity(self._record)

    @property
    def is_remembered(self) -> bool:
        return self._remembered is not None

    def look(self) -> RootState:
        """Changes nothing. Raises OSError when the folder is there and cannot be looked at."""
        return judge_root(self._remembered, self._identity())

    def create(self) -> None:
        """Only before the first start: a folder that is remembered and missing is an alarm."""
        self.root.mkdir(parents=True, exist_ok=True)

    def adopt(self) -> None:
        """Remember the folder that is there now, and mark it where that is possible."""
        found = self._identity()
        if found is None:
            raise FileNotFoundError(f"{self.root} is not there")
        if not found.marker:
            marker = self._remembered.marker if self._remembered is not None else ""
            found = Identity(marker or str(uuid.uuid4()), found.device, found.inode)
            with contextlib.suppress(OSError):  # a folder that we may only read
                write_json_atomically(self.root / MARKER_NAME, {"id": found.marker, "about": ABOUT})
        if found != self._remembered:
            write_json_atomically(self._record, asdict(found))
            self._remembered = found

    def explain_missing(self) -> str:
        """Why there is no folder to look at, and what helps."""
        return (
            f"{self.root} is not there: renamed, deleted, or its disk is not mounted. Nothing is forgotten and nothing"
            f" is trained until it is back. If it was deleted on purpose: mkdir it, then run {ACCEPT_COMMAND}"
        )

    def accept(self) -> None:
        """For the command line: note that a person takes the folder as it is. The owner of the state acts on it."""
        if not self.root.is_dir():
            raise OperatorError(f"{self.root} is not there; make it first (mkdir), if it is to be empty from now on")
        write_json_atomically(self._accepted, {"root": str(self.root)})

    @property
    def is_accepted(self) -> bool:
        return self._accepted.exists()

    def end_acceptance(self) -> None:
        """The note was acted on."""
        self._accepted.unlink(missing_ok=True)

    def _identity(self) -> Identity | None:
        try:
            status = self.root.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not self.root.is_dir():
            return None
        return Identity(_read_marker(self.root / MARKER_NAME), status.st_dev, status.st_ino)


def require_data_folder(root: Path, state: Path) -> None:
    """Make the data folder before the first start; afterwards it must be there and be the same one.

    Raises OperatorError with the way out. For those who write into it beside the service.
    """
    folder = DataFolder(root, state)
    found = folder.look()
    if found == "missing":
        raise OperatorError(folder.explain_missing())
    if found == "strange":
        raise OperatorError(f"{root} is not the folder that the service knows; see /health of the service")
    folder.create()


def _read_marker(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            value = json.loads(stream.read(MARKER_BYTES))["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return value if isinstance(value, str) else ""


def _read_identity(record: Path) -> Identity | None:
    try:
        value = json.loads(record.read_text(encoding="utf-8"))
        return Identity(str(value["marker"]), int(value["device"]), int(value["inode"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # as before the first start; the index decides whether that can be
