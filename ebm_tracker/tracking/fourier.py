"""Upsampling of score maps by trigonometric interpolation.

A score map is read as one period of a band-limited signal, which makes the upsampled map linear in the scores
and separable: ``rows @ scores @ columns.T`` with two small real matrices that depend on the sizes alone. They
are computed once per tracker, so that a frame costs two matrix products instead of two FFTs.

Index convention: value ``m`` of an upsampled axis of length ``M`` is the interpolant at index ``m * n / M``
of the ``n`` scores. Zero displacement sits at index ``n / 2`` of the scores, hence at ``M / 2`` of the
upsampled map.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def interpolation_matrix(size: int, output_size: int, *, upstream_compat: bool = False) -> Tensor:
    """Matrix of the trigonometric interpolation from `size` periodic samples to `output_size` points.

    For even `size` the frequency `size / 2` is shared equally between its two signs, which is the real
    interpolant of least energy and passes through the samples.

    Args:
        size: number of samples, at least 1.
        output_size: number of equally spaced points over the same period, at least 1.
        upstream_compat: give both signs of the frequency `size / 2` full weight, as pytracking does. The
            result then misses the samples by their content at that frequency.

    Returns:
        Matrix (output_size, size), float64 on the CPU.

    Raises:
        ValueError: if a size is not positive.
    """
    if size < 1 or output_size < 1:
        raise ValueError(f"size and output_size must be positive, received {size} and {output_size}")
    points = torch.arange(output_size, dtype=torch.float64) * (size / output_size)
    offset = points[:, None] - torch.arange(size, dtype=torch.float64)  # (output_size, size)
    kernel = torch.ones_like(offset)
    for frequency in range(1, (size - 1) // 2 + 1):
        kernel += 2.0 * torch.cos(2.0 * math.pi * frequency / size * offset)
    if size % 2 == 0:
        kernel += (2.0 if upstream_compat else 1.0) * torch.cos(math.pi * offset)
    return kernel / size


class ScoreUpsampler:
    """Trigonometric interpolation between two fixed map sizes.

    Args:
        score_hw: height and width of the score maps in cells.
        output_hw: height and width of the upsampled maps in pixels.
        upstream_compat: count the Nyquist row and column twice, see `interpolation_matrix`.
        device: where the maps are.
        dtype: floating type of the maps.
    """

    def __init__(
        self,
        score_hw: tuple[int, int],
        output_hw: tuple[int, int],
        *,
        upstream_compat: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.score_hw = score_hw
        self.output_hw = output_hw
        rows = interpolation_matrix(score_hw[0], output_hw[0], upstream_compat=upstream_compat)
        columns = interpolation_matrix(score_hw[1], output_hw[1], upstream_compat=upstream_compat)
        self._rows = rows.to(device=device, dtype=dtype)  # (H, h)
        self._columns = columns.t().contiguous().to(device=device, dtype=dtype)  # (w, W)

    def __call__(self, scores: Tensor) -> Tensor:
        """Upsample score maps (..., h, w) to (..., H, W).

        Raises:
            ValueError: if the maps do not have the size given to the constructor.
        """
        if tuple(scores.shape[-2:]) != self.score_hw:
            raise ValueError(f"scores must end in {self.score_hw}, received shape {tuple(scores.shape)}")
        return self._rows @ (scores @ self._columns)


def upsample_scores(scores: Tensor, output_hw: tuple[int, int], *, upstream_compat: bool = False) -> Tensor:
    """Upsample score maps (..., h, w) once; keep a `ScoreUpsampler` where many maps share a size.

    Args:
        scores: maps (..., h, w), zero displacement at index (h / 2, w / 2).
        output_hw: height and width of the result in pixels.
        upstream_compat: count the Nyquist row and column twice, see `interpolation_matrix`.

    Returns:
        Maps (..., H, W) with zero displacement at index (H / 2, W / 2).
    """
    upsampler = ScoreUpsampler(
        (scores.shape[-2], scores.shape[-1]),
        output_hw,
        upstream_compat=upstream_compat,
        device=scores.device,
        dtype=scores.dtype,
    )
    return upsampler(scores)
