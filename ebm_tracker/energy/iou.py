"""Regression of the overlap with the true target: the loss that the paper compares against (ATOM, IoU-Net)."""

from __future__ import annotations

from torch import Tensor


def iou_mse(f: Tensor, iou: Tensor) -> Tensor:
    """Mean of (f - (2 IoU - 1))^2 over the candidates.

    ``f`` (..., N): outputs for N candidates; ``iou`` (..., N) in [0, 1]: their overlap with the true target.
    Returns (...). The target lies in [-1, 1] as in the code of Danelljan et al., "ATOM", CVPR 2019; the paper's
    text has the plain IoU. Here f is no log-density: it has a unit, and a constant added to it matters.
    """
    if f.shape != iou.shape:
        raise ValueError(f"f and iou must have one shape (got {tuple(f.shape)} and {tuple(iou.shape)})")
    return (f - (2 * iou - 1)).square().mean(-1)
