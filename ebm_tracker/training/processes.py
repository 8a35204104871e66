"""The processes of one training run, as torchrun starts them: who am I, what do all of us agree on.

``torchrun --nproc_per_node 4 -m MODULE`` puts RANK, WORLD_SIZE, LOCAL_RANK and the meeting point into the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

Result = TypeVar("Result")

TIMEOUT = timedelta(hours=2)
"""The others wait this long for process 0, which evaluates alone."""


@dataclass(frozen=True)
class Processes:
    """``rank`` of ``count`` processes, ``local_rank`` on this machine. The default is a run of one process, for which
    every method is the identity."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Processes:
        """What torchrun says; one process without it. Raises ValueError when only a part of it is there."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        present = [name for name in names if name in environment]
        if not present:
            return cls()
        try:
            return cls(*(int(environment[name]) for name in names))
        except (KeyError, ValueError):
            found = ", ".join(f"{name}={environment[name]}" for name in present)
            raise ValueError(f"torchrun sets {', '.join(names)} to whole numbers (got {found})") from None

    @property
    def is_first(self) -> bool:
        """The one that writes, prints and evaluates."""
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """The GPU of this process where ``device`` is CUDA and there are several processes, else ``device``."""
        return torch.device("cuda", self.local_rank) if device.type == "cuda" and self.count > 1 else device

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """``module`` with gradients averaged over the processes."""
        if self.count == 1:
            return module
        return DistributedDataParallel(module, device_ids=[device] if device.type == "cuda" else None)

    def sum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Sum over the processes, the same on all of them."""
        if self.count == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def gather(self, value: Result) -> list[Result]:
        """The values of all processes in order of rank, on all of them. Anything that pickles; for rare use."""
        if self.count == 1:
            return [value]
        gathered: list[Any] = [None] * self.count
        distributed.all_gather_object(gathered, value)
        return gathered

    def from_first(self, make: Callable[[], Result]) -> Result:
        """What ``make`` returns or raises on process 0, on all of them; the others wait."""
        if self.count == 1:
            return make()
        answer: list[Any] = [None, None]
        if self.is_first:
            try:
                answer[0] = make()
            except Exception as error:
                answer[1] = error
        distributed.broadcast_object_list(answer)
        if answer[1] is not None:
            raise answer[1]
        result: Result = answer[0]
        return result

    def barrier(self) -> None:
        """Returns when all are here."""
        self.from_first(lambda: None)


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """Joins the processes that torchrun started (NCCL between GPUs, gloo between CPUs) and leaves them at the end.

    Without torchrun it does nothing and gives a run of one process.
    """
    processes = Processes.from_environment()
    if processes.count == 1:
        yield processes
        return
    if device.type == "cuda":
        torch.cuda.set_device(processes.device(device))
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield processes
    finally:
        distributed.destroy_process_group()
