"""Training images of heads for a feature extractor: augmented at every draw, or a few fixed views of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ebm_tracker.adapters.pose.augment import Augmentation
from ebm_tracker.adapters.pose.data import PoseData


@dataclass(frozen=True)
class PoseViews:
    """Item i: ``views`` augmented images (K, S, S, 3) of head i and their poses (K, 3), always the same ones.

    ``augment`` None: the image as it is, once for each view. ``enlarge``: S = 64 times this, for networks whose cells
    are too coarse for 64 pixels; the augmentation comes first.
    """

    data: PoseData
    augment: Augmentation | None
    views: int = 1
    seed: int = 0
    enlarge: int = 1

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        images, poses = [], []
        for view in range(self.views):
            image, pose = self.data.images[index], self.data.poses[index]
            if self.augment is not None:
                image, pose = self.augment(image, pose, np.random.default_rng((self.seed, index, view)))
            images.append(enlarged(image, self.enlarge))
            poses.append(pose)
        return np.stack(images), np.stack(poses)


@dataclass(frozen=True)
class AugmentedDraw:
    """EpochDataset's transform for images: (64, 64, 3) uint8 and pose (3,) -> (3, S, S) uint8 and its pose."""

    augment: Augmentation
    enlarge: int = 1

    def __call__(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        image, pose = self.augment(x.numpy(), y.numpy(), generator)
        return channels_first(enlarged(image, self.enlarge)), torch.from_numpy(pose)


def enlarged(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The image (S, S, 3) ``factor`` times as large, bilinear."""
    if factor == 1:
        return image
    size = image.shape[0] * factor
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))


def channels_first(image: NDArray[np.uint8]) -> Tensor:
    """(..., S, S, 3) -> (..., 3, S, S), a tensor with memory of its own."""
    return torch.from_numpy(np.moveaxis(image, -1, -3).copy())
