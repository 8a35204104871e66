"""Which samples make which batch, and their way to the device.

Sample number i of a run belongs to step i // batch_size whatever the number of workers, processes and parts: a step of
W processes with A parts of m samples sees what one process with one part of W * A * m samples sees.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

GRACE_S = 5
"""How long a worker goes on after SIGTERM."""


@dataclass(frozen=True)
class Share:
    """What process ``rank`` of ``count`` takes of every batch of ``batch_size`` samples, in ``parts`` parts.

    Raises ValueError when the batch does not divide evenly: unequal parts would be averaged with wrong weights.
    """

    batch_size: int
    parts: int = 1
    rank: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % (self.parts * self.count):
            raise ValueError(
                f"batch_size must be a multiple of accumulation x processes = {self.parts} x {self.count} "
                f"(got {self.batch_size})"
            )

    @property
    def part_size(self) -> int:
        """Samples in one part of one process."""
        return self.batch_size // (self.parts * self.count)

    def numbers(self, step: int, part: int) -> range:
        """Numbers of the samples of a part of step ``step``, counted over the whole run."""
        start = step * self.batch_size + (part * self.count + self.rank) * self.part_size
        return range(start, start + self.part_size)


def load_batches(
    dataset: Dataset[Any], share: Share, steps: range, workers: int, seed: int, prefetch: int, pin: bool
) -> Iterable[Any]:
    """The parts of ``steps`` in order. One pass over the whole rest of the run: workers start once and stay."""
    opencv = sys.modules.get("cv2")
    if workers and opencv is not None:
        # Now and not in the workers: a fork has none of OpenCV's threads, and would wait for them to end.
        opencv.setNumThreads(1)
    return DataLoader(
        dataset,
        batch_sampler=_Order(share, steps),
        num_workers=workers,
        prefetch_factor=prefetch if workers else None,
        pin_memory=pin,
        worker_init_fn=partial(_start_worker, (seed, steps.start, share.rank)),
    )


class _Order(Sampler[list[int]]):
    def __init__(self, share: Share, steps: range) -> None:
        self.share, self.steps = share, steps

    def __len__(self) -> int:
        return len(self.steps) * self.share.parts

    def __iter__(self) -> Iterator[list[int]]:
        return (list(self.share.numbers(step, part)) for step in self.steps for part in range(self.share.parts))


def _start_worker(key: tuple[int, ...], worker: int) -> None:
    """In the new process. One thread each: the workers are the parallelism."""
    # The main process decides when to stop; terminals and torchrun signal the whole group, so let it finish its step.
    # SIGTERM may also be its last word to a worker, when it leaves after an error, and then it waits for the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):  # not on Windows
        signal.signal(signal.SIGALRM, _leave)
        signal.signal(signal.SIGTERM, _leave_soon)
    seed_everything(*key, worker)
    torch.set_num_threads(1)
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"  # for an OpenCV that is imported later


def _leave_soon(number: int, frame: FrameType | None) -> None:
    signal.alarm(GRACE_S)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(0)  # the DataLoader raises in the main process when a worker ends with anything but 0


def seed_everything(*key: int) -> None:
    """Sets the generators of Python, numpy and torch (every device) from whole numbers >= 0. Different keys give
    unrelated numbers."""
    words = np.random.SeedSequence(key).generate_state(4)
    random.seed(int(words[0]))
    np.random.seed(words[1])
    seed = int(words[2]) << 32 | int(words[3])
    # torch.manual_seed itself keeps a stack trace for each kind of device that is not in use: a millisecond and more.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def to_device(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor on ``device``: tensors in (named) tuples, lists and dicts, at any depth."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*_all_to_device(batch, device))
    if isinstance(batch, tuple | list):
        return type(batch)(_all_to_device(batch, device))
    return batch


def _all_to_device(values: Iterable[Any], device: torch.device) -> Iterator[Any]:
    return (to_device(value, device) for value in values)
