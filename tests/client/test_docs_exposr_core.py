"""Every block of docs/exposr-core.md runs, in its order, as one shell session against a trainer with a real version."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from real_trainer import RealTrainer
from small_trainer import API_KEY
from versions import make_files

from encoded_pictures import noise_picture
from utils.config_loader import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/exposr-core.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
BLOCK_SECONDS = 120


class Session:
    """A folder and an environment in which the blocks run one after the other."""

    def __init__(self, folder: Path, trainer: RealTrainer) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.core_port = free.getsockname()[1]
        self._places = {"localhost:8001": trainer.url.removeprefix("http://"), "test_api_key": API_KEY}
        self._ports = {"localhost:8000": f"localhost:{self.core_port}", "--port 8000": f"--port {self.core_port}"}
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "EXPOSR_MODEL_CACHE": str(folder / "cache"),
            "EXPOSR_STORAGE__MODELS_PATH": str(trainer.config.storage.models_path),
            "OMP_NUM_THREADS": "1",
            # what pip would install is worked out and not installed, and nothing comes from outside
            "PIP_DRY_RUN": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def run(self, language: str, code: str) -> str:
        for written, here in (self._places | self._ports).items():
            code = code.replace(written, here)
        environment_file = self.folder / "environment"
        command = {
            "python": [sys.executable, "-P", "-W", "error", "-c", code],
            "bash": ["bash", "-eu", "-c", f"{code}\nenv -0 > {environment_file}"],
        }[language]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=BLOCK_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        if language == "bash":
            lines = environment_file.read_text().rstrip("\0").split("\0")
            self.environment = dict(line.split("=", 1) for line in lines)
        return done.stdout

    @contextmanager
    def serving(self, code: str) -> Iterator[None]:
        """A block that runs until it is stopped."""
        command = code.replace("--port 8000", f"--port {self.core_port}").split()
        with subprocess.Popen(command, cwd=self.folder, env=self.environment, stderr=subprocess.DEVNULL) as process:
            try:
                self._wait()
                yield
            finally:
                process.terminate()

    def _wait(self) -> None:
        for _ in range(BLOCK_SECONDS * 10):
            try:
                if httpx.get(f"http://127.0.0.1:{self.core_port}/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            # the client's own pace: a connection that is refused at once
            subprocess.run(["sleep", "0.1"], check=True)
        raise AssertionError("the reference Core did not start")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_block_runs(tmp_path: Path) -> None:
    for folder in ("http/exposr_client", "examples/core"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        )
    noise_picture(0, (320, 240)).save(tmp_path / "photo.jpg")
    with RealTrainer(tmp_path / "trainer") as trainer:
        trainer.publish(make_files("v1"))
        session = Session(tmp_path, trainer)
        blocks = iter(BLOCKS)
        said = []
        for language, code in blocks:
            if code.startswith("uvicorn"):
                with session.serving(code):
                    said.append(session.run(*next(blocks)))
            else:
                said.append(session.run(language, code))
    assert "Would install exposr-client" in said[0]
    assert any('"model_version":"v1"' in text for text in said)
    config = load_config(environ={name: value for name, value in session.environment.items() if "CORE__" in name})
    assert config.core.enabled
    assert config.core.endpoint == f"http://localhost:{session.core_port}/detect"


def test_every_error_and_setting_of_the_client_is_on_the_page() -> None:
    from exposr_client.following import settings

    page = PAGE.read_text(encoding="utf-8")
    for name in ("URL_VARIABLE", "API_KEY_VARIABLE", "PUBLIC_KEY_VARIABLE", "CACHE_VARIABLE"):
        assert getattr(settings, name) in page
    for name in ("SignatureError", "KeyChangedError", "RollbackError", "ExpiredError", "IntegrityError"):
        assert f"`{name}`" in page
    assert {language for language, _ in BLOCKS} == {"bash", "python"}
    assert len(BLOCKS) >= 12
