from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from ebm_tracker.boxes import xywh_to_relative
from ebm_tracker.energy import GaussianMixture

Golden = Callable[[str], dict[str, np.ndarray]]

TRACKING, POSE = (0.05, 0.5), (1.0, 20.0)
AT_CENTER = [
    (TRACKING, 4, 7.61413),
    ((0.05, 0.1, 0.2), 4, 7.27286),
    ((0.1, 0.8), 1, 0.80828),
    ((0.1, 20.0), 1, 0.69549),
    (POSE, 3, -3.44984),
]
"""Spreads, dimensions and log q at the true target: tracking, detection, the 1-D example, age, head pose."""


@pytest.mark.parametrize(("sigmas", "dims", "expected"), AT_CENTER)
def test_density_at_the_center(sigmas: Sequence[float], dims: int, expected: float) -> None:
    centers = torch.linspace(-3, 5, 2 * dims, dtype=torch.float64).reshape(2, dims)
    log_q = GaussianMixture(sigmas).log_density(centers[:, None], centers)
    assert log_q.shape == (2, 1)
    torch.testing.assert_close(log_q, torch.full_like(log_q, expected), atol=5e-6, rtol=0)


@pytest.mark.parametrize("dims", [1, 3, 4])
def test_density_is_the_mean_of_products(dims: int) -> None:
    generator = torch.Generator().manual_seed(1)
    table = torch.rand((3, dims), generator=generator, dtype=torch.float64) + 0.2
    centers = torch.randn((2, dims), generator=generator, dtype=torch.float64)
    samples = centers[:, None] + torch.randn((2, 50, dims), generator=generator, dtype=torch.float64)
    log_q = GaussianMixture(table.tolist()).log_density(samples, centers)
    components = [
        torch.distributions.Normal(centers[:, None], sigma).log_prob(samples).sum(-1).exp() for sigma in table
    ]
    torch.testing.assert_close(log_q.exp(), sum(components) / 3, rtol=1e-12, atol=0)


def test_density_integrates_to_one() -> None:
    axis = torch.linspace(-5, 5, 2001, dtype=torch.float64)
    step = float(axis[1] - axis[0])
    line = GaussianMixture((0.1, 0.8)).log_density(axis[None, :, None], torch.tensor([[0.3]]).double())
    assert float(line.exp().sum()) * step == pytest.approx(1, abs=1e-8)
    axis = axis[::5]
    plane = torch.cartesian_prod(axis, axis)[None]
    density = GaussianMixture(((0.2, 0.5), (0.7, 0.3))).log_density(plane, torch.zeros(1, 2).double()).exp()
    assert float(density.sum()) * (5 * step) ** 2 == pytest.approx(1, abs=1e-9)


def test_density_stays_finite_far_away() -> None:
    mixture = GaussianMixture(TRACKING)
    log_q = mixture.log_density(torch.full((1, 1, 4), 60.0), torch.zeros(1, 4))
    # Only the wide component counts: 4 (-(60 / 0.5)^2 / 2 - log 0.5 - log(2 pi) / 2) - log 2.
    expected = 4 * (-7200 - math.log(0.5) - 0.5 * math.log(2 * math.pi)) - math.log(2)
    assert float(log_q) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("tag", ["default", "aniso", "three", "one"])
def test_golden_densities(golden: Golden, tag: str) -> None:
    arrays = golden("c_boxes_density_loss")
    # (position, log size) spreads, each for two coordinates; written with eight digits, stored as float32.
    sigmas = np.repeat(arrays[f"sigmas_{tag}"].astype(np.float64).round(8), 2, axis=1).tolist()
    offsets = torch.from_numpy(arrays["rel_offsets"])[None]
    log_q = GaussianMixture(sigmas).log_density(offsets.double(), torch.zeros(1, 4).double())[0]
    np.testing.assert_allclose(log_q, arrays[f"logdens_{tag}"], rtol=1e-6, atol=1e-5)
    narrow = GaussianMixture(sigmas).log_density(offsets, torch.zeros(1, 4))[0]
    assert narrow.dtype is torch.float32
    np.testing.assert_allclose(narrow, arrays[f"logdens_{tag}"], rtol=1e-5, atol=1e-4)
    density = arrays[f"density_f32_{tag}"]
    safe = density > 1e-30
    np.testing.assert_allclose(log_q.exp()[safe], density[safe], rtol=1e-4)
    assert safe.sum() > 10


def test_golden_sampler_run(golden: Golden) -> None:
    """Boxes drawn by upstream, with the densities it drew them with."""
    arrays = golden("c_boxes_density_loss")
    truth = torch.from_numpy(arrays["gt_boxes"]).double()
    boxes = torch.from_numpy(arrays["sampled_boxes"]).double()[:, 1:]
    ref_wh = truth[:, 2:]
    log_q = GaussianMixture(TRACKING).log_density(
        xywh_to_relative(boxes, ref_wh[:, None]), xywh_to_relative(truth, ref_wh)
    )
    np.testing.assert_allclose(log_q, arrays["sampled_logdens_from_boxes"], rtol=1e-6, atol=2e-6)
    # Against the density of the draw itself: the boxes were rounded to float32 after it.
    np.testing.assert_allclose(log_q, np.log(arrays["sampled_density"][:, 1:]), atol=2e-3)


def test_samples_share_one_component_per_vector() -> None:
    count = 200_000
    centers = torch.tensor([[1.0, -2.0, 5.0]], dtype=torch.float64)
    samples = GaussianMixture(TRACKING).sample(centers, count, torch.Generator().manual_seed(5))
    offsets = (samples - centers[:, None])[0]
    assert samples.shape == (1, count, 3) and samples.dtype is torch.float64
    # Standard error of a mean: 0.36 / sqrt(200 000) = 8e-4.
    torch.testing.assert_close(offsets.mean(0), torch.zeros(3).double(), atol=4e-3, rtol=0)
    torch.testing.assert_close(offsets.square().mean(0), torch.full((3,), 0.12625).double(), atol=2e-3, rtol=0)
    signed, sizes = torch.corrcoef(offsets.T), torch.corrcoef(offsets.abs().T)
    mean, mean_square = 0.275, 0.12625  # of sigma and sigma^2 over the components
    shared = (2 / math.pi) * (mean_square - mean**2) / (mean_square - 2 / math.pi * mean**2)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert float(signed[i, j]) == pytest.approx(0, abs=0.015)
        assert float(sizes[i, j]) == pytest.approx(shared, abs=0.015)  # 0.41; independent components give 0
    # A vector of the narrow component has all of its coordinates within 5 * 0.05.
    assert float((offsets.abs() < 0.25).all(1).double().mean()) == pytest.approx(0.5 + 0.5 * 0.383**3, abs=0.005)


def test_samples_follow_the_density() -> None:
    """The importance-weighted mean of a function of known integral, with D = 4 and unequal spreads."""
    mixture = GaussianMixture(((0.1, 0.1, 0.3, 0.3), (0.4, 0.4, 0.8, 0.8)))
    centers = torch.tensor([[0.0, 1.0, -1.0, 2.0]], dtype=torch.float64)
    samples = mixture.sample(centers, 100_000, torch.Generator().manual_seed(6))
    target = torch.distributions.Normal(centers[:, None] + 0.05, 0.3).log_prob(samples).sum(-1)
    weights = (target - mixture.log_density(samples, centers)).exp()
    assert float(weights.mean()) == pytest.approx(1, abs=0.03)


def test_equal_seeds_give_equal_samples_and_leave_the_global_state_alone() -> None:
    mixture, centers = GaussianMixture(POSE), torch.zeros(2, 3)
    before = torch.get_rng_state()
    first = mixture.sample(centers, 7, torch.Generator().manual_seed(1))
    again = mixture.sample(centers, 7, torch.Generator().manual_seed(1))
    other = mixture.sample(centers, 7, torch.Generator().manual_seed(2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first[0], first[1]), "each row of the batch has its own draws"


@pytest.mark.parametrize("sigmas", [(), (0.1, 0.0), (-1.0,), (math.nan,), (math.inf,), ((0.1, 0.0),), (((1.0,),),)])
def test_spreads_must_be_positive(sigmas: Sequence[float]) -> None:
    with pytest.raises(ValueError, match="sigmas must be"):
        GaussianMixture(sigmas)


def test_spreads_must_fit_the_dimensions() -> None:
    mixture = GaussianMixture(((0.1, 0.2), (0.3, 0.4)))
    with pytest.raises(ValueError, match="2 dimensions, the targets have 3"):
        mixture.sample(torch.zeros(1, 3), 2)
    with pytest.raises(ValueError, match="2 dimensions, the targets have 4"):
        mixture.log_density(torch.zeros(1, 2, 4), torch.zeros(1, 4))


def test_scaled_spreads() -> None:
    narrow = GaussianMixture(((0.5, 1.0), (2.0, 4.0))).scaled(0.1)
    expected = GaussianMixture(((0.05, 0.1), (0.2, 0.4)))
    torch.testing.assert_close(narrow.sigmas, expected.sigmas, rtol=1e-15, atol=0)
    with pytest.raises(ValueError, match="sigmas must be"):
        narrow.scaled(0.0)
