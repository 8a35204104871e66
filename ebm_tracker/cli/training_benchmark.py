"""Times one training step of the paper's head: forward, backward and Adam, with and without its frozen backbone."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import default_collate

from ebm_tracker.build import choose_device
from ebm_tracker.cli.benchmark import machine_facts, machine_text, write_figures
from ebm_tracker.models import BACKBONES, EnergyHead, EnergyNetwork, HeadChannels, build_backbone
from ebm_tracker.training.batches import to_device
from ebm_tracker.training.objective import PRECISIONS, Objective, TrainingStep, build_objective
from ebm_tracker.training.pairs import Pair
from ebm_tracker.training.sample import Sample

AREA_FACTOR, CENTER_JITTER, SCALE_JITTER = 5.0, 4.5, 0.5
"""How large boxes are in their crops, and how far off (PROTOCOL 4.2)."""


@dataclass(frozen=True)
class StepTime:
    """Medians over steps, in seconds.

    Attributes:
        precision: of the convolutions.
        step: the whole step, from images to changed weights.
        backbone: what the features of the 2 B images take of it.
        pairs: B.
        device: that it ran on.
    """

    precision: str
    step: float
    backbone: float
    pairs: int
    device: str = "cpu"

    @property
    def head_per_pair(self) -> float:
        """Seconds per pair when the features are given."""
        return (self.step - self.backbone) / self.pairs

    @property
    def step_per_pair(self) -> float:
        """Seconds per pair, backbone included."""
        return self.step / self.pairs


def run_training_benchmark(args: argparse.Namespace) -> int:
    """``ebm speed --of training``; returns 0."""
    torch.set_num_threads(args.threads)
    times = time_training_steps(device=str(choose_device(args.device)))
    machine = machine_facts(torch.__version__)
    console = Console(highlight=False)
    print_training_report(console, times)
    console.print(machine_text(machine))
    rows = [{**asdict(row), "head_per_pair": row.head_per_pair} for row in times]
    write_figures(args.json, {"machine": machine, "threads": args.threads, "steps": rows})
    return 0


def time_training_steps(
    precisions: Sequence[str] = ("float32", "bfloat16"),
    pairs: int = 16,
    runs: int = 7,
    backbone: str = "resnet18",
    crop_size: int = 288,
    channels: HeadChannels | None = None,
    device: str = "cpu",
) -> list[StepTime]:
    """Steps of maximum likelihood (129 boxes a pair) on random images, all precisions in turn, ``runs`` times.

    Weights are random, boxes as large and as far off as in training. ``channels``: the paper's for the backbone
    unless given.
    """
    torch.manual_seed(0)
    channels = channels or HeadChannels(BACKBONES[backbone].channels)
    network = EnergyNetwork(build_backbone(backbone, folded=True), EnergyHead(channels))
    network = network.to(device).to(memory_format=torch.channels_last)
    objective = build_objective("nll")
    sample = to_device(random_sample(objective, pairs, crop_size), torch.device(device))
    images = torch.cat((sample.pair.reference_image, sample.pair.test_image))
    steps = {precision: TrainingStep(network, objective, precision).train() for precision in precisions}
    optimizer = torch.optim.Adam(network.head.parameters(), lr=1e-3)

    def update(step: TrainingStep) -> None:
        loss = step(sample).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def features(precision: str) -> None:
        with torch.autocast(images.device.type, PRECISIONS[precision], enabled=precision != "float32"):
            network.features(images)

    seconds: dict[str, list[tuple[float, float]]] = {precision: [] for precision in precisions}
    for run in range(runs + 1):
        for precision, step in steps.items():
            start = _now(device)
            update(step)
            between = _now(device)
            features(precision)
            if run > 0:  # the first one allocates and chooses kernels
                seconds[precision].append((between - start, _now(device) - between))
    times = []
    for precision, rows in seconds.items():
        whole, of_backbone = (statistics.median(column) for column in zip(*rows, strict=True))
        times.append(StepTime(precision, whole, of_backbone, pairs, device))
    return times


def random_sample(objective: Objective, pairs: int, crop_size: int, seed: int = 0) -> Sample:
    """A batch of noise images with boxes of realistic sizes and places."""
    rng = np.random.default_rng(seed)
    base = crop_size / AREA_FACTOR
    wh = base * np.exp(SCALE_JITTER * rng.standard_normal((pairs, 2)))
    centers = crop_size / 2 + base * CENTER_JITTER * rng.uniform(-0.5, 0.5, (pairs, 2))
    truth = torch.from_numpy(np.concatenate((centers - wh / 2, wh), axis=1)).float()
    centered = torch.tensor([(crop_size - base) / 2] * 2 + [base] * 2).expand(pairs, 4)
    images = torch.from_numpy(rng.integers(0, 256, (2, pairs, 3, crop_size, crop_size), np.uint8))
    candidates = default_collate([objective.scheme.draw(box, rng) for box in truth])
    return Sample(Pair(images[0], centered, images[1], truth), candidates, torch.arange(pairs))


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()
    return time.perf_counter()


def print_training_report(console: Console, times: Sequence[StepTime]) -> None:
    """A row for each precision."""
    first, threads = times[0], torch.get_num_threads()
    table = Table(title=f"one training step on {first.device}, {first.pairs} pairs x 129 boxes, {threads} threads")
    for heading in ("convolutions in", "step, s", "of it backbone, s", "head, s per pair", "all, s per pair"):
        table.add_column(heading, justify="left" if heading == "convolutions in" else "right")
    for row in times:
        figures = (row.step, row.backbone, row.head_per_pair, row.step_per_pair)
        table.add_row(row.precision, *(f"{value:.3f}" for value in figures))
    console.print(table)
