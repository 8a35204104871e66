"""What happens to a training image of a head: mirror, scale, crop (protocol D and E of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MIRROR_SIGNS = np.array([-1.0, 1.0, -1.0], dtype=np.float32)
"""Of yaw, pitch, roll in a mirror."""


@dataclass(frozen=True)
class Augmentation:
    """``mirror``: its probability. ``scales``: smallest and largest; what is smaller than the image afterwards is
    padded with zeros at the right and bottom, what is larger is cut at a place by chance."""

    mirror: float = 0.5
    scales: tuple[float, float] = (0.7, 1.4)

    def __post_init__(self) -> None:
        if not 0 <= self.mirror <= 1:
            raise ValueError(f"mirror must be a probability (got {self.mirror})")
        if not 0 < self.scales[0] <= self.scales[1]:
            raise ValueError(f"scales must be positive, the smaller one first (got {self.scales})")

    def __call__(
        self, image: NDArray[np.uint8], pose: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """(S, S, 3) and (3,) -> new arrays of the same shapes; the arguments stay as they are."""
        if rng.random() < self.mirror:
            image, pose = mirrored(image, pose)
        scale = float(rng.uniform(*self.scales))
        return scaled_crop(image, scale, rng), pose.copy()


def mirrored(
    image: NDArray[np.uint8], pose: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Left and right exchanged, (..., S, S, 3); yaw and roll of (..., 3) change their signs, in new arrays."""
    return image[..., ::-1, :], pose * MIRROR_SIGNS


def scaled_crop(image: NDArray[np.uint8], scale: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The image (S, S, 3) at ``scale``, padded or cut to (S, S, 3)."""
    size = image.shape[0]
    new = max(1, round(size * scale))
    result = np.zeros((size, size, 3), np.uint8)
    if new <= size:
        result[:new, :new] = _resized(image, new)
        return result
    x, y = (int(v) for v in rng.integers(0, new - size + 1, 2))
    ratio = size / new
    cut = (x * ratio, y * ratio, (x + size) * ratio, (y + size) * ratio)  # the same pixels, without making the others
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize((size, size), Image.Resampling.BILINEAR, cut))


def _resized(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
