"""From the start of the process to READY=1, with 100,000 indexed pictures. The demand: under 1.5 s.

    python -P bench/startup.py [--files 100000] [--runs 5] [--folder /var/tmp/bench-startup]

The service is started as systemd starts it (a notify socket, a watchdog), on data that an earlier run has indexed.
A folder that is given is kept, and used again. Processor time is the figure that a busy machine does not change.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from filling import fill_directly

from utils.config_loader import load_config
from utils.logs import configure_logging

WAIT_SECONDS = 60
DEMANDED_SECONDS = 1.5


def environment(folder: Path) -> dict[str, str]:
    paths = {f"EXPOSR_STORAGE__{name.upper()}_PATH": str(folder / name) for name in ("local", "models", "state")}
    return {**paths, "EXPOSR_API__PORT": "0"}


def prepare(folder: Path, count: int) -> None:
    if (folder / "prepared").exists():
        return
    config = load_config(environ=environment(folder))
    config.storage.local_path.mkdir(parents=True)
    fill_directly(config, count)
    (folder / "prepared").touch()


def start_once(folder: Path) -> tuple[float, float]:
    """Seconds, and seconds of processor time, until READY=1."""
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"{place}/notify")
        systemd.settimeout(WAIT_SECONDS)
        env = {**os.environ, **environment(folder), "NOTIFY_SOCKET": f"{place}/notify", "WATCHDOG_USEC": "30000000"}
        log = Path(place, "log")
        started = time.monotonic()
        with log.open("wb") as errors:
            service = subprocess.Popen([sys.executable, "-P", "-m", "daemon", "serve"], env=env, stderr=errors)
        try:
            while b"READY=1" not in systemd.recv(4096):
                pass
            seconds = time.monotonic() - started
            ticks = Path(f"/proc/{service.pid}/stat").read_text().rsplit(")", 1)[1].split()
            processor = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        except TimeoutError:
            sys.exit(f"no READY=1 within {WAIT_SECONDS} s:\n{log.read_text()}")
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait()
    return seconds, processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    configure_logging("warning")
    folder = options.folder or Path(tempfile.mkdtemp(prefix="bench-startup-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        prepare(folder, options.files)
        found = [start_once(folder) for _ in range(options.runs)]
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    elapsed, processor = (sorted(column) for column in zip(*found, strict=True))
    print(f"{options.files} pictures, {options.runs} starts, until READY=1:")
    print(f"  elapsed    median {statistics.median(elapsed):.2f} s, {elapsed[0]:.2f} s to {elapsed[-1]:.2f} s")
    print(f"  processor  median {statistics.median(processor):.2f} s")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"  memory     peak {peak:.0f} MiB; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if statistics.median(elapsed) > DEMANDED_SECONDS:
        sys.exit(f"more than {DEMANDED_SECONDS} s")


if __name__ == "__main__":
    main()
