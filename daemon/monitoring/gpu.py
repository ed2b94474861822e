"""Memory of the NVIDIA GPUs of this machine, as nvidia-smi tells it; empty where there is none."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from utils.config.training import Training

QUERY = ["--query-gpu=index,name,memory.used,memory.total", "--format=csv,noheader,nounits"]
TIMEOUT_SECONDS = 5.0
MIB = 1 << 20
GB = 1e9


@dataclass(frozen=True, slots=True)
class GpuMemory:
    index: int
    name: str
    used_bytes: int
    total_bytes: int


def gpu_memory() -> list[GpuMemory]:
    """One entry a GPU. Takes 0.02 to 2 s (a driver that is not kept loaded), so never call it in a request's way."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        answer = subprocess.run(
            [program, *QUERY],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_nvidia_smi(answer.stdout)


def training_gpu_gb(settings: Training) -> float | None:
    """Memory (GB) of the smallest GPU that trainings may use; None when they run on the CPU."""
    sizes = [gpu.total_bytes / GB for gpu in gpu_memory()] if settings.devices != 0 else []
    return min(sizes, default=None)


def parse_nvidia_smi(text: str) -> list[GpuMemory]:
    """Lines of `index, name, used, total` in MiB; a GPU that gives no numbers ("[N/A]") is left out."""
    found = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        numbers = [fields[0], *fields[-2:]]
        if len(fields) >= 4 and all(number.isdecimal() for number in numbers):
            index, used, total = (int(number) for number in numbers)
            found.append(GpuMemory(index, ", ".join(fields[1:-2]), used * MIB, total * MIB))
    return found
