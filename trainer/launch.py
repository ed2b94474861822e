"""How the processes of one training are started: one alone, or several by torchrun, on one machine or on many.

`python -P -m trainer --job FOLDER` is what the daemon starts in every case. When the settings ask for more than one
process it becomes the parent of torchrun, passes signals on, and ends with the exit code that the daemon understands.
Imports no torch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from utils.config_training import Training as Settings
from utils.job_protocol import EXIT_FINISHED, EXIT_INTERRUPTED
from utils.logs import get_logger

log = get_logger(__name__)

RENDEZVOUS_ID = "exposr-trainer"
JOIN_SECONDS = 3600  # how long a machine waits at the rendezvous for the others


def gpu_count() -> int:
    """GPUs of this machine that this process may use, as the driver shows them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def is_rank() -> bool:
    """This process was started by torchrun."""
    return "RANK" in os.environ


def torchrun_command(settings: Settings, folder: Path) -> list[str] | None:
    """What starts the ranks of this machine; None when one process without torchrun is enough."""
    gpus = gpu_count()
    processes = max(1, gpus if settings.devices is None else min(settings.devices, gpus))
    wanted = settings.launch == "torchrun" or (settings.launch == "auto" and (processes > 1 or settings.nodes > 1))
    if not wanted:
        return None
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    if settings.rendezvous_endpoint is None:
        command += ["--standalone"]
    else:
        command += ["--nnodes", str(settings.nodes), "--rdzv-backend", "c10d", "--rdzv-id", RENDEZVOUS_ID]
        command += ["--rdzv-endpoint", settings.rendezvous_endpoint, "--rdzv-conf", f"join_timeout={JOIN_SECONDS}"]
    return [*command, "--max-restarts", "0", "--no-python", sys.executable, "-P", "-m", "trainer", "--job", str(folder)]


def run_ranks(command: list[str]) -> int:
    """Run torchrun to its end; SIGTERM and SIGINT reach every rank, which saves its state and leaves."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ}  # torchrun would say so; ranks set their own number of threads
    process = subprocess.Popen(command, env=environment)
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
