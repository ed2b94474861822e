"""How fast published weights travel, beside nginx serving the same file on loopback, in one run. The demand: 0.9.

    python -P bench/delivery.py [--size-mb 200] [--clients 1 8] [--rounds 5] [--nginx PATH] [--json FILE]

The service runs as it does in use, in a process of its own. Each round downloads the file by so many curl processes at
once, from either server in turn; the ratio is the median over the rounds, the first of which warms up. Also told: the
processor time of either server, and how far the service's memory rises. nginx (Debian's package; sendfile on, one
worker) gets a configuration of its own in a scratch folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "api"))
sys.path.insert(0, str(Path(__file__).parents[1]))  # first: folders of tests have the product's names

import psutil
from api_double import KEY, SmallModels

from service_process import ServiceProcess
from utils.logs import configure_logging

DEMANDED = 0.9
NGINX_CONF = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


class Server:
    """Something that serves the file at `url`, in the process `pid`."""

    def __init__(self, url: str, pid: int) -> None:
        self._url = url
        self._process = psutil.Process(pid)
        self.rates: list[float] = []
        self.processor: list[float] = []

    def measure(self, clients: int, size: int) -> None:
        command = ["curl", "-sf", "-o", os.devnull, "-H", f"Authorization: Bearer {KEY}", "-w", "%{size_download}"]
        before, started = self._busy(), time.perf_counter()
        curls = [subprocess.Popen([*command, self._url], stdout=subprocess.PIPE, text=True) for _ in range(clients)]
        received = [int(curl.communicate()[0]) for curl in curls]
        seconds = time.perf_counter() - started
        assert received == [size] * clients, received
        self.rates.append(sum(received) / seconds)
        self.processor.append(1e3 * (self._busy() - before) / (sum(received) / 1e8))

    def peak_mb(self) -> float:
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))

    def _busy(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def start_nginx(binary: str, folder: Path, root: Path) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "nginx.conf").write_text(NGINX_CONF.format(folder=folder, root=root, port=port))
    process = subprocess.Popen([binary, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, port
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nginx did not start: {(folder / 'error.log').read_text()}")


def measure(ours: Server, peer: Server, clients: int, size: int, rounds: int) -> dict[str, Any]:
    peak = ours.peak_mb()
    for _ in range(rounds + 1):
        ours.measure(clients, size)
        peer.measure(clients, size)
    rates = list(zip(ours.rates[-rounds:], peer.rates[-rounds:], strict=True))
    return {
        "clients": clients,
        "ours_mb_per_s": statistics.median(rate for rate, _ in rates) / 1e6,
        "nginx_mb_per_s": statistics.median(rate for _, rate in rates) / 1e6,
        "ratio": statistics.median(one / other for one, other in rates),
        "ours_processor_ms_per_100_mb": statistics.median(ours.processor[-rounds:]),
        "nginx_processor_ms_per_100_mb": statistics.median(peer.processor[-rounds:]),
        "memory_rise_mb": ours.peak_mb() - peak,
        "all": rates,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mb", type=int, default=200)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    configure_logging("error", to_journal=False)
    size = options.size_mb << 20
    with tempfile.TemporaryDirectory(prefix="exposr-delivery-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        SmallModels(folder / "models").publish(os.urandom(1 << 20) * options.size_mb)
        (folder / "models").chmod(0o755)
        service = ServiceProcess(folder)
        nginx, port = start_nginx(options.nginx, folder, folder / "models")
        try:
            service.start()
            assert service.process is not None
            ours = Server(f"{service.url}/models/vit/v1/weights.pt", service.process.pid)
            peer = Server(f"http://127.0.0.1:{port}/vit/v1/weights.pt", nginx.pid)
            rows = [measure(ours, peer, clients, size, options.rounds) for clients in options.clients]
        finally:
            service.end()
            nginx.terminate()
            nginx.wait(10)
    results = {"size_mb": options.size_mb, "load": os.getloadavg()[0], "processors": os.cpu_count(), "rows": rows}
    shown = [f"{row['clients']} at once: {row['ours_mb_per_s']:.0f} MB/s, {row['ratio']:.2f} of nginx" for row in rows]
    print(f"{'; '.join(shown)}; memory rose by {max(row['memory_rise_mb'] for row in rows):.1f} MB")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if any(row["ratio"] < DEMANDED for row in rows):
        sys.exit(f"less than {DEMANDED} of nginx's rate")


if __name__ == "__main__":
    main()
