from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ebm_tracker.tracking.augment import (
    AugmentationKind,
    AugmentationSettings,
    augment_patch,
    blur_crop,
    dropout_copies,
    first_frame_patches,
    rotated_crops,
    sample_shifts,
    shifted_crop,
)

Golden = Callable[[str], dict[str, np.ndarray]]
SETTINGS = AugmentationSettings()
GOLDEN_KINDS = {
    "Identity": AugmentationKind.IDENTITY,
    "Translation": AugmentationKind.TRANSLATION,
    "FlipHorizontal": AugmentationKind.FLIP,
    "Blur": AugmentationKind.BLUR,
    "Rotate": AugmentationKind.ROTATION,
}


def test_golden_kinds_and_parameters(golden: Golden) -> None:
    arrays = golden("g_augmentations")
    kinds = [str(kind) for kind in arrays["kinds"]]
    assert tuple(GOLDEN_KINDS[kind] for kind in kinds[:23]) == SETTINGS.kinds
    assert len(kinds) - 23 == SETTINGS.dropout_count
    table = arrays["table"][0]
    np.testing.assert_allclose(table[6:11, [3, 2]], SETTINGS.blur_sigmas_xy)
    np.testing.assert_allclose(table[11:23, 2], SETTINGS.rotations_degrees)


@pytest.mark.parametrize(("row", "seed", "size"), [(0, 31, 288), (1, 32, 32)])
def test_golden_shifts(golden: Golden, row: int, seed: int, size: int) -> None:
    table = golden("g_augmentations")["table"][row]
    shifts_xy = sample_shifts(SETTINGS, size, torch.Generator().manual_seed(seed))
    np.testing.assert_array_equal(shifts_xy, table[:23, [5, 4]])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_golden_patches(golden: Golden, dtype: torch.dtype) -> None:
    arrays = golden("g_augmentations")
    shifts_xy = torch.from_numpy(arrays["table"][1][:23, [5, 4]]).long()
    patches = augment_patch(torch.from_numpy(arrays["patch64"]).to(dtype), 32, SETTINGS, shifts_xy)
    assert patches.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
    # Grey levels of 255; OpenCV's rotation itself is 2e-4 from exact bilinear interpolation.
    np.testing.assert_allclose(patches, arrays["augmented"], atol=1e-3, rtol=0)


def test_shift_moves_the_content_right_and_down() -> None:
    image = torch.arange(64.0).reshape(1, 8, 8)
    assert torch.equal(shifted_crop(image, 4, (0, 0)), image[:, 2:6, 2:6])
    assert torch.equal(shifted_crop(image, 4, (1, -2)), image[:, 4:8, 1:5])


@pytest.mark.parametrize("shift", [(5, 0), (-5, 3), (0, -7), (20, -20)])
def test_crop_beyond_the_image_repeats_its_border(shift: tuple[int, int]) -> None:
    image = torch.randn(2, 8, 6)
    crop = shifted_crop(image, 4, shift)
    rows = (torch.arange(4) + 2 - shift[1]).clamp(0, 7)
    columns = (torch.arange(4) + 1 - shift[0]).clamp(0, 5)
    assert torch.equal(crop, image[:, rows][:, :, columns])


def dense_blur(image: Tensor, sigma_xy: tuple[float, float]) -> Tensor:
    def kernel(sigma: float) -> Tensor:
        margin = int(np.ceil(2 * sigma))
        weights = torch.exp(-torch.arange(-margin, margin + 1).double().square() / (2 * sigma**2))
        return weights / weights.sum()

    x, y = kernel(sigma_xy[0]), kernel(sigma_xy[1])
    padding = (len(y) // 2, len(x) // 2)
    return torch.nn.functional.conv2d(image[:, None], (y[:, None] * x)[None, None], padding=padding)[:, 0]


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-6, 5), (9, 9)])
@pytest.mark.parametrize("sigma_xy", [(0.2, 2.0), (3.0, 1.0)])
def test_blur_is_a_convolution_with_zeros_outside(
    sigma_xy: tuple[float, float], shift: tuple[int, int]
) -> None:
    image = torch.rand(3, 20, 22, dtype=torch.float64)
    expected = shifted_crop(dense_blur(image, sigma_xy), 10, shift)
    torch.testing.assert_close(blur_crop(image, 10, sigma_xy, shift), expected)


def test_quarter_turns_are_exact() -> None:
    image = torch.randn(2, 7, 7, dtype=torch.float64)
    turned = rotated_crops(image, 7, (0.0, 90.0, -90.0, 180.0), [(0, 0)] * 4)
    for quarter, result in zip((0, 1, -1, 2), turned, strict=True):
        torch.testing.assert_close(result, torch.rot90(image, quarter, dims=(1, 2)), atol=1e-9, rtol=0)


@pytest.mark.parametrize("shift", [(2, 1), (-9, 12)])
def test_a_rotated_crop_is_the_crop_of_the_rotated_image(shift: tuple[int, int]) -> None:
    image = torch.rand(3, 16, 16, dtype=torch.float64)
    whole = rotated_crops(image, 16, (33.0,), [(0, 0)])[0]
    torch.testing.assert_close(rotated_crops(image, 8, (33.0,), [shift])[0], shifted_crop(whole, 8, shift))


def test_first_frame_patches_are_repeatable_and_follow_the_generator() -> None:
    patch = torch.randint(0, 256, (3, 48, 48), dtype=torch.uint8)
    kept = patch.clone()
    first, kinds, shifts_xy = first_frame_patches(patch, 24, torch.Generator().manual_seed(1))
    again, _, _ = first_frame_patches(patch, 24, torch.Generator().manual_seed(1))
    other, _, other_shifts = first_frame_patches(patch, 24, torch.Generator().manual_seed(2))
    assert tuple(first.shape) == (23, 3, 24, 24)
    assert len(kinds) == len(shifts_xy) == 23
    assert torch.equal(first, again)
    assert not torch.equal(shifts_xy, other_shifts)
    assert torch.equal(first[0], patch[:, 12:36, 12:36].float())
    assert torch.equal(first[:5], other[:5])
    assert torch.equal(patch, kept)
    assert shifts_xy[5:].abs().max() <= 4


def test_fewer_transforms() -> None:
    settings = AugmentationSettings(flip=False, blur_sigmas_xy=(), rotations_degrees=())
    patches, kinds, _ = first_frame_patches(torch.rand(3, 16, 16), 8, torch.Generator(), settings)
    assert tuple(patches.shape) == (5, 3, 8, 8)
    assert AugmentationKind.FLIP not in kinds


def test_wrong_number_of_shifts_is_refused() -> None:
    with pytest.raises(ValueError, match="shifts_xy"):
        augment_patch(torch.rand(3, 16, 16), 8, SETTINGS, torch.zeros(5, 2))


def test_dropout_loses_whole_channels_and_keeps_the_mean() -> None:
    features = torch.ones(1, 4000, 2, 2)
    copies = dropout_copies(features, 3, 0.2, torch.Generator().manual_seed(0))
    assert tuple(copies.shape) == (3, 4000, 2, 2)
    assert torch.equal(copies, copies[:, :, :1, :1].expand_as(copies))
    assert set(copies.flatten().tolist()) == {0.0, 1.25}
    assert copies.mean().item() == pytest.approx(1.0, abs=0.02)
    assert not torch.equal(copies[0], copies[1])


def test_dropout_probability_is_checked() -> None:
    with pytest.raises(ValueError, match="probability"):
        dropout_copies(torch.ones(1, 2, 1, 1), 1, 1.0, torch.Generator())
