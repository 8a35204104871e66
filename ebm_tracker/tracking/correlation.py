"""Correlation of many samples with a kernel of one output channel, as matrix products.

With one output channel a convolution routine has little to reuse. Here the K channels are first contracted
with all k*k taps at once, one product ``(k*k, K) @ (K, pixels)`` per sample, and the k*k resulting maps are
then moved into place and added. The adjoint moves k*k copies of a map and contracts them with the samples. On
two CPU cores this is several times as fast as `torch.nn.functional.conv2d`.
"""

from __future__ import annotations

import torch
from torch import Tensor


class TapCorrelation:
    """Zero-padded "same" correlation with a fixed stack of samples, and its adjoint.

    Output cell i looks at the inputs ``i - k // 2 ... i - k // 2 + k - 1``; for an even kernel this is
    padding by ``k / 2`` with the last row and column dropped.

    Args:
        samples: (N, K, h, w); not copied if contiguous.
        kernel_size: side k of the square kernels.
    """

    def __init__(self, samples: Tensor, kernel_size: int) -> None:
        self._count, self._channels, self._height, self._width = samples.shape
        self._kernel_size = kernel_size
        # Samples of a channels-last network would reshape to a view that the products read more slowly.
        self._pixels = samples.reshape(self._count, self._channels, -1).contiguous()

    def forward(self, taps: Tensor) -> Tensor:
        """Correlate all samples with one kernel.

        Args:
            taps: kernel (k * k, K), taps in row-major order.

        Returns:
            Maps (N, h, w).
        """
        k = self._kernel_size
        maps = torch.bmm(taps.expand(self._count, k * k, self._channels), self._pixels)
        maps = maps.view(self._count, k, k, self._height, self._width)
        return _shift_sum(_shift_sum(maps, taps_dim=2, axis=-1), taps_dim=1, axis=-2)

    def adjoint(self, maps: Tensor) -> Tensor:
        """Adjoint of `forward`: from maps (N, h, w) to taps (k * k, K)."""
        k, height, width = self._kernel_size, self._height, self._width
        before, after = k - 1 - k // 2, k // 2
        padded = torch.nn.functional.pad(maps, (before, after, before, after))
        sample, row, column = padded.stride()
        # Window (a, b) is the map as the tap (k-1-a, k-1-b) meets it: flipping the small result undoes that.
        windows = padded.as_strided((self._count, k, k, height, width), (sample, row, column, row, column))
        windows = windows.reshape(self._count, k * k, height * width)
        return torch.bmm(windows, self._pixels.transpose(1, 2)).sum(0).flip(0)


def _shift_sum(maps: Tensor, taps_dim: int, axis: int) -> Tensor:
    """Sum over the k taps in `taps_dim`, tap a moved by ``k // 2 - a`` cells along `axis`, zeros moving in.

    `axis` counts from the end. Rows and columns in turn take 2 k additions instead of k * k.
    """
    count, size = maps.shape[taps_dim], maps.shape[axis]
    center = count // 2
    total = maps.select(taps_dim, center).clone()
    for tap in range(count):
        offset = tap - center  # output cell i takes input cell i + offset
        length = size - abs(offset)
        if offset != 0 and length > 0:
            moved = maps.select(taps_dim, tap).narrow(axis, max(offset, 0), length)
            total.narrow(axis, max(-offset, 0), length).add_(moved)
    return total
