"""How fast published weights travel, beside nginx serving the same file on loopback, in one run.

    .venv/bin/python -P bench/delivery.py [--size-mb 256] [--rounds 5] [--nginx PATH]

Each round downloads the file once from either server over a fresh connection, reading and dropping the bytes; the
median rate counts. nginx (Debian's package; sendfile on) is started with its own configuration in a scratch folder.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "api"))

from api_double import KEY, SmallModels, SmallService

from exposr_api.app import create_app
from exposr_api.auth import Keys
from exposr_api.transport.server import ApiServer

NGINX_CONF = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; tcp_nopush on;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


CLIENT = """
import socket, sys, time
port, path, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
buffer, received = memoryview(bytearray(1 << 20)), 0
start = time.perf_counter()
with socket.create_connection(("127.0.0.1", port)) as peer:
    headers = f"Host: x\\r\\nAuthorization: Bearer {key}\\r\\nConnection: close"
    peer.sendall(f"GET {path} HTTP/1.1\\r\\n{headers}\\r\\n\\r\\n".encode())
    while count := peer.recv_into(buffer):
        received += count
print(received, time.perf_counter() - start)
"""


def download(port: int, path: str, expected: int) -> float:
    """Bytes a second of one download by a process of its own."""
    command = [sys.executable, "-c", CLIENT, str(port), path, KEY]
    received, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(received) >= expected, f"{received} of {expected} bytes"
    return expected / float(seconds)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_nginx(binary: str, folder: Path, root: Path) -> tuple[subprocess.Popen[bytes], int]:
    port = free_port()
    root.chmod(0o755)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mb", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx")
    options = parser.parse_args()
    size = options.size_mb << 20
    with tempfile.TemporaryDirectory(prefix="exposr-delivery-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        models = SmallModels(folder / "models")
        models.publish(os.urandom(1 << 20) * options.size_mb)
        server = ApiServer(create_app(SmallService(models), Keys([KEY])), "127.0.0.1", 0)
        server.start()
        ports = {"exposr": (server.port, "/models/vit/v1/weights.pt")}
        nginx = None
        if Path(options.nginx).is_file():
            nginx, port = start_nginx(options.nginx, folder, folder / "models")
            ports["nginx"] = (port, "/vit/v1/weights.pt")
        else:
            print("nginx is not installed: only our own rate is measured")
        rates: dict[str, list[float]] = {which: [] for which in ports}
        for _ in range(options.rounds + 1):
            for which, (port, path) in ports.items():
                rates[which].append(download(port, path, size))
        if nginx is not None:
            nginx.terminate()
            nginx.wait(10)
        server.stop()
    medians = {which: statistics.median(measured[1:]) for which, measured in rates.items()}  # the first warms up
    for which, rate in medians.items():
        print(f"{which:8} {rate / 1e6:8.0f} MB/s")
    if len(medians) == 2:
        print(f"ratio    {medians['exposr'] / medians['nginx']:8.2f}   (0.50 or more is asked for)")


if __name__ == "__main__":
    main()
