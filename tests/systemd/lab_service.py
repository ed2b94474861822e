"""The service in the lab, as an operator and a client meet it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from systemd_lab import Lab

UNIT = "exposr-trainer.service"
PYTHON = "/opt/exposr-trainer/current/bin/python"
CONFIG = "/etc/exposr-trainer/config.toml"
DATASETS = "/var/lib/exposr-trainer/datasets"
INSTALL = "/run/lab/checkout/systemd/install --python /usr/bin/python3.11 --packages-from /run/lab/venv"
# what the scenarios wait for comes sooner; the log goes to a file, since the lab has no journal
QUICKER = """[Unit]
StartLimitIntervalSec=60
[Service]
WatchdogSec=5
RestartSec=200ms
StandardOutput=append:/run/lab/service.log
StandardError=append:/run/lab/service.log
"""
STORAGE = """
[storage]
local_path = "/var/lib/exposr-trainer/datasets"
models_path = "/var/lib/exposr-trainer/models"
state_path = "/var/lib/exposr-trainer/state"
"""
CALL = """
import pathlib, sys, urllib.request
key = pathlib.Path("/var/lib/exposr-trainer/state/keys/api_key").read_text().strip()
url = "http://127.0.0.1:8001" + sys.argv[2]
call = urllib.request.Request(url, method=sys.argv[1], headers={"Authorization": "Bearer " + key})
try:
    print(urllib.request.urlopen(call, timeout=5).read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
"""


class LabService:
    """Commands of an operator, and calls of a client."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def install(self, *options: str) -> str:
        self.lab.write(f"/etc/systemd/system/{UNIT}.d/50-lab.conf", QUICKER)
        return self.lab.run(" ".join([INSTALL, *options]), timeout_seconds=120)

    def systemctl(self, *words: str, check: bool = True) -> str:
        return self.lab.run(f"systemctl {' '.join(words)}", check=check, timeout_seconds=90).strip()

    def show(self, name: str) -> str:
        """A property of the unit, as `systemctl show` gives it."""
        return self.systemctl("show", UNIT, "--value", "--property", name)

    def configure(self, more: str = "") -> None:
        self.lab.write(CONFIG, STORAGE + more)

    def restart(self) -> None:
        self.systemctl("reset-failed", UNIT, check=False)
        self.systemctl("restart", UNIT)

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def post(self, path: str) -> Any:
        return self._call("POST", path)

    def _call(self, method: str, path: str) -> Any:
        self.lab.write("/run/lab/call.py", CALL)
        answer = self.lab.run(f"{PYTHON} /run/lab/call.py {method} '{path}'")
        return json.loads(answer)

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = self.get("/status")["dataset_counts"]
        return found

    def log(self) -> str:
        return self.lab.read("/run/lab/service.log")

    def wait_for(self, what: str, condition: Callable[[], Any], seconds: float = 30) -> Any:
        """Ask until the answer is true, which is returned; AssertionError that says what did not come about."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                answer = condition()
            except AssertionError:  # a command that failed: not there yet
                answer = None
            if answer:
                return answer
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {seconds} s\n{self.log()[-3000:]}")


def make_pictures(folder: Path, count: int, seed: int) -> None:
    """`count` pictures that differ from each other, with more fine detail for odd seeds."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
            (96, 96), Image.Resampling.BICUBIC
        )
        pixels = np.asarray(coarse).astype(np.int16)
        if seed % 2:
            pixels = pixels + random.integers(-40, 40, pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{seed}-{number}.png")
