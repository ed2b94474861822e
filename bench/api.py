"""How fast the API answers while two cores are busy, and what a poll that finds nothing new costs.

    .venv/bin/python -P bench/api.py [--seconds 8] [--busy 2] [--nice 10]

Starts the API in a process of its own, `--busy` processes that compute without pause (as a training does, at its nice
level), then asks `/status` every 10 ms over one connection and prints the percentiles; then 2,000 polls of
`/models/latest` with `If-None-Match`, and the CPU time that they took the server.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "api"))

import psutil
from api_double import KEY, SmallModels, SmallService

from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.transport.server import ApiServer

BURN = "import os, sys; os.nice(int(sys.argv[1]))\nwhile True: sum(range(1000))"
INTERVAL_SECONDS = 0.01
POLLS = 2000


def serve() -> None:
    """The server's process: prints its port, runs until its standard input ends."""
    with tempfile.TemporaryDirectory(prefix="exposr-api-") as folder:
        models = SmallModels(Path(folder) / "models")
        models.publish()
        server = ApiServer(create_app(SmallService(models), Keys([KEY])), "127.0.0.1", 0)
        server.start()
        print(server.port, file=sys.__stdout__, flush=True)
        sys.stdin.read()
        server.stop()


def percentile(sorted_values: list[float], share: float) -> float:
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]


def measure_status(port: int, seconds: float, busy: int, nice: int) -> None:
    burners = [subprocess.Popen([sys.executable, "-c", BURN, str(nice)]) for _ in range(busy)]
    connection = http.client.HTTPConnection("127.0.0.1", port)
    taken = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        start = time.perf_counter()
        connection.request("GET", "/status")
        connection.getresponse().read()
        taken.append((time.perf_counter() - start) * 1000)
        time.sleep(INTERVAL_SECONDS)
    for burner in burners:
        burner.kill()
        burner.wait()
    taken.sort()
    figures = ", ".join(f"{name} {percentile(taken, share):.1f} ms" for name, share in (("p50", 0.5), ("p99", 0.99)))
    print(f"/status beside {busy} busy processes at nice {nice}: {figures}, worst {taken[-1]:.1f} ms of {len(taken)}")


def measure_polls(port: int, server: psutil.Process) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {KEY}"}
    connection.request("GET", "/models/latest", headers=headers)
    answer = connection.getresponse()
    answer.read()
    headers["If-None-Match"] = answer.headers["ETag"]
    before = server.cpu_times()
    for _ in range(POLLS):
        connection.request("GET", "/models/latest", headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 304
    after = server.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    print(f"a poll that finds nothing new: {cpu / POLLS * 1000:.2f} ms of the server's CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--busy", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    command = [sys.executable, "-P", __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(next(line for line in process.stdout if line.strip().isdigit()))
        measure_polls(port, psutil.Process(process.pid))
        measure_status(port, options.seconds, options.busy, options.nice)
        process.communicate()


if __name__ == "__main__":
    main()
