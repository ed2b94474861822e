"""How fast `/status` is answered, beside a bare Starlette route on uvicorn, in one run.

The demand: 0.85 of its rate, and a p99 of at most 2 times its p99.

    python -P bench/status.py [--seconds 2] [--rounds 5] [--connections 1 8 32] [--json FILE] [idle] [training] [burst]

The service runs as it does in use, in a process of its own, with a history of 2,000 runs; the bare route, which answers
`{"status": "ok"}`, runs in another. In each round either is asked over so many connections at once, in turn; ratios are
medians over the rounds. idle: nothing else happens. training: as many processes as the machine has
cores compute without pause, at a training's nice level. burst: 500 pictures a second arrive in the data folder.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # first: folders of tests have the product's names

import psutil
from PIL import Image

from daemon.state.store import STORE_FILE, Run, Store
from service_process import ServiceProcess
from utils.logs import configure_logging

DEMANDED, MOST_P99 = 0.85, 2.0
STATES = ("idle", "training", "burst")  # the last leaves work behind
BURN = "import os\nos.nice(10)\nwhile True: sum(range(1000))"
BARE = """
import socket, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def status(request):
    return JSONResponse({"status": "ok"})

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(Starlette(routes=[Route("/status", status)]), log_level="error", access_log=False, http="h11",
                        loop="asyncio")
uvicorn.Server(config).run(sockets=[listener])
"""
REQUEST = b"GET /status HTTP/1.1\r\nHost: bench\r\n\r\n"


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()

    def ask(self) -> None:
        self.asked = time.perf_counter()
        self.socket.sendall(REQUEST)

    def is_answered(self) -> bool:
        self._received += self.socket.recv(1 << 16)
        head, end, body = bytes(self._received).partition(b"\r\n\r\n")
        if not end:
            return False
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return False
        assert head.startswith(b"HTTP/1.1 200"), head
        self._received.clear()
        return True


class Server(NamedTuple):
    port: int
    pid: int

    def busy_seconds(self) -> float:
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


class Answered(NamedTuple):
    """How answers came over some connections: `p99_ms` of one, `processor_us` of the server for each."""

    per_second: float
    p99_ms: float
    processor_us: float


def ask(server: Server, connections: int, seconds: float) -> Answered:
    poll = select.epoll()
    open_ones = {}
    for _ in range(connections):
        connection = _Connection(server.port)
        open_ones[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    taken = []
    started, busy = time.perf_counter(), server.busy_seconds()
    for connection in open_ones.values():
        connection.ask()
    while time.perf_counter() < started + seconds:
        for descriptor, _ in poll.poll(1.0):
            connection = open_ones[descriptor]
            if connection.is_answered():
                taken.append(time.perf_counter() - connection.asked)
                connection.ask()
    elapsed, busy = time.perf_counter() - started, server.busy_seconds() - busy
    for connection in open_ones.values():
        connection.socket.close()
    poll.close()
    taken.sort()
    return Answered(len(taken) / elapsed, 1e3 * taken[int(0.99 * len(taken))], 1e6 * busy / len(taken))


@contextmanager
def bare_route() -> Iterator[Server]:
    with subprocess.Popen(
        [sys.executable, "-c", BARE], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            yield Server(int(process.stdout.readline()), process.pid)
        finally:
            process.kill()


@contextmanager
def training() -> Iterator[None]:
    burners = [
        subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True) for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@contextmanager
def burst(folder: Path, data: Path) -> Iterator[None]:
    """A folder of 500 new pictures a second."""
    stop = threading.Event()

    def arrive() -> None:
        number = 0
        while not stop.wait(1.0):
            incoming = folder / "incoming"
            incoming.mkdir()
            for _ in range(500):
                number += 1
                Image.new("RGB", (64, 64), (number % 256, number // 256 % 256, number // 65536)).save(
                    incoming / f"{number}.png"
                )
            incoming.rename(data / "real" / f"burst-{number}")

    arriving = threading.Thread(target=arrive)
    arriving.start()
    try:
        yield
    finally:
        stop.set()
        arriving.join()
        shutil.rmtree(data / "real")


def happening(state: str, service: ServiceProcess) -> AbstractContextManager[None]:
    if state == "training":
        return training()
    return burst(service.folder, service.data) if state == "burst" else nullcontext()


def fill_history(state: Path) -> None:
    store = Store(state / STORE_FILE)
    for number in range(2000):
        details = {"reasons": ["not better than the version in service"] * 3, "collect": "more real photographs"}
        store.save(
            Run(
                id=f"run-{number:05}",
                kind=("scrape", "train")[number % 2],
                state="rejected",
                trigger="schedule",
                reason="because it was due",
                started=f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
                ended="2026-01-02T00:00:00Z",
                outcome={"summary": "kept out", "details": details},
            )
        )
    store.close()


def measure(ours: Server, bare: Server, connections: int, seconds: float, rounds: int) -> dict[str, Any]:
    pairs = [(ask(ours, connections, seconds), ask(bare, connections, seconds)) for _ in range(rounds)]
    return {
        "connections": connections,
        "ours": [statistics.median(values) for values in zip(*(one for one, _ in pairs), strict=True)],
        "bare": [statistics.median(values) for values in zip(*(other for _, other in pairs), strict=True)],
        "ratio": statistics.median(one.per_second / other.per_second for one, other in pairs),
        "p99_ratio": statistics.median(one.p99_ms / other.p99_ms for one, other in pairs),
        "processor_ratio": statistics.median(one.processor_us / other.processor_us for one, other in pairs),
        "all": pairs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("states", nargs="*", choices=[*STATES, []])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    configure_logging("error", to_journal=False)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="exposr-status-") as name, bare_route() as bare:
        folder = Path(name)
        fill_history(folder / "state")
        service = ServiceProcess(folder)
        try:
            service.start()
            assert service.process is not None
            ours = Server(int(service.url.rpartition(":")[2]), service.process.pid)
            for state in options.states or STATES:
                (service.data / "real").mkdir(exist_ok=True)
                with happening(state, service):
                    for connections in options.connections:
                        row = measure(ours, bare, connections, options.seconds, options.rounds)
                        rows.append({"state": state, **row})
                        shown = ", ".join(f"{name} {row[name]:.2f}" for name in row if name.endswith("ratio"))
                        print(f"{state:8} {connections:3} connections: {shown}", flush=True)
        finally:
            service.end()
    results = {"load": os.getloadavg()[0], "processors": os.cpu_count(), "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if any(row["ratio"] < DEMANDED or row["p99_ratio"] > MOST_P99 for row in rows):
        sys.exit(f"less than {DEMANDED} of the bare route's rate, or p99 above {MOST_P99:g} times its p99")


if __name__ == "__main__":
    main()
