"""A run that takes milliseconds, for the tests of the loop; as a script, for those that need processes of their own.

``toy_training.py FOLDER '{"steps": 5}' [--kill_at CALL] [--slow SECONDS] [--bad SAMPLE] [--resume]``
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ebm_tracker.training.loop import LoopSettings, Training
from ebm_tracker.training.processes import joined_processes

STEPS, BATCH = 12, 4
SETTINGS = LoopSettings(
    steps=STEPS,
    batch_size=BATCH,
    learning_rate=1e-2,
    milestones=(6,),
    workers=0,
    log_every=5,
    evaluate_every=4,
    checkpoint_every=100,
    tensorboard=False,
)


class Inner(NamedTuple):
    values: Tensor


class Toy(NamedTuple):
    inner: Inner
    number: Tensor


class Numbers(Dataset[Toy]):
    """Sample i depends on i alone."""

    def __init__(self, dtype: torch.dtype = torch.float32, bad: int = -1) -> None:
        self.dtype, self.bad = dtype, bad

    def __getitem__(self, index: int) -> Toy:
        if index == self.bad:
            raise OSError(f"sample {index} cannot be read")
        generator = torch.Generator().manual_seed(index)
        return Toy(Inner(torch.randn(6, generator=generator, dtype=self.dtype)), torch.tensor(index))


class ToyStep(nn.Module):
    """A frozen layer, then what is trained. ``disturb(call, batch, losses)`` comes last, calls counted from 1."""

    def __init__(self, seed: int = 0, plain: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        middle = [nn.Tanh()] if plain else [nn.BatchNorm1d(5), nn.Dropout(0.2), nn.ReLU()]
        self.head = nn.Sequential(nn.Linear(6, 5), *middle, nn.Linear(5, 1))
        if plain:
            self.double()
        self.calls = 0
        self.disturb: Callable[[int, Toy, Tensor], Tensor] = lambda call, batch, losses: losses

    def forward(self, batch: Toy) -> Tensor:
        values = batch.inner.values
        losses = (self.head(self.frozen(values))[:, 0] - values.sum(1)).square()
        self.calls += 1
        return self.disturb(self.calls, batch, losses)


class Run:
    """A training whose model has batch norm and dropout: all the state there is."""

    def __init__(self, folder: Path, settings: LoopSettings = SETTINGS, plain: bool = False, **arguments: Any) -> None:
        self.step = ToyStep(plain=plain)
        self.evaluations: list[bool] = []
        dataset = arguments.pop("dataset", None) or Numbers(torch.float64 if plain else torch.float32)
        arguments.setdefault("evaluate", self.evaluate)
        self.training = Training(self.step, dataset, settings, folder, trained=self.step.head, **arguments)

    def evaluate(self) -> dict[str, float]:
        self.evaluations.append(self.step.training)
        return {"value": float(self.training.steps)}

    def gradients(self) -> list[Tensor]:
        return [parameter.grad.clone() for parameter in self.step.head.parameters() if parameter.grad is not None]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("settings", type=json.loads)
    parser.add_argument("--kill_at", type=int, default=0)
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--bad", type=int, default=-1, help="number of a sample that cannot be read")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(2)  # as tests/conftest.py: results are equal for equal numbers of threads

    def disturb(call: int, batch: Toy, losses: Tensor) -> Tensor:
        time.sleep(args.slow)
        if call == args.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return losses

    with joined_processes(torch.device("cpu")) as processes:
        settings = replace(SETTINGS, **args.settings)
        run = Run(args.folder, settings, processes=processes, resume=args.resume, dataset=Numbers(bad=args.bad))
        run.step.disturb = disturb
        try:
            run.training.run()
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
