"""datasets of the Hugging Face hub: a revision pinned to its commit, and its files one after the other.

`huggingface_hub` does the asking and the downloading: it resumes, checks lengths and knows the hub's storage.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from utils.config.sources import is_loopback_url
from utils.errors import OperatorError, RetryLaterError, StopRunError

HUB_URL = "https://huggingface.co"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
FORMS = {".parquet": "parquet", ".tar": "webdataset"}
CONVERTED = "refs/convert/parquet"  # the hub's own conversion of what is uploaded in another form
BYTES_PER_GB = 1_000_000_000
# read by the library when it is imported: one way to download, nothing kept outside of our folder, nothing told
CLIENT_SETTINGS = {
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file at a commit; `version` names its content, whatever the commit."""

    path: str
    size_bytes: int
    version: str


@dataclass(frozen=True, slots=True)
class HubDataset:
    """A dataset at a commit. `license`: as its card says, or empty."""

    name: str
    commit: str
    license: str
    files: tuple[HubFile, ...]


class Hub:
    """One hub and one access token (None: what is public)."""

    def __init__(self, token: str | None, url: str = HUB_URL) -> None:
        if not url.startswith("https://") and not is_loopback_url(url):
            raise OperatorError(f"{url}: a hub is asked over https only")
        for name, value in CLIENT_SETTINGS.items():
            os.environ.setdefault(name, value)
        self._url = url.rstrip("/")
        self._token: str | bool = token or False

    def find(self, name: str, revision: str, only: str = "") -> HubDataset:
        """The dataset's files that can be imported. Raises OperatorError with what to do, RetryLaterError."""
        from huggingface_hub import HfApi

        if not NAME.fullmatch(name) or ".." in name:
            raise OperatorError(f"{name!r} is no dataset's name: hf:OWNER/NAME")
        api = HfApi(endpoint=self._url, token=self._token, library_name="exposr-trainer")
        with _explain(name, revision):
            info = api.dataset_info(name, revision=revision, files_metadata=True, timeout=30)
        found = [file for sibling in info.siblings or [] if (file := _as_file(sibling)) is not None]
        files = [file for file in found if not only or fnmatchcase(file.path, only)]
        forms = {FORMS[Path(file.path).suffix] for file in files}
        if not files:
            hint = f"; files are {', '.join(file.path for file in found[:5])}" if found else ""
            raise OperatorError(
                f"hf:{name}@{revision}: holds no parquet or tar file"
                + (f" that fits {only!r}{hint}" if only else "")
                + ("" if found else f"; try the hub's own conversion: --revision {CONVERTED}")
            )
        if len(forms) > 1:
            raise OperatorError(f"hf:{name}@{revision}: holds parquet and tar files; choose with --only '*.parquet'")
        card: Any = info.card_data
        license_ = getattr(card, "license", None) if card is not None else None
        shown = ", ".join(map(str, license_)) if isinstance(license_, list) else str(license_ or "")
        return HubDataset(name, str(info.sha), shown, tuple(sorted(files, key=lambda file: file.path)))

    def download(self, dataset: HubDataset, file: HubFile, folder: Path, min_free_gb: float) -> Path:
        """The file below `folder`; what an interrupted download has left is gone on with."""
        from huggingface_hub import hf_hub_download

        folder.mkdir(parents=True, exist_ok=True)
        free_gb = shutil.disk_usage(folder).free / BYTES_PER_GB
        if free_gb - file.size_bytes / BYTES_PER_GB < min_free_gb:
            raise StopRunError(
                f"{file.path} has {file.size_bytes / BYTES_PER_GB:.1f} GB; the disk has {free_gb:.1f} GB free and"
                f" storage.min_free_gb = {min_free_gb:g} of them are not touched"
            )
        with _explain(dataset.name, dataset.commit):
            found = hf_hub_download(
                dataset.name,
                file.path,
                repo_type="dataset",
                revision=dataset.commit,
                local_dir=folder,
                token=self._token,
                endpoint=self._url,
                library_name="exposr-trainer",
            )
        return Path(str(found))


def _as_file(sibling: Any) -> HubFile | None:
    path = str(sibling.rfilename)
    if Path(path).suffix not in FORMS or ".." in path.split("/") or path.startswith("/"):
        return None
    version = sibling.lfs.sha256 if sibling.lfs is not None else sibling.blob_id
    return HubFile(path, int(sibling.size or 0), str(version or ""))


@contextmanager
def _explain(name: str, revision: str) -> Iterator[None]:
    """The hub's errors as ours, by what has to happen next."""
    from huggingface_hub import errors

    client_errors: type[Exception] = vars(errors)["HTTPError"]  # of the HTTP client, whichever the library uses
    try:
        yield
    except errors.GatedRepoError as error:
        raise OperatorError(
            f"hf:{name}: accept its terms at {HUB_URL}/datasets/{name}, and set HF_TOKEN to a token of that account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise OperatorError(f"hf:{name}: there is no such dataset, or it is private and HF_TOKEN is not set") from error
    except errors.RevisionNotFoundError as error:
        raise OperatorError(f"hf:{name}: there is no revision {revision!r}") from error
    except (client_errors, errors.EntryNotFoundError, OSError) as error:
        raise RetryLaterError(f"hf:{name}@{revision}: the hub cannot be reached: {error}") from error
