from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_tracker.adapters.detection.candidates import BoxScheme, MixtureBoxes, UniformIouBoxes, overlaps

TRUTH = torch.tensor([[100.0, 60.0, 150.0, 140.0], [-5.0, 3.0, 395.0, 23.0]])
AT_TRUTH = 7.27286  # log q of the detection mixture at its centre (PROTOCOL 9)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def offsets(boxes: Tensor, truth: Tensor) -> Tensor:
    """From the truth (G, 4), in relative coordinates, written out."""
    boxes, truth = boxes.double(), truth.double()[:, None]
    size, own = truth[..., 2:] - truth[..., :2], boxes[..., 2:] - boxes[..., :2]
    center = (boxes[..., :2] + boxes[..., 2:]) / 2 - (truth[..., :2] + truth[..., 2:]) / 2
    return torch.cat((center / size, (own / size).log()), -1)


def iou(boxes: Tensor, truth: Tensor) -> Tensor:
    """One box at a time."""
    values = []
    for (a0, b0, a1, b1), (c0, d0, c1, d1) in zip(boxes.tolist(), truth.tolist(), strict=True):
        inter = max(min(a1, c1) - max(a0, c0), 0) * max(min(b1, d1) - max(b0, d0), 0)
        values.append(inter / ((a1 - a0) * (b1 - b0) + (c1 - c0) * (d1 - d0) - inter))
    return torch.tensor(values)


def test_mixture_log_q_is_the_density_where_the_boxes_lie() -> None:
    boxes, log_q, _ = MixtureBoxes(samples=200).draw(TRUTH, generator())
    parts = [
        (-0.5 * (offsets(boxes, TRUTH) / s).square()).exp().div(math.sqrt(2 * math.pi) * s).prod(-1)
        for s in (0.05, 0.1, 0.2)
    ]
    assert boxes.shape == (2, 200, 4) and boxes.dtype == log_q.dtype == torch.float32
    torch.testing.assert_close(log_q.double(), torch.stack(parts).mean(0).log(), atol=1e-3, rtol=1e-3)
    assert float(log_q.max()) < AT_TRUTH + 1e-4 and bool((boxes[..., 2:] > boxes[..., :2]).all())


def test_mixture_spread() -> None:
    found = offsets(MixtureBoxes(samples=60_000).draw(TRUTH, generator())[0], TRUTH)
    variance = (0.05**2 + 0.1**2 + 0.2**2) / 3
    torch.testing.assert_close(found.mean(1), torch.zeros(2, 4).double(), atol=3e-3, rtol=0)
    torch.testing.assert_close(found.square().mean(1), torch.full((2, 4), variance).double(), rtol=0.04, atol=0)
    # One spread for all four: of the narrow third nearly all have four small offsets.
    inside = (found.abs() < 0.1).all(-1).double().mean()
    expected = sum(math.erf(0.1 / s / math.sqrt(2)) ** 4 for s in (0.05, 0.1, 0.2)) / 3
    assert float(inside) == pytest.approx(expected, abs=0.006)


@pytest.fixture(scope="module")
def uniform() -> UniformIouBoxes:
    return UniformIouBoxes()


@pytest.mark.parametrize("name", ["mixture", "uniform"])
def test_what_all_schemes_share(name: str, uniform: UniformIouBoxes) -> None:
    scheme: BoxScheme = MixtureBoxes() if name == "mixture" else uniform
    drawn = scheme.draw(TRUTH, generator(1))
    assert drawn.boxes_xyxy.shape == (2, 128, 4) and drawn.log_q.shape == drawn.iou.shape == (2, 128)
    for box, boxes, values in zip(TRUTH, drawn.boxes_xyxy, drawn.iou, strict=True):
        torch.testing.assert_close(values, iou(boxes, box.expand(128, 4)), atol=1e-4, rtol=1e-4)
    again = scheme.draw(TRUTH, generator(1))
    assert all(torch.equal(a, b) for a, b in zip(drawn, again, strict=True))
    assert not torch.equal(drawn.iou, scheme.draw(TRUTH, generator(2)).iou)
    torch.manual_seed(5)
    first = scheme.draw(TRUTH)
    torch.manual_seed(5)
    assert torch.equal(first.boxes_xyxy, scheme.draw(TRUTH).boxes_xyxy)
    assert scheme.draw(TRUTH[:0]).boxes_xyxy.shape == (0, 128, 4)


def test_uniform_pool(uniform: UniformIouBoxes) -> None:
    pool = uniform.pool_xyxy
    assert pool.shape == (50_000, 4)
    torch.testing.assert_close(uniform.pool_iou, iou(pool, pool.new_tensor([[0, 0, 1, 1]]).expand_as(pool)).double())
    assert float(uniform.pool_iou.min()) > 0.5 and float(uniform.pool_iou.max()) < 1
    assert torch.equal(pool, UniformIouBoxes().pool_xyxy)
    assert not torch.equal(pool, UniformIouBoxes(seed=1).pool_xyxy)


def test_uniform_pool_has_noise_on_centre_and_sides() -> None:
    pool = UniformIouBoxes(pool=20_000, spreads=(0.02,)).pool_xyxy  # narrow enough that none is refused
    center, size = (pool[:, :2] + pool[:, 2:]) / 2, pool[:, 2:] - pool[:, :2]
    torch.testing.assert_close(center.mean(0), torch.full((2,), 0.5).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(size.mean(0), torch.ones(2).double(), atol=1e-3, rtol=0)
    both = torch.cat((center, size), 1)
    torch.testing.assert_close(both.std(0), torch.full((4,), 0.02).double(), rtol=0.03, atol=0)
    assert float((torch.corrcoef(both.T) - torch.eye(4)).abs().max()) < 0.03


def test_refused_boxes_are_drawn_again_with_nine_tenths_of_the_spread() -> None:
    """Against the procedure written out, box by box."""
    rng, values = np.random.default_rng(0), []
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    for _ in range(4000):
        spread, value = 0.4, 0.0
        while value <= 0.6:
            cx, cy, w, h = np.array([0.5, 0.5, 1, 1]) + spread * rng.standard_normal(4)
            box = torch.tensor([[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]])
            value = float(iou(box, unit)) if min(w, h) > 0 else 0.0
            spread *= 0.9
        values.append(value)
    found = UniformIouBoxes(pool=20_000, spreads=(0.4,), min_iou=0.6).pool_iou
    for share in (0.1, 0.5, 0.9):
        assert float(found.quantile(share)) == pytest.approx(float(np.quantile(values, share)), abs=0.01)


def test_every_spread_is_drawn_as_often() -> None:
    pool = UniformIouBoxes(pool=30_000, spreads=(0.0001, 0.01, 0.03)).pool_xyxy
    center = (pool[:, 0] + pool[:, 2]) / 2 - 0.5
    expected = (0.0001**2 + 0.01**2 + 0.03**2) / 3
    assert float(center.square().mean()) == pytest.approx(expected, rel=0.05)
    assert float((center.abs() < 0.0004).double().mean()) == pytest.approx(1 / 3 + 0.032 / 3 + 0.0106 / 3, abs=0.015)


def test_draws_are_even_in_iou(uniform: UniformIouBoxes) -> None:
    values = torch.cat([uniform.draw(TRUTH, generator(seed)).iou.flatten() for seed in range(400)])
    counts = torch.histc(values, 10, 0.5, 1.0) / len(values)
    # Of the 100 bins the last has no box, or few: nothing is that near.
    filled = torch.histc(uniform.pool_iou, 100, 0.5, 1.0) > 0
    expected = filled.view(10, 10).sum(1) / filled.sum()
    assert int(filled.sum()) >= 97
    torch.testing.assert_close(counts, expected.to(counts), atol=0.006, rtol=0)


def test_draws_are_the_pool_scaled(uniform: UniformIouBoxes) -> None:
    boxes = uniform.draw(TRUTH.double(), generator()).boxes_xyxy
    corner, size = TRUTH[:, None, :2].double(), (TRUTH[:, 2:] - TRUTH[:, :2])[:, None].double()
    unit = torch.cat(((boxes[..., :2] - corner) / size, (boxes[..., 2:] - corner) / size), -1)
    for row in (unit[0, 0], unit[1, 77]):
        assert float((uniform.pool_xyxy - row).abs().amax(1).min()) < 1e-9
    assert not uniform.has_density and not uniform.draw(TRUTH).log_q.any()


def test_hopeless_tries_end_near_the_truth() -> None:
    """After 100 tries of nine tenths of the spread the noise is 3e-5 of what it was."""
    pool = UniformIouBoxes(pool=50, spreads=(1000.0,), min_iou=0.9)
    assert float(pool.pool_iou.min()) > 0.9


def test_overlaps_without_area() -> None:
    assert float(overlaps(torch.zeros(4), torch.zeros(4))) == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"samples": 0}, "samples, pool and bins"),
        ({"min_iou": 1.0}, "min_iou"),
        ({"spreads": (0.1, 0.0)}, "spreads"),
        ({"spreads": ()}, "spreads"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        UniformIouBoxes(**settings)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="samples must be at least 1"):
        MixtureBoxes(samples=0)
