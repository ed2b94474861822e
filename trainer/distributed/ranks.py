"""One process or several: Accelerate where torchrun started us, plain PyTorch otherwise, behind one seam."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
from torch import Tensor

from utils.config.training import Training as Settings

T = TypeVar("T")

PATIENCE = timedelta(hours=12)  # the other ranks wait while the first one evaluates


@dataclass(frozen=True, slots=True)
class Ranks:
    """`number` of `count` processes that train together; `main` is the one that has the job and reports on it."""

    number: int
    count: int
    main: int
    device: torch.device

    @classmethod
    def start(cls, settings: Settings, *, has_job: bool) -> Ranks:
        """Join the other ranks, if torchrun says there are any, and take this rank's device and threads."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        on_host = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(max(1, min(settings.threads or cores, cores) // on_host))
        on_cpu = settings.devices == 0 or not torch.cuda.is_available()
        if count == 1:
            return cls(0, 1, 0, torch.device("cpu" if on_cpu else "cuda"))
        from accelerate import Accelerator  # a second to import, and only needed here
        from accelerate.utils import InitProcessGroupKwargs

        accelerator = Accelerator(cpu=on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])
        # a rendezvous gives out numbers as machines arrive, so the first rank need not be where the job is
        jobs: list[bool] = [False] * count
        torch.distributed.all_gather_object(jobs, has_job)
        return cls(accelerator.process_index, count, jobs.index(True), accelerator.device)

    @property
    def is_main(self) -> bool:
        return self.number == self.main

    def share(self, value: T | None) -> T:
        """The main rank's `value`, on every rank."""
        if self.count == 1:
            return cast("T", value)
        from accelerate.utils import broadcast_object_list

        return cast("T", broadcast_object_list([value], from_process=self.main)[0])

    def gather(self, value: T) -> list[T]:
        """Each rank's `value`, on every rank, in their order."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        return cast("list[T]", gather_object([value]))

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, in one message."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def wait(self) -> None:
        if self.count > 1:
            torch.distributed.barrier()

    def leave(self) -> None:
        if self.count > 1:
            torch.distributed.destroy_process_group()
