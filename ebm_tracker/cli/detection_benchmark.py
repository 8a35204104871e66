"""One run of ``ebm speed --of detection``: refinement of an image's boxes, in closed form and by autograd."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ebm_tracker.adapters.detection.base import Pyramid
from ebm_tracker.adapters.detection.branch import AutogradImageEnergy, ConfidenceBranch, TwoLayers
from ebm_tracker.adapters.detection.refinement import OURS, refine_boxes
from ebm_tracker.build import choose_device
from ebm_tracker.cli.benchmark import machine_facts, machine_text, write_figures

COUNTS = (25, 50, 100, 200, 400)
SIZE_HW = (800, 1088)
STRIDES = (4, 8, 16, 32)
CHANNELS, HIDDEN, CLASSES = 256, 1024, 91
REPEATS = 5


@dataclass(frozen=True)
class DetectionReport:
    """``seconds``: of 10 steps for each of the ``boxes``, medians of alternating runs; ``autograd_seconds``: the same
    steps by autograd; ``ratios``: medians of autograd / ours, pair by pair."""

    device: str
    threads: int
    machine: dict[str, str]
    boxes: tuple[int, ...]
    seconds: tuple[float, ...]
    autograd_seconds: tuple[float, ...]
    ratios: tuple[float, ...]


def run_detection_benchmark(args: argparse.Namespace) -> int:
    """Measures as the arguments of ``ebm speed`` say; returns 0."""
    torch.set_num_threads(args.threads)
    report = measure(choose_device(args.device), COUNTS)
    title = f"Refinement of one image's boxes: {OURS.steps} steps, an image of {SIZE_HW[1]} x {SIZE_HW[0]} pixels"
    table = Table(title=title)
    for heading in ("boxes", "seconds", "ms per box", "by autograd", "ratio"):
        table.add_column(heading, justify="right")
    for count, ours, other, ratio in zip(
        report.boxes, report.seconds, report.autograd_seconds, report.ratios, strict=True
    ):
        table.add_row(str(count), f"{ours:.3f}", f"{1e3 * ours / count:.1f}", f"{other:.3f}", f"{ratio:.1f}x")
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{report.device}, {report.threads} threads; {machine_text(report.machine)}")
    write_figures(args.json, asdict(report))
    return 0


def measure(device: torch.device, counts: tuple[int, ...], repeats: int = REPEATS) -> DetectionReport:
    """Random maps and weights of the paper's sizes: 256 channels, two layers of 1,024, torchvision's 91 outputs."""
    torch.manual_seed(0)
    height, width = SIZE_HW
    maps = {
        str(number): torch.randn(1, CHANNELS, height // stride, width // stride, device=device)
        for number, stride in enumerate(STRIDES)
    }
    pyramid = Pyramid(maps, tuple(maps), STRIDES, (SIZE_HW,), (SIZE_HW,), SIZE_HW)
    branch = ConfidenceBranch(TwoLayers(CHANNELS, hidden=HIDDEN), HIDDEN, CLASSES).to(device).eval()
    nn.init.normal_(branch.readout.weight, std=0.05)  # with first weights every gradient is next to nothing
    energies = (branch.of_image(pyramid), AutogradImageEnergy(branch, pyramid, 0))
    rows = []
    for count in counts:
        boxes, labels = _boxes(count, device)
        pairs = []
        for turn in range(repeats + 1):
            pair = [_timed(partial(refine_boxes, energy, boxes, labels), device) for energy in energies]
            if turn:  # the first one warms up
                pairs.append(pair)
        times = np.array(pairs)
        rows.append((*np.median(times, 0).tolist(), float(np.median(times[:, 1] / times[:, 0]))))
    columns = tuple(zip(*rows, strict=True))
    return DetectionReport(str(device), torch.get_num_threads(), machine_facts(torch.__version__), counts, *columns)


def _boxes(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) within the image with sides of 15 to 365 pixels, evenly in their logarithm, and labels (N,)."""
    generator = torch.Generator().manual_seed(1)
    height, width = SIZE_HW
    size = (torch.rand(count, 2, generator=generator) * 3.2 + 2.7).exp()
    center = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    corners = torch.cat((center - size / 2, center + size / 2), 1)
    corners = corners.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    labels = torch.randint(1, CLASSES, (count,), generator=generator)
    return corners.to(device), labels.to(device)


def _timed(work: Callable[[], Any], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
