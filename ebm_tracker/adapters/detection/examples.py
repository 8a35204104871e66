"""Training images with their objects, as the loop's batches have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class ImageExample(NamedTuple):
    """One image; a batch has a leading B.

    ``number``: its place in the run. ``image`` (3, H, W): RGB uint8 0..255, black beyond ``size_hw`` (2,), its own
    height and width. ``boxes_xyxy`` (M, 4): float corners in its pixels; ``labels`` (M,): 1..K - 1, and 0 in the rows
    behind the last object.
    """

    number: Tensor
    image: Tensor
    size_hw: Tensor
    boxes_xyxy: Tensor
    labels: Tensor


def pad_together(examples: Sequence[ImageExample]) -> list[ImageExample]:
    """The examples with images and objects padded to the largest among them, so that torch can stack them.

    For a data set's ``__getitems__``, which torch's loader asks for the examples of one batch.
    """
    height = max(int(example.image.shape[-2]) for example in examples)
    width = max(int(example.image.shape[-1]) for example in examples)
    objects = max(len(example.labels) for example in examples)
    return [_padded(example, height, width, objects) for example in examples]


def _padded(example: ImageExample, height: int, width: int, objects: int) -> ImageExample:
    right, below = width - example.image.shape[-1], height - example.image.shape[-2]
    more = objects - len(example.labels)
    return example._replace(
        image=functional.pad(example.image, (0, right, 0, below)),
        boxes_xyxy=functional.pad(example.boxes_xyxy, (0, 0, 0, more)),
        labels=functional.pad(example.labels, (0, more)),
    )


def images_of(batch: ImageExample) -> list[Tensor]:
    """The images (3, h, w) of a batch without their padding, as torchvision's detectors want them: float, 0..1."""
    sizes = batch.size_hw.tolist()
    return [image[:, :h, :w].float() / 255 for image, (h, w) in zip(batch.image, sizes, strict=True)]


def objects_of(batch: ImageExample) -> list[dict[str, Tensor]]:
    """The objects of a batch in torchvision's form: for each image "boxes" (M, 4) and "labels" (M,)."""
    real = batch.labels > 0
    return [
        {"boxes": boxes[kept], "labels": labels[kept].to(torch.int64)}
        for boxes, labels, kept in zip(batch.boxes_xyxy, batch.labels, real, strict=True)
    ]
