from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ebm_tracker.crops import CropWindow, SearchGeometry, sample_patch
from ebm_tracker.tracking.classifier import label_sigma

Golden = Callable[[str], dict[str, np.ndarray]]


def ramp_frame(width: int = 250, height: int = 200) -> NDArray[np.uint8]:
    """Red holds each pixel's column, green its row: a crop of it says where it was taken."""
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = np.arange(width)
    frame[..., 1] = np.arange(height)[:, None]
    return frame


@pytest.mark.parametrize(("tag", "upstream"), [("legacy", False), ("modern", True)])
def test_golden_patches(golden: Golden, tag: str, upstream: bool) -> None:
    arrays = golden("g_sample_patch")
    frame = np.ascontiguousarray(arrays["image"].transpose(1, 2, 0))
    square = 0
    for index, ((y, x), sample_hw, output_hw) in enumerate(
        zip(arrays["pos"], arrays["sample_sz"], arrays["output_sz"], strict=True)
    ):
        if sample_hw[0] != sample_hw[1] or output_hw[0] != output_hw[1]:
            continue
        square += 1
        output = int(output_hw[0])
        patch, _ = sample_patch(frame, (float(x), float(y)), float(sample_hw[0]), output, upstream=upstream)
        assert patch.shape == (1, 3, output, output) and patch.dtype is torch.float32
        expected = arrays[f"patch_{tag}"][index][:, :output, :output]
        # Bilinear weights in float32 of grey levels up to 255: 1e-4 is rounding.
        np.testing.assert_allclose(patch[0], expected, atol=1e-4, rtol=0, err_msg=f"case {index}")
    assert square >= 8


@pytest.mark.parametrize(
    ("center_xy", "side", "output"),
    [
        ((120.0, 100.0), 32.0, 32),  # no resizing
        ((120.7, 99.2), 33.0, 32),
        ((120.7, 99.2), 20.0, 64),  # enlarged
        ((120.9, 99.9), 61.3, 32),
        ((121.9, 99.9), 100.0, 32),  # every second or third pixel
        ((122.3, 98.6), 131.7, 32),
        ((60.0, 101.5), 150.0, 24),
        ((3.2, 5.7), 64.0, 32),  # half outside
        ((248.0, 199.0), 97.0, 32),
        ((-10.4, 215.5), 120.0, 48),  # the centre itself is outside
        ((125.0, 100.0), 700.0, 64),  # the frame is smaller than the square
    ],
)
def test_the_window_is_where_the_pixels_came_from(center_xy: tuple[float, float], side: float, output: int) -> None:
    frame = ramp_frame()
    patch, window = sample_patch(frame, center_xy, side, output)
    scale = side / output
    cells = np.arange(output)
    for axis, limit in enumerate((frame.shape[1], frame.shape[0])):
        # The cut is in whole pixels, so its own scale differs a little from the wanted one.
        assert window.scale_xy[axis] == pytest.approx(scale, rel=0.5 * max(1.0, scale) / side + 1e-9)
        position = window.origin_xy[axis] + window.scale_xy[axis] * cells
        seen = patch[0, axis, 0] if axis == 0 else patch[0, axis, :, 0]
        # Bilinear resizing repeats the outermost pixels (half a crop pixel), and thinning leaves the last
        # `step - 1` pixels of the frame out: in between the ramp is reproduced exactly.
        edge = math.ceil(scale)
        inner = (position >= edge) & (position <= limit - 1 - edge)
        inner &= (cells >= max(1, 1 / scale)) & (cells <= output - 1 - max(1, 1 / scale))
        np.testing.assert_allclose(np.asarray(seen)[inner], position[inner], atol=2e-4 * scale + 1e-4, rtol=0)
        assert inner.sum() > 0.1 * output
        np.testing.assert_allclose(np.asarray(seen)[position < -edge], 0, atol=edge)
        np.testing.assert_allclose(np.asarray(seen)[position > limit + edge], limit - 1, atol=edge)


def test_the_same_pixels_lie_in_every_row_and_column() -> None:
    patch, _ = sample_patch(ramp_frame(), (120.3, 77.9), 75.0, 32)
    assert bool((patch[0, 0] == patch[0, 0, :1]).all())
    assert bool((patch[0, 1] == patch[0, 1, :, :1]).all())
    assert float(patch[0, 2].abs().max()) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_small_frames_are_continued_by_their_border(shape: tuple[int, int]) -> None:
    frame = np.full((*shape, 3), 77, np.uint8)
    for center_xy in ((0.0, 0.0), (39.0, 39.0)):
        patch, _ = sample_patch(frame, center_xy, 200.0, 32)
        np.testing.assert_allclose(patch, 77, atol=1e-4)


def test_boxes_go_into_the_crop_and_back_exactly() -> None:
    _, window = sample_patch(ramp_frame(), (120.7, 99.2), 131.7, 32)
    assert window.entry_shift == 0
    for center, size in (((110.25, 90.5), (31.0, 12.5)), ((-4.0, 300.0), (0.5, 900.0))):
        box = window.box_to_crop(center, size)
        center_back, size_back = window.box_to_frame(box)
        assert center_back == pytest.approx(center, abs=1e-10)
        assert size_back == pytest.approx(size, abs=1e-10)
        assert (box[0] + box[2] / 2, box[1] + box[3] / 2) == pytest.approx(window.point_to_crop(center), abs=1e-10)
        assert window.point_to_frame(window.point_to_crop(center)) == pytest.approx(center, abs=1e-10)


def test_a_box_of_given_pixels_gets_the_crop_box_of_those_pixels() -> None:
    window = CropWindow((100.0, 50.0), (2.0, 4.0))
    # Pixels 110..119 have their centre at index 114.5, crop index 7.25; 10 pixels are 5 crop pixels wide.
    assert window.box_to_crop((114.5, 70.0), (10.0, 8.0)) == (4.75, 4.0, 5.0, 2.0)


def test_golden_upstream_slip_of_the_crop_boxes(golden: Golden) -> None:
    """Upstream's way in and out: the box lies half a crop pixel off, and the target drifts by half the scale."""
    for row in golden("c_boxes_density_loss")["crop_cases"].astype(np.float64):
        (y, x), (h, w), (sample_y, sample_x), scale = row[:2], row[2:4], row[4:6], row[6]
        frame = np.zeros((8, 8, 3), np.uint8)
        _, window = sample_patch(frame, (x, y), scale * 288, 288, upstream=True)
        assert window.point_to_frame((143.5, 143.5)) == pytest.approx((sample_x, sample_y), abs=1e-4)
        box = window.box_to_crop((x, y), (w, h))
        assert box == pytest.approx(tuple(row[7:11]), abs=1e-3)
        center, size = window.box_to_frame(box)
        assert center == pytest.approx((row[12], row[11]), abs=1e-4)
        assert center == pytest.approx((x + 0.5 * scale, y + 0.5 * scale), abs=1e-9)
        assert size == pytest.approx((row[14], row[13]), abs=1e-4)


def test_upstream_centres_round_half_to_even() -> None:
    frame = np.zeros((60, 80, 3), np.uint8)
    for center, rounded in ((10.5, 10), (11.5, 12), (10.49, 10), (10.51, 11)):
        _, window = sample_patch(frame, (center, 20.0), 32.0, 32, upstream=True)
        assert window.point_to_frame((15.5, 15.5)) == pytest.approx((rounded, 20))


def test_golden_search_geometry(golden: Golden) -> None:
    for row in golden("c_search_geometry")["rows"].astype(np.float64):
        box = (row[0], row[1], row[2], row[3])
        geometry = SearchGeometry.around(box, 5.0, 288)
        assert geometry.center_xy == pytest.approx((row[7], row[6]), abs=1e-4)
        assert geometry.scale == pytest.approx(row[8], rel=1e-6)
        assert geometry.base_wh == pytest.approx((row[10], row[9]), rel=1e-6)
        assert label_sigma(geometry.base_wh, row[13] / row[11], 0.25) == pytest.approx(row[15], rel=1e-6)
