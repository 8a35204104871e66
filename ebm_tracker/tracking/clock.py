"""Stage times: how long each step of the tracker took, frame by frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class StageClock:
    """Collects seconds by stage name when ``enabled``; otherwise costs nothing and keeps nothing."""

    def __init__(self, enabled: bool, device: torch.device) -> None:
        self.enabled, self.device = enabled, device
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the block; waits for the accelerator so that work is booked where it was asked for."""
        if not self.enabled:
            yield
            return
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
