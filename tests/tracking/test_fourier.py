from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_tracker.tracking.fourier import ScoreUpsampler, interpolation_matrix, upsample_scores

Golden = Callable[[str], dict[str, np.ndarray]]


def direct_interpolant(scores: Tensor, row: float, column: float, nyquist_weight: float) -> float:
    """The interpolant at one point by its definition: a DFT and a sum over all frequency pairs."""
    height, width = scores.shape
    spectrum = torch.fft.fft2(scores)
    total = 0.0
    for k in range(-(height // 2), height // 2 + 1):
        for j in range(-(width // 2), width // 2 + 1):
            weight = (nyquist_weight if 2 * abs(k) == height else 1.0) * (
                nyquist_weight if 2 * abs(j) == width else 1.0
            )
            angle = 2 * math.pi * (k * row / height + j * column / width)
            total += (
                weight
                * (complex(spectrum[k % height, j % width]) * complex(math.cos(angle), math.sin(angle))).real
            )
    return total / (height * width)


@pytest.mark.parametrize("upstream_compat", [False, True])
@pytest.mark.parametrize("shape", [(6, 8), (5, 6), (5, 7)])
def test_matches_a_direct_sum_over_frequencies(shape: tuple[int, int], upstream_compat: bool) -> None:
    scores = torch.randn(shape, dtype=torch.float64)
    output_hw = (4 * shape[0], 3 * shape[1])
    upsampled = upsample_scores(scores, output_hw, upstream_compat=upstream_compat)
    assert tuple(upsampled.shape) == output_hw
    for row, column in [(0, 0), (1, 2), (7, 11), (output_hw[0] - 1, output_hw[1] - 1)]:
        expected = direct_interpolant(scores, row / 4, column / 3, 1.0 if upstream_compat else 0.5)
        assert upsampled[row, column].item() == pytest.approx(expected, abs=1e-12)


def test_passes_through_the_samples() -> None:
    scores = torch.randn(3, 18, 18, dtype=torch.float64)
    upsampled = upsample_scores(scores, (288, 288))
    torch.testing.assert_close(upsampled[:, ::16, ::16], scores, atol=1e-12, rtol=0)


def test_is_exact_for_a_band_limited_signal() -> None:
    def signal(x: Tensor) -> Tensor:
        return 0.3 + torch.cos(2 * math.pi * 2 * x / 18 + 0.7) + 0.5 * torch.sin(2 * math.pi * 8 * x / 18)

    cells = torch.arange(18, dtype=torch.float64)
    pixels = torch.arange(288, dtype=torch.float64) / 16
    torch.testing.assert_close(
        interpolation_matrix(18, 288) @ signal(cells), signal(pixels), atol=1e-12, rtol=0
    )


def test_the_centre_of_the_scores_lands_in_the_centre_of_the_map() -> None:
    scores = torch.zeros(18, 18)
    scores[9, 9] = 1.0
    upsampled = upsample_scores(scores, (288, 288))
    assert divmod(int(upsampled.argmax()), 288) == (144, 144)


def test_golden_upstream_map(golden: Golden) -> None:
    arrays = golden("e_score_interpolation")
    raw = torch.from_numpy(arrays["raw"]).double()
    upsampled = upsample_scores(raw, (288, 288), upstream_compat=True)
    expected = torch.from_numpy(arrays["upsampled"]).double()
    # Upstream interpolates in float32; 4e-6 is its rounding.
    torch.testing.assert_close(upsampled[:, ::2, ::2], expected, atol=1e-5, rtol=0)
    for maps, index, value in zip(upsampled, arrays["argmax"], arrays["maxval"], strict=True):
        assert divmod(int(maps.argmax()), 288) == tuple(index)
        assert maps.max().item() == pytest.approx(float(value), abs=1e-5)


def test_golden_map_of_a_smooth_response_is_the_same_without_the_double_count(golden: Golden) -> None:
    arrays = golden("e_score_interpolation")
    smooth = torch.from_numpy(arrays["raw"])[1].double()
    expected = torch.from_numpy(arrays["upsampled"])[1].double()
    torch.testing.assert_close(upsample_scores(smooth, (288, 288))[::2, ::2], expected, atol=5e-5, rtol=0)


def test_upsampler_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(18, 18\)"):
        ScoreUpsampler((18, 18), (288, 288))(torch.zeros(17, 18))


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        interpolation_matrix(0, 4)
