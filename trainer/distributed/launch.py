"""How the processes of one training are started: one alone, or several by torchrun, on one machine or on many.

`python -P -m trainer --job FOLDER` is what the daemon starts in every case. When the settings ask for more than one
process it becomes the parent of torchrun, passes signals on, and ends with the exit code that the daemon understands.
`python -P -m trainer --join HOST:PORT` does the same on a machine that helps. Imports no torch.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil

from utils.config.training import Training as Settings
from utils.errors import OperatorError
from utils.job_protocol import EXIT_FINISHED, EXIT_INTERRUPTED
from utils.logs import get_logger

log = get_logger(__name__)

RENDEZVOUS_ID = "exposr-trainer"
JOIN_SECONDS = 3600  # how long a machine waits at the rendezvous for the others
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@dataclass(frozen=True, slots=True)
class Launch:
    """What starts the ranks of this machine, and what its environment must say."""

    command: list[str]
    environment: dict[str, str]


def gpu_count() -> int:
    """GPUs of this machine that this process may use, as the driver shows them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def is_rank() -> bool:
    """This process was started by torchrun."""
    return "RANK" in os.environ


def launch_of(settings: Settings, rank_arguments: Sequence[str], *, has_job: bool = True) -> Launch | None:
    """None when one process without torchrun is enough. The machine that has the job holds the rendezvous."""
    gpus = gpu_count()
    processes = max(1, gpus if settings.devices is None else min(settings.devices, gpus))
    wanted = settings.launch == "torchrun" or (settings.launch == "auto" and (processes > 1 or settings.nodes > 1))
    if not wanted:
        return None
    if settings.nodes > 1 and settings.rendezvous_endpoint is None:
        raise OperatorError(
            "training.nodes is above 1: training.rendezvous_endpoint must say host:port of this machine"
        )
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    environment = {"OMP_NUM_THREADS": "1"}  # torchrun would say so; ranks set their own number of threads
    if settings.rendezvous_endpoint is None:
        command += ["--standalone"]
    else:
        address, interface = way_to(settings.rendezvous_endpoint)
        command += ["--nnodes", str(settings.nodes), "--rdzv-backend", "c10d", "--rdzv-id", RENDEZVOUS_ID]
        patience = f"join_timeout={JOIN_SECONDS},read_timeout={JOIN_SECONDS},is_host={str(has_job).lower()}"
        command += ["--rdzv-endpoint", settings.rendezvous_endpoint, "--rdzv-conf", patience]
        command += ["--local-addr", address]  # the host's name may lead others to its loopback
        environment |= dict.fromkeys(INTERFACE_VARIABLES, interface)
    rank = [sys.executable, "-P", "-m", "trainer", *rank_arguments]
    return Launch([*command, "--max-restarts", "0", "--no-python", *rank], environment)


def way_to(endpoint: str) -> tuple[str, str]:
    """This machine's address and interface on the way to `host:port`."""
    host, port = endpoint.rsplit(":", 1)
    try:
        family, kind, _, _, target = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)  # a datagram socket sends nothing; the kernel only chooses the route
            address = str(probe.getsockname()[0])
    except OSError as error:
        raise OperatorError(f"training.rendezvous_endpoint = {endpoint}: no way there: {error}") from error
    for interface, addresses in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in addresses):
            return address, interface
    raise OperatorError(f"training.rendezvous_endpoint = {endpoint}: no interface has the address {address}")


def run_ranks(launch: Launch) -> int:
    """Run torchrun to its end; SIGTERM and SIGINT reach every rank, which saves its state and leaves."""
    process = subprocess.Popen(launch.command, env={**launch.environment, **os.environ})
    stopping = False

    def pass_on(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        process.send_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    code = process.wait()
    if code == 0:
        return EXIT_FINISHED
    log.info("ranks_ended", exit_code=code, stopping=stopping)
    return EXIT_INTERRUPTED if stopping else 1
