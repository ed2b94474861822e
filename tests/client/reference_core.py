"""Starts examples/core as its own process, as someone integrating would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import httpx
from small_trainer import API_KEY

ROOT = Path(__file__).resolve().parents[2]
LOAD_SECONDS = 100.0


class ReferenceCore:
    def __init__(self, trainer_url: str, cache: Path) -> None:
        self._environment = os.environ | {
            "EXPOSR_TRAINER_URL": trainer_url,
            "EXPOSR_TRAINER_API_KEY": API_KEY,
            "EXPOSR_MODEL_CACHE": str(cache),
            "OMP_NUM_THREADS": "1",
        }
        self.url = ""
        self.log: list[str] = []

    def __enter__(self) -> Self:
        command = [
            "-m",
            "uvicorn",
            "--app-dir",
            str(ROOT / "examples/core"),
            "app:app",
            "--port",
            "0",
            "--no-access-log",
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-P", *command], env=self._environment, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if found := re.search(r"running on (http://[\d.]+:\d+)", line):
                self.url = found[1]
                break
        assert self.url, "".join(self.log)
        self._reader = threading.Thread(target=self.log.extend, args=(self._process.stderr,), daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._reader.join(5)
        assert self._process.stderr is not None
        self._process.stderr.close()

    def wait_for(self, version: str) -> None:
        for _ in range(int(LOAD_SECONDS / 0.05)):
            if httpx.get(f"{self.url}/health", timeout=60).json()["model_version"] == version:
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"{version} was not served:\n{''.join(self.log)}")

    def detect(self, data: bytes, name: str = "picture.png") -> httpx.Response:
        return httpx.post(f"{self.url}/detect", files={"file": (name, data)}, timeout=60)
