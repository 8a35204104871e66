"""Mirror with the right signs, and scaling that keeps to the frame."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.adapters.pose.augment import Augmentation, mirrored, scaled_crop


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, (64, 64, 3), dtype=np.uint8)


def test_mirror_negates_yaw_and_roll_and_keeps_pitch() -> None:
    image, pose = picture(), np.array([10, -20, 30], np.float32)
    other, angles = mirrored(image, pose)
    assert angles.tolist() == [-10, -20, -30]
    assert (other == np.flip(image, axis=1)).all()


def test_stored_labels_and_images_stay_as_they_are_over_many_draws() -> None:
    image, pose = picture(), np.array([10, -20, 30], np.float32)
    kept = image.copy(), pose.copy()
    augment = Augmentation(mirror=0.5)
    signs = set()
    for number in range(40):
        drawn, angles = augment(image, pose, np.random.default_rng(number))
        signs.add(tuple(angles.tolist()))
        assert not np.shares_memory(angles, pose)
        assert drawn.shape == (64, 64, 3) and drawn.dtype == np.uint8
    assert signs == {(10, -20, 30), (-10, -20, -30)}
    assert (image == kept[0]).all() and (pose == kept[1]).all()


def test_mirror_comes_as_often_as_asked() -> None:
    pose = np.array([1, 1, 1], np.float32)
    for probability in (0.0, 0.25, 1.0):
        augment = Augmentation(mirror=probability, scales=(1, 1))
        drawn = [augment(picture(), pose, np.random.default_rng(k))[1][0] < 0 for k in range(400)]
        assert np.mean(drawn) == pytest.approx(probability, abs=0.06)


def test_at_scale_one_nothing_changes() -> None:
    image = picture()
    assert (scaled_crop(image, 1.0, np.random.default_rng(0)) == image).all()


def test_a_smaller_picture_is_padded_with_zeros_at_the_right_and_bottom() -> None:
    small = scaled_crop(np.full((64, 64, 3), 200, np.uint8), 0.75, np.random.default_rng(0))
    assert (small[:48, :48] == 200).all()
    assert not small[48:].any() and not small[:, 48:].any()


def test_a_larger_picture_is_cut_out_of_the_scaled_one() -> None:
    # A ramp scaled by two is a ramp of half the slope; the cut begins at an unknown whole pixel.
    ramp = np.repeat((2 * np.arange(64, dtype=np.uint8))[None, :, None], 64, axis=0).repeat(3, axis=2)
    starts = set()
    for seed in range(30):
        large = scaled_crop(ramp, 2.0, np.random.default_rng(seed))[32, :, 0].astype(float)
        inner = large[(large > 4) & (large < 120)]
        assert np.abs(np.diff(inner) - 1).max() <= 1  # rounding
        starts.add(large[0])
    assert len(starts) > 15


def test_cut_equals_the_cut_of_the_whole_scaled_picture() -> None:
    image, scale = picture(3), 1.25
    whole = np.asarray(Image.fromarray(image).resize((80, 80), Image.Resampling.BILINEAR)).astype(int)
    cut = scaled_crop(image, scale, np.random.default_rng(5)).astype(int)
    x, y = np.random.default_rng(5).integers(0, 17, 2)
    assert np.abs(cut - whole[y : y + 64, x : x + 64]).max() <= 2  # rounding of the weights


@pytest.mark.parametrize("settings", [{"mirror": 1.5}, {"scales": (0.0, 1.0)}, {"scales": (1.4, 0.7)}])
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Augmentation(**settings)  # type: ignore[arg-type]
