"""Frames as callers have them -> frames as the package wants them: (H, W, 3) uint8, RGB."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

RgbFrame = NDArray[np.uint8]
"""(H, W, 3) uint8, RGB, C-contiguous."""

COLOR_ORDERS = ("rgb", "bgr")
_CHANNELS = (1, 3, 4)
# Interpolation and video decoders overshoot 0..1 by rounding errors; a frame in 0..255 overshoots by far
# more.
_FLOAT_SLACK = 1e-6


def to_rgb_uint8(frame: Any, color: str = "rgb") -> RgbFrame:
    """The frame as (H, W, 3) uint8 RGB in C order. The one place where frames are converted.

    ============================  =========================================================================
    what comes                    what is done
    ============================  =========================================================================
    uint8                         taken as it is; no copy when shape, order and memory layout are right
    uint16                        divided by 257 and rounded: 0..65535 -> 0..255
    float16, float32, float64     must be finite and in 0..1 (slack 1e-6); times 255 and rounded
    bool, other integers, object  ValueError
    (H, W), (H, W, 1)             gray, copied to the three channels
    (H, W, 3)                     in the order that ``color`` names
    (H, W, 4)                     alpha is dropped, the other three in the order that ``color`` names
    torch tensor                  any device, (H, W), (H, W, C), or (C, H, W) when the first side is 1, 3 or 4
                                  and the last is not; also bfloat16
    any strides                   allowed; views are never written to
    None, a side of 0, other      ValueError
    numbers of dimensions
    ============================  =========================================================================

    Args:
        frame: array, tensor, or object that NumPy turns into an array (such as a Pillow image).
        color: "rgb" or "bgr", the order of the colour channels in ``frame``; no meaning for gray frames.

    Returns:
        (H, W, 3) uint8 array. It shares the input's memory when nothing had to change, else it is new; the
        input itself is never modified.

    Raises:
        ValueError: one sentence with what is allowed and what came.
    """
    if color not in COLOR_ORDERS:
        raise ValueError(f"color must be 'rgb' or 'bgr' (got {color!r})")
    if frame is None:
        raise ValueError("frame must be an image array or tensor (got None)")
    array = _as_array(frame)
    if array.ndim not in (2, 3):
        raise ValueError(f"frame must have shape (H, W) or (H, W, C) (got shape {array.shape})")
    if 0 in array.shape:
        raise ValueError(f"frame must not be empty (got shape {array.shape})")
    if array.ndim == 3 and array.shape[2] not in _CHANNELS:
        raise ValueError(
            f"frame must have 1, 3 or 4 channels in its last dimension (got shape {array.shape})"
        )
    return _to_three_channels(_to_uint8(array), color)


def _as_array(frame: Any) -> NDArray[Any]:
    # A tensor can only come from a caller who has imported torch, so that asking for it here costs nothing.
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(frame, torch.Tensor):
        return np.asarray(frame)
    if frame.layout is not torch.strided or frame.is_quantized or frame.is_meta:
        kind = f"{frame.layout}, {frame.dtype}, {frame.device}"
        raise ValueError(f"frame must be a dense tensor with values (got {kind})")
    tensor = frame.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # NumPy has no such type
        tensor = tensor.float()
    array: NDArray[Any] = tensor.resolve_conj().resolve_neg().numpy()
    if array.ndim == 3 and array.shape[0] in _CHANNELS and array.shape[2] not in _CHANNELS:
        array = array.transpose(1, 2, 0)
    return array


def _to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        # Rounds to nearest; 257 is odd, so there are no ties.
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype.kind == "f":
        return _unit_float_to_uint8(array)
    raise ValueError(f"frame must be uint8, uint16 or float in 0..1 (got dtype {array.dtype})")


def _unit_float_to_uint8(array: NDArray[Any]) -> NDArray[np.uint8]:
    # float16 cannot hold 255 * v exactly enough to round it.
    kind = np.float64 if array.dtype.itemsize > 4 else np.float32
    values: NDArray[np.floating[Any]] = array.astype(kind)  # always a copy
    low, high = float(values.min()), float(values.max())  # NaN when one value is
    if not (low >= -_FLOAT_SLACK and high <= 1 + _FLOAT_SLACK):
        raise ValueError(f"a {array.dtype} frame must hold finite values in 0..1 (got {low:g} to {high:g})")
    values *= 255
    np.rint(values, out=values)
    np.clip(values, 0, 255, out=values)
    return values.astype(np.uint8)


def _to_three_channels(array: NDArray[np.uint8], color: str) -> RgbFrame:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    channels = array[:, :, :3]
    if color == "bgr":
        channels = channels[:, :, ::-1]
    return np.ascontiguousarray(channels)
