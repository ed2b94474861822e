"""The official JavaScript clients, installed once from the lock file, and what they say about a running sandbox."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from encoded_pictures import noise_picture
from scrapers.sandbox.server import SandboxServer

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / "build" / "js-clients"
INSTALL_SECONDS = 50
RUN_SECONDS = 30


@pytest.fixture(scope="session")
def js_modules() -> Path:
    """A folder with node_modules as package-lock.json says; named after the lock, so that a new one is a new folder."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; the official JavaScript clients cannot run")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = CACHE / hashlib.sha256(lock).hexdigest()[:16]
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            _install(Path(scratch) / "clients")
            # by rename, so that a run beside this one sees nothing or everything
            with contextlib.suppress(OSError):
                (Path(scratch) / "clients").rename(folder)
    return folder


def _install(folder: Path) -> None:
    """`npm ci` from the lock file; a skip, with the reason, where no registry answers."""
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm ci took more than {INSTALL_SECONDS} s; is a package registry reachable?")
    if done.returncode != 0:
        pytest.skip(f"npm ci failed; is a package registry reachable? {done.stderr.strip()[-400:]}")


@pytest.fixture(scope="session")
def sandbox_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pictures = tmp_path_factory.mktemp("pictures")
    for first, label in ((0, "real"), (24, "ai_generated")):
        (pictures / label).mkdir()
        for index in range(24):
            noise_picture(first + index, (90, 160)).save(pictures / label / f"street-{index}.jpg")
    with SandboxServer(pictures) as server:
        yield server.url


@pytest.fixture(scope="session")
def seen(js_modules: Path, sandbox_url: str) -> dict[str, Any]:
    """What the clients understood; the keys are those of clients.mjs."""
    command = ["node", str(HERE / "clients.mjs"), sandbox_url, "sandbox", str(js_modules)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result
