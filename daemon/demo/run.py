"""`exposr-trainer demo`: the whole loop on real pictures, with the service and the sources' stand-in as processes.

The demo itself is only a client: what it shows comes from the API that everybody else uses. At its end both processes
go on; `--stop` ends them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from daemon.demo.pictures import collect_demo_pictures
from daemon.demo.view import DemoResult, DemoView
from daemon.serving.keys import API_KEY_FILE, KEYS_FOLDER
from daemon.remote import RunningDaemon
from exposr_api.transport.server import bind
from utils.errors import OperatorError, RetryLaterError, StopRunError
from utils.files import write_atomically, write_json_atomically

SANDBOX_KEY = "sandbox"
PROCESSES_FILE = "processes.json"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.4
LOOPBACK = "127.0.0.1"


def run_demo(folder: Path, port: int) -> None:
    """Collect, train, publish, serve; then tell what to try. Raises OperatorError when something is in the way."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    stop_demo(folder)
    bind(LOOPBACK, port).close()  # a busy port is said before anything is started
    with DemoView(folder) as view:
        pictures = collect_demo_pictures(folder / "pictures", view.say)
        view.say(f"pictures: {pictures.real} photographs, {pictures.ai_generated} AI-generated")
        processes = _start(folder, port)
        try:
            service = _connect(folder, port, processes[-1])
            result = _run_loop(service, view)
        except BaseException:
            _end(processes)
            raise
        view.finish(result, port)


def stop_demo(folder: Path) -> bool:
    """End the processes of an earlier demo in `folder`; True when there were any."""
    file = folder.absolute() / PROCESSES_FILE
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    found = []
    for pid, started in noted:
        try:
            process = psutil.Process(pid)
            if process.create_time() == started:
                process.send_signal(signal.SIGTERM)
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(found, timeout=STOP_SECONDS)
    for process in alive:
        process.kill()
    file.unlink(missing_ok=True)
    return bool(found)


def _start(folder: Path, port: int) -> list[subprocess.Popen[bytes]]:
    sandbox_port = _free_port()
    write_atomically(folder / "config.toml", _settings(folder, port, sandbox_port).encode())
    keys = dict.fromkeys(("UNSPLASH_ACCESS_KEY", "PEXELS_API_KEY", "CIVITAI_API_KEY"), SANDBOX_KEY)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("EXPOSR_", "TRAINER_API_KEY"))
    }
    commands = (
        ["sandbox", "--port", str(sandbox_port), "--pictures", str(folder / "pictures")],
        ["serve", "--config", str(folder / "config.toml")],
    )
    processes = []
    for command in commands:
        with (folder / f"{command[0]}.log").open("ab") as log_file:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-m", "daemon", *command],
                    stdin=subprocess.DEVNULL,
                    stdout=log_file,
                    stderr=log_file,
                    env={**inherited, **keys},
                    start_new_session=True,
                )
            )
    noted = [(process.pid, psutil.Process(process.pid).create_time()) for process in processes]
    write_json_atomically(folder / PROCESSES_FILE, noted)
    return processes


def _settings(folder: Path, port: int, sandbox_port: int) -> str:
    """The demo's configuration: the production settings, with the sources' addresses pointing at the stand-in."""
    lines = [
        "# written by `exposr-trainer demo`",
        "[storage]",
        *(
            f"{key} = {json.dumps(str(folder / name))}"
            for key, name in (("local_path", "datasets"), ("models_path", "models"), ("state_path", "state"))
        ),
        "[api]",
        f"port = {port}",
        "[triggers]",
        "cooldown_minutes = 0",
    ]
    for source in ("unsplash", "pexels", "civitai"):
        lines += [
            f"[sources.{source}]",
            "enabled = true",
            f'base_url = "http://{LOOPBACK}:{sandbox_port}/{source}"',
            f'image_hosts = ["{LOOPBACK}:{sandbox_port}"]',
            "queries = []",
            "min_interval_seconds = 0",
            "image_interval_seconds = 0",
            "requests_per_hour = 0",
        ]
    return "\n".join(lines) + "\n"


def _connect(folder: Path, port: int, process: subprocess.Popen[bytes]) -> RunningDaemon:
    key_file = folder / "state" / KEYS_FOLDER / API_KEY_FILE
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if key_file.is_file():
            service = RunningDaemon(f"http://{LOOPBACK}:{port}", key_file.read_text(encoding="ascii").strip())
            with contextlib.suppress(RetryLaterError):  # it does not listen yet
                if service.get("/health")["status"] in ("ok", "degraded"):
                    return service
            service.close()
        time.sleep(POLL_SECONDS)
    raise OperatorError(f"the service did not start; {folder / 'serve.log'} says why")


def _run_loop(service: RunningDaemon, view: DemoView) -> DemoResult:
    _follow(service, view, "scrape")
    _wait_until_counted(service, view)
    training = _follow(service, view, "train")
    entries = service.get("/models")
    versions = entries["models"] if isinstance(entries, dict) else entries
    return DemoResult(training, versions[-1] if versions else None, service.get("/status"))


def _follow(service: RunningDaemon, view: DemoView, kind: str) -> Mapping[str, Any]:
    run_id = service.post(f"/{kind}")["run_id"]
    while True:
        run: Mapping[str, Any] = service.get(f"/runs/{run_id}")
        view.update(service.get("/status"), run)
        if run["ended"]:
            if run["state"] == "failed":
                raise StopRunError(f"{kind}: {run['outcome']['summary']}")
            return run
        time.sleep(POLL_SECONDS)


def _wait_until_counted(service: RunningDaemon, view: DemoView) -> None:
    """The last collected files are checked a moment after the scrape has ended."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        status = service.get("/status")
        view.update(status, None)
        if status["dataset_counts"]["pending"] == 0 and status["dataset_counts"]["total"] > 0:
            return
        time.sleep(POLL_SECONDS)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
