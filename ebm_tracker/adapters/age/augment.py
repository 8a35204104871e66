"""What happens to a training face: mirror, scale, crop (D of the paper's supplement)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.adapters.pose.augment import scaled_crop


@dataclass(frozen=True)
class Augmentation:
    """``mirror``: probability that left and right are exchanged. ``scales``: smallest and largest factor, drawn evenly;
    what is smaller than the image afterwards is padded with zeros at the right and bottom, what is larger is cut at a
    place by chance."""

    mirror: float = 0.5
    scales: tuple[float, float] = (0.7, 1.4)

    def __call__(self, image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """(S, S, 3) -> a new image of the same shape."""
        if rng.random() < self.mirror:
            image = image[:, ::-1]
        return scaled_crop(image, float(rng.uniform(*self.scales)), rng)
