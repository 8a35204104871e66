"""The rules for frames (T7, T8): what is allowed gives bit-equal pixels, the rest one clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ebm_tracker.frames import to_rgb_uint8


@pytest.fixture
def rgb() -> np.ndarray:
    frame = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
    frame.reshape(-1)[:256] = np.arange(256)  # every value at least once
    return frame


def same(frame: Any, expected: np.ndarray, color: str = "rgb") -> None:
    result = to_rgb_uint8(frame, color)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, expected)


def test_right_frame_is_not_copied(rgb: np.ndarray) -> None:
    result = to_rgb_uint8(rgb)
    assert np.shares_memory(result, rgb)
    same(rgb, rgb)


def test_uint16_is_divided_by_257(rgb: np.ndarray) -> None:
    same(rgb.astype(np.uint16) * 257, rgb)
    same((rgb.astype(np.uint16) * 257).astype(">u2"), rgb)


def test_uint16_rounds_to_nearest() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    same(values, np.rint(values / 257).astype(np.uint8)[:, :, None].repeat(3, 2))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_is_multiplied_by_255(rgb: np.ndarray, dtype: type) -> None:
    same((rgb / 255).astype(dtype), rgb)


def test_float_rounds_and_allows_slack() -> None:
    values = np.array([[0.0, 1.0, 0.5 / 255 + 1e-9, 0.5 / 255 - 1e-9, -1e-7, 1 + 1e-7]])
    same(values, np.array([[0, 255, 1, 0, 0, 255]], np.uint8)[:, :, None].repeat(3, 2))


def test_gray_is_replicated(rgb: np.ndarray) -> None:
    gray = rgb[:, :, 0]
    expected = np.stack([gray] * 3, axis=2)
    same(gray, expected)
    same(gray[:, :, None], expected)
    same(gray, expected, "bgr")


def test_alpha_is_dropped_and_bgr_swapped(rgb: np.ndarray) -> None:
    bgr = rgb[:, :, ::-1]
    alpha = np.full((24, 36, 1), 255, np.uint8)
    same(bgr, rgb, "bgr")
    same(np.concatenate([rgb, alpha], 2), rgb)
    same(np.concatenate([bgr, alpha], 2), rgb, "bgr")


def test_any_strides(rgb: np.ndarray) -> None:
    wide = np.zeros((48, 72, 3), np.uint8)
    wide[::2, ::2] = rgb
    same(wide[::2, ::2], rgb)
    same(np.asfortranarray(rgb), rgb)
    same(rgb[::-1, ::-1], rgb[::-1, ::-1])


def test_tensors_in_both_layouts(rgb: np.ndarray) -> None:
    hwc = torch.from_numpy(rgb)
    same(hwc, rgb)
    same(hwc.permute(2, 0, 1), rgb)
    same(hwc.permute(2, 0, 1).contiguous(), rgb)
    same(hwc.permute(2, 0, 1).float() / 255, rgb)
    same((hwc.float() / 255).requires_grad_(), rgb)
    same(hwc[:, :, 0], rgb[:, :, :1].repeat(3, 2))
    same(hwc[None, :, :, 0], rgb[:, :, :1].repeat(3, 2))
    same(hwc.permute(2, 0, 1), rgb[:, :, ::-1], "bgr")


def test_tensor_whose_sides_both_look_like_channels_is_hwc() -> None:
    frame = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    same(torch.from_numpy(frame), frame)


def test_bfloat16_tensor() -> None:
    same(torch.ones(2, 5, dtype=torch.bfloat16), np.full((2, 5, 3), 255, np.uint8))


@pytest.mark.gpu
def test_tensor_on_another_device(rgb: np.ndarray) -> None:
    same(torch.from_numpy(rgb).cuda(), rgb)


def test_pillow_image(rgb: np.ndarray) -> None:
    same(Image.fromarray(rgb), rgb)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_input_is_never_modified(rgb: np.ndarray, dtype: type) -> None:
    frame = (rgb / 255 if dtype is np.float32 else rgb).astype(dtype)[:, ::-1]
    before = frame.copy()
    frame.flags.writeable = False
    to_rgb_uint8(frame, "bgr")
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "None"),
        (np.array([]), r"\(0,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"not be empty \(got shape \(0, 4, 3\)\)"),
        (np.zeros((4, 4, 0), np.uint8), "not be empty"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"shape \(1, 4, 4, 3\)"),
        (np.zeros(5, np.uint8), r"\(H, W, C\)"),
        (np.zeros((4, 4, 2), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((3, 40, 50), np.uint8), "1, 3 or 4 channels in its last dimension"),
        (np.zeros((4, 4), bool), "got dtype bool"),
        (np.zeros((4, 4), np.int64), "got dtype int64"),
        (np.full((4, 4), None, dtype=object), "got dtype object"),
        ("a frame", r"got shape \(\)"),
        (np.full((4, 4), 200.0), r"0\.\.1 \(got 200 to 200\)"),
        (np.full((4, 4), -0.01), r"got -0\.01"),
        (np.array([[0.5, np.nan]]), "got nan to nan"),
        (np.array([[0.5, np.inf]]), "got 0.5 to inf"),
        (torch.zeros(2, 3, 4, 5), "got shape"),
        (torch.zeros(4, 5).to_sparse(), "dense tensor .*sparse_coo"),
        (torch.zeros(4, 5, device="meta"), "with values .*meta"),
    ],
)
def test_what_is_refused(frame: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_rgb_uint8(frame)


def test_color_is_checked(rgb: np.ndarray) -> None:
    with pytest.raises(ValueError, match="'rgb' or 'bgr' \\(got 'BGR'\\)"):
        to_rgb_uint8(rgb, "BGR")
