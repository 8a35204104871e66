from __future__ import annotations

import numpy as np
import pytest

from ebm_tracker.adapters.age.augment import Augmentation


def ramp() -> np.ndarray:
    """Red grows to the right, green downwards."""
    image = np.zeros((200, 200, 3), np.uint8)
    image[..., 0] = np.arange(200)
    image[..., 1] = np.arange(200)[:, None]
    image[..., 2] = 255
    return image


def test_mirror_exchanges_left_and_right_only() -> None:
    rng = np.random.default_rng(0)
    image = ramp()
    mirrored = Augmentation(mirror=1, scales=(1, 1))(image, rng)
    np.testing.assert_array_equal(mirrored, image[:, ::-1])
    np.testing.assert_array_equal(Augmentation(mirror=0, scales=(1, 1))(image, rng), image)
    np.testing.assert_array_equal(image, ramp())  # not changed in place


def test_half_of_the_images_are_mirrored() -> None:
    rng = np.random.default_rng(0)
    both = Augmentation(scales=(1, 1))
    share = np.mean([both(ramp(), rng)[0, 0, 0] > 100 for _ in range(400)])
    assert share == pytest.approx(0.5, abs=0.08)


def test_a_smaller_image_is_padded_at_the_right_and_bottom() -> None:
    small = Augmentation(mirror=0, scales=(0.7, 0.7))(ramp(), np.random.default_rng(0))
    assert small.shape == (200, 200, 3)
    assert (small[:140, :140, 2] == 255).all() and (small[140:] == 0).all() and (small[:, 140:] == 0).all()
    assert abs(int(small[70, 70, 0]) - 100) <= 2 and abs(int(small[70, 35, 0]) - 50) <= 2


def test_a_larger_image_is_cut_somewhere() -> None:
    rng = np.random.default_rng(0)
    large = Augmentation(mirror=0, scales=(1.4, 1.4))
    corners = []
    for _ in range(60):
        image = large(ramp(), rng).astype(int)
        width = image[100, 199, 0] - image[100, 0, 0]
        assert width == pytest.approx(200 / 1.4, abs=2.5)
        corners.append((image[100, 0, 0], image[0, 100, 1]))
    lefts, tops = np.array(corners).T
    for offsets in (lefts, tops):
        assert offsets.min() < 10 and offsets.max() > 47  # of 200 - 143
    assert abs(np.corrcoef(lefts, tops)[0, 1]) < 0.4


def test_scales_are_drawn_evenly_between_the_two() -> None:
    rng = np.random.default_rng(0)
    paper = Augmentation()
    assert paper.scales == (0.7, 1.4) and paper.mirror == 0.5
    sizes = [int((paper(ramp(), rng)[..., 2] > 128).any(0).sum()) for _ in range(300)]
    assert min(sizes) >= 140 and np.mean(np.array(sizes) < 200) == pytest.approx(3 / 7, abs=0.09)
