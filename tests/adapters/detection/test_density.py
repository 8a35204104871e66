from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ebm_tracker.adapters.detection.coordinates import xyxy_to_relative
from ebm_tracker.adapters.detection.density import density_around, predict_density
from ebm_tracker.adapters.detection.inference import EnergyDetector
from ebm_tracker.adapters.detection.refinement import RefineSettings

_spec = importlib.util.spec_from_file_location("tiny_detector", Path(__file__).with_name("tiny_detector.py"))
assert _spec is not None and _spec.loader is not None
tiny = sys.modules.setdefault("tiny_detector", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(tiny)
IMAGE = (48, 80)  # resized by 2 in both directions
BOX = torch.tensor([20.0, 10, 60, 40])
REFERENCE = torch.tensor([80.0, 60])  # of the box in input pixels
STEPS = RefineSettings(1e-5, 1e-5, 0.5, 5)


def gaussian(std: Tensor, mean_offset: Tensor) -> EnergyDetector:
    """p(y | x) normal in coordinates relative to BOX, independent, around BOX plus an offset."""
    mean = xyxy_to_relative(2 * BOX, REFERENCE) + mean_offset
    branch = tiny.KnownBranch(
        lambda b, _: -0.5 * ((xyxy_to_relative(b, REFERENCE.to(b)) - mean.to(b)) / std.to(b)).square().sum(-1)
    )
    return EnergyDetector(tiny.tiny_detector(), branch, STEPS)


@pytest.mark.parametrize(
    "std", [(0.05, 0.05, 0.05, 0.05), (0.012, 0.03, 0.02, 0.008), (0.2, 0.1, 0.15, 0.2), (0.004, 0.004, 0.004, 0.004)]
)
def test_intervals_of_a_known_density(std: tuple[float, ...]) -> None:
    spread = torch.tensor(std)
    model = gaussian(spread, 0.5 * spread)
    generator = torch.Generator().manual_seed(0)
    # Without a reach, which would cut the widest of these densities at two standard deviations.
    found = predict_density(model, tiny.image(*IMAGE), BOX, 1, 0.9, reach=None, samples=12_000, generator=generator)
    assert found.effective > 1000
    z = 1.6449
    mean = torch.tensor([40, 25, math.log(40), math.log(30)]) + 0.5 * spread * torch.tensor([40.0, 30, 1, 1])
    half = z * spread * torch.tensor([40.0, 30, 1, 1])
    expected = torch.stack((mean - half, mean + half), dim=1)
    expected[2:] = expected[2:].exp()  # quantiles of w from those of log w
    off = (found.center_and_size - expected).abs() / (spread * torch.tensor([40.0, 30, 40, 30]))[:, None]
    assert off.max() < 0.15  # standard deviations
    # An edge is cx - w / 2, nearly normal for small spreads.
    width = 40 * math.exp(0.5 * std[2])
    edge = 40 * math.hypot(std[0], 0.5 * std[2] * width / 40)
    assert float(found.std_xyxy[0]) == pytest.approx(edge, rel=0.15)
    inside = (found.boxes_xyxy >= found.edges[:, 0]) & (found.boxes_xyxy <= found.edges[:, 1])
    torch.testing.assert_close(found.weights @ inside.float(), torch.full((4,), 0.9), rtol=0, atol=0.02)
    assert (found.edges[:, 0] < found.mean_xyxy).all() and (found.mean_xyxy < found.edges[:, 1]).all()


def test_the_cdf_of_a_known_density() -> None:
    model = gaussian(torch.full((4,), 0.05), torch.zeros(4))
    generator = torch.Generator().manual_seed(1)
    found = predict_density(model, tiny.image(*IMAGE), BOX, 1, samples=8000, generator=generator)
    edge = 40 * math.hypot(0.05, 0.025)  # x0 = cx - w / 2, nearly normal
    torch.testing.assert_close(found.cdf(BOX)[0], torch.tensor(0.5).double(), rtol=0, atol=0.03)
    shifted = BOX + torch.tensor([edge, -1000.0, 1000.0, 0])
    assert found.cdf(shifted).tolist() == pytest.approx([0.8413, 0, 1, 0.5], abs=0.03)


def test_nothing_lies_beyond_the_reach() -> None:
    """Of an f that is the same everywhere: cx / w0 is then even within it."""
    branch = tiny.KnownBranch(lambda boxes, _: 0 * boxes.sum(-1))
    pyramid = tiny.tiny_detector().pyramid([tiny.image(*IMAGE)])
    generator = torch.Generator().manual_seed(2)
    found = density_around(
        branch.of_image(pyramid), pyramid, 2 * BOX[None], 1, 0.8, reach=0.3, samples=20_000, generator=generator
    )
    centers = 0.5 * (found.boxes_xyxy[:, 0] + found.boxes_xyxy[:, 2])
    beyond = (centers - 40).abs() > 0.3 * 40 + 1e-3
    assert beyond.any() and float(found.weights[beyond].sum()) == 0
    low, high = found.center_and_size[0].tolist()
    assert (low, high) == pytest.approx((40 - 0.8 * 0.3 * 40, 40 + 0.8 * 0.3 * 40), abs=0.7)


def test_a_wider_level_is_a_wider_interval_and_a_seed_gives_the_same() -> None:
    model = gaussian(torch.full((4,), 0.05), torch.zeros(4))
    edges = []
    for level in (0.5, 0.9, 0.9):
        generator = torch.Generator().manual_seed(4)
        edges.append(predict_density(model, tiny.image(*IMAGE), BOX, 1, level, generator=generator).edges)
    assert (edges[1][:, 1] > edges[0][:, 1]).all() and (edges[1][:, 0] < edges[0][:, 0]).all()
    assert torch.equal(edges[1], edges[2])


def test_bad_arguments_are_named() -> None:
    model = gaussian(torch.full((4,), 0.05), torch.zeros(4))
    image = tiny.image(*IMAGE)
    with pytest.raises(ValueError, match="level"):
        predict_density(model, image, BOX, 1, 1.0)
    with pytest.raises(ValueError, match="box_xyxy"):
        predict_density(model, image, torch.tensor([5.0, 5, 5, 9]), 1)
    with pytest.raises(ValueError, match="box_xyxy"):
        predict_density(model, image, BOX[None], 1)
    with pytest.raises(ValueError, match="samples"):
        predict_density(model, image, BOX, 1, samples=3)
