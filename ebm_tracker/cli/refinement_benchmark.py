"""Times the box refinement alone, against the obvious way to write it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from ebm_tracker.boxes import relative_to_xywh, xywh_to_relative
from ebm_tracker.cli.benchmark import RefinementTime
from ebm_tracker.energy import Acceptance, ascend, autograd_value_and_grad
from ebm_tracker.models import BoxEnergy
from ebm_tracker.tracking import RefinementSettings, Tracker
from ebm_tracker.tracking.refinement import refine, start_boxes

STEP = 1e-6  # hardly moving: on noise images real steps could carry boxes off


def time_refinement(tracker: Tracker, runs: int = 31) -> RefinementTime:
    """Ten boxes by ten steps on the features of a random image, both ways in turn."""
    network, device = tracker.network, tracker.device
    head = network.head
    generator = torch.Generator().manual_seed(0)
    size = tracker.config.crop_size
    box = torch.tensor([0.4 * size, 0.4 * size, 0.2 * size, 0.2 * size], device=device)
    settings = RefinementSettings(boxes=10, steps=10, step_length=(STEP, STEP))
    boxes = start_boxes(box, settings, generator)
    with torch.no_grad():
        features = network.features(255 * torch.rand((1, 3, size, size), generator=generator).to(device))
        modulation, maps = head.modulation(features, box[None]), head.maps(features)
    ref_wh = boxes[:1, 2:]

    def energies(boxes_rel: Tensor) -> Tensor:
        return head.energies(maps, modulation, relative_to_xywh(boxes_rel, ref_wh)[None])[0]

    def plain() -> None:
        start = xywh_to_relative(boxes, ref_wh)
        gradient = autograd_value_and_grad(energies)
        ascend(gradient, start, step_length=STEP, steps=10, acceptance=Acceptance.ALWAYS)

    frame = BoxEnergy(head, modulation).frame(maps)
    ours, autograd = [], []
    for _ in range(runs):
        ours.append(_milliseconds(lambda: refine(frame, boxes, settings), device))
        autograd.append(_milliseconds(plain, device))
    ratios = [slow / fast for slow, fast in zip(autograd, ours, strict=True)]
    return RefinementTime(statistics.median(ours), statistics.median(autograd), statistics.median(ratios))


def _milliseconds(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - start)
