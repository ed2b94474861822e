"""The place where shards lie: a folder, or whatever fsspec reaches (`s3://`, `gs://`, `abfs://`, `http://` to read).

Every error says what to do. A file that is not there is a FileNotFoundError for those who can do without it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.errors import OperatorError
from utils.files import PART_SUFFIX, fsync_folder, write_atomically

REFUSED = ("credential", "forbidden", "unauthorized", "accessdenied", "token")  # in the names of libraries' errors


@dataclass(frozen=True, slots=True)
class ShardStore:
    """One folder of one file system. Writing is atomic: a local file is renamed, an object store shows whole objects.

    Holds no connection, so that data loaders may be forked at any time.
    """

    url: str

    def read(self, name: str) -> bytes:
        with self._reached() as (files, root):
            return bytes(files.cat_file(f"{root}/{name}"))

    def read_range(self, name: str, start: int, size: int) -> bytes:
        with self._reached() as (files, root):
            return bytes(files.cat_file(f"{root}/{name}", start=start, end=start + size))

    def fetch(self, name: str, file: Path) -> None:
        """Copy the whole of `name` to `file`."""
        with self._reached() as (files, root):
            files.get_file(f"{root}/{name}", str(file))

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, by name; empty when the folder is not there."""
        with self._reached() as (files, root):
            try:
                found = files.ls(root, detail=True)
            except FileNotFoundError:
                return {}
            return {entry["name"].rpartition("/")[2]: entry["size"] for entry in found if entry["type"] == "file"}

    def put(self, file: Path, name: str) -> None:
        """Store a copy of `file`."""
        with self._reached(to_write=True) as (files, root):
            if not _is_local(files):
                files.put_file(str(file), f"{root}/{name}")
                return
            part = Path(root) / f".{name}{PART_SUFFIX}"
            with file.open("rb") as source, part.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
                target.flush()
                os.fsync(target.fileno())
            part.replace(Path(root) / name)
            fsync_folder(Path(root))

    def write(self, name: str, data: bytes) -> None:
        with self._reached(to_write=True) as (files, root):
            if _is_local(files):
                write_atomically(Path(root) / name, data)
            else:
                files.pipe_file(f"{root}/{name}", data)

    def remove(self, name: str) -> None:
        with self._reached() as (files, root):
            files.rm_file(f"{root}/{name}")

    @contextmanager
    def _reached(self, *, to_write: bool = False) -> Iterator[tuple[Any, str]]:
        import fsspec  # not before it is needed: it looks for its plug-ins

        what = f"training.shards = {self.url}"
        try:
            files, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
            root = root.rstrip("/")
            if to_write and _is_local(files):
                Path(root).mkdir(exist_ok=True)  # not its parent: an unmounted disk must not be written around
            yield files, root
        except FileNotFoundError as error:
            if not to_write:
                raise
            raise OperatorError(f"{what}: is not there; create the folder or bucket, or mount its disk") from error
        except (ImportError, ValueError) as error:
            way_out = "for s3:// pip install 'exposr-trainer[s3]', for gs:// gcsfs, for abfs:// adlfs"
            raise OperatorError(f"{what}: cannot be opened here: {error}; {way_out}") from error
        except Exception as error:  # every file system has errors of its own
            said = f"{type(error).__name__}: {error}"
            if isinstance(error, PermissionError) or any(word in type(error).__name__.lower() for word in REFUSED):
                raise OperatorError(
                    f"{what}: access is refused ({said}); credentials come from the environment of this process"
                    " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role of the machine; docs/training.md)"
                ) from error
            raise OperatorError(f"{what}: does not work: {said}") from error


def _is_local(files: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(files, LocalFileSystem)
