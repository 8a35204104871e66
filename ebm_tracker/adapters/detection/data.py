"""Images with boxes and classes for training and scoring a detector: COCO 2017, or your own in its format.

``<root>/annotations/instances_<split>.json`` and the images in ``<root>/<split>/`` or ``<root>/images/<split>/``; for
the test server ``annotations/image_info_test-dev2017.json`` with the images in ``test2017``.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ebm_tracker.adapters.detection.annotations import (
    Annotation,
    AnnotationFile,
    DetectionDataError,
    ListedImage,
    read_annotations,
)
from ebm_tracker.adapters.detection.examples import ImageExample, pad_together
from ebm_tracker.adapters.regression.data import EpochDataset
from ebm_tracker.boxes import SIDE_LIMITS
from ebm_tracker.training.data.decode import decode_image
from ebm_tracker.training.data.faults import Faults
from ebm_tracker.training.data.sequence import FrameReadError

MISSING = "images whose file is missing"
CROWD = "crowd annotations"
NO_AREA = "boxes of no width or height"
OUTSIDE = "boxes outside their image"
NOTHING_LARGE = "images without a box of more than a pixel on both sides"
MIN_SIDE = 1.0
"""Pixels: an image trains when one of its boxes has both sides above it."""
TRIES = 20
"""Images in a row that may be unreadable before one draw of a training run gives up."""


@dataclass(frozen=True)
class Objects:
    """Of one image: ``boxes_xyxy`` (M, 4) float32 within the image, ``labels`` (M,) int64 from 1."""

    boxes_xyxy: Tensor
    labels: Tensor

    def __reduce__(self) -> tuple[Any, ...]:
        # As arrays: each tensor that goes to another process would hold an open file there and here.
        return _objects_of_arrays, (self.boxes_xyxy.numpy(), self.labels.numpy())


def _objects_of_arrays(boxes_xyxy: NDArray[np.float32], labels: NDArray[np.int64]) -> Objects:
    return Objects(torch.from_numpy(boxes_xyxy), torch.from_numpy(labels))


class DetectionImages:
    """The images of an annotation file that are there.

    Attributes:
        file: the annotations, complete.
        classes: with the labels that ``objects`` have.
        images: those that are used, in the order of the file.
        objects: of each of them.
        left_out: reason -> count, the file's own reasons too.
    """

    def __init__(self, file: AnnotationFile, folder: Path, *, training: bool, outputs: int | None = None) -> None:
        """``training``: without crowds, boxes of no area or outside, and images that have nothing left then.
        ``outputs``: of the detector, with the background, which decide about its labels (``Classes.fitting``).

        Raises DetectionDataError when no image is left, ValueError when the detector has other classes.
        """
        self.file, self.folder = file, folder.absolute()
        self.classes = file.classes if outputs is None else file.classes.fitting(outputs)
        left_out = Counter(file.left_out)
        by_image: dict[int, list[Annotation]] = defaultdict(list)
        for annotation in file.annotations:
            by_image[annotation.image_id].append(annotation)
        present = _present(self.folder, [image.file_name for image in file.images])
        images, objects = [], []
        labels = dict(zip(self.classes.ids, self.classes.labels, strict=True))
        for image in file.images:
            if image.file_name not in present:
                left_out[MISSING] += 1
                continue
            found = _objects(image, by_image[image.image_id], labels, left_out if training else Counter())
            if training and not bool((found.boxes_xyxy[:, 2:] - found.boxes_xyxy[:, :2] > MIN_SIDE).all(1).any()):
                left_out[NOTHING_LARGE] += 1
                continue
            images.append(image)
            objects.append(found)
        self.images: tuple[ListedImage, ...] = tuple(images)
        self.objects: tuple[Objects, ...] = tuple(objects)
        self.left_out: Mapping[str, int] = dict(left_out)
        if not images:
            reasons = "; ".join(f"{count} {reason}" for reason, count in self.left_out.items()) or "it lists none"
            raise DetectionDataError(f"{file.path.absolute()} has no usable image in {self.folder} ({reasons})")

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB. Raises FrameReadError when the file is damaged or not of the size that is annotated."""
        image = self.images[index]
        path = self.folder / image.file_name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FrameReadError(f"{path} cannot be read ({error.strerror})") from error
        pixels = decode_image(data, str(path))
        found = (pixels.shape[1], pixels.shape[0])
        if found != image.size_wh:
            raise FrameReadError(f"{path} is {found[0]} x {found[1]}, its annotations say {image.size_wh}")
        return pixels

    def tensor(self, index: int) -> Tensor:
        """(3, H, W) float RGB 0..1, as torchvision's detectors take it. Raises as ``read``."""
        return torch.from_numpy(np.array(self.read(index).transpose(2, 0, 1))).float() / 255

    @property
    def digest(self) -> str:
        """Of what the annotations say about the images that are used: names, sizes, boxes, labels, classes. The pixels
        are not in it."""
        found = hashlib.sha256(repr(self.classes).encode())
        for image, objects in zip(self.images, self.objects, strict=True):
            found.update(repr(image).encode())
            found.update(objects.boxes_xyxy.numpy().tobytes())
            found.update(objects.labels.numpy().tobytes())
        return found.hexdigest()[:16]

    def part(self, indices: Iterable[int]) -> DetectionImages:
        """These images only."""
        chosen = list(indices)
        other = object.__new__(DetectionImages)
        other.file, other.folder, other.classes, other.left_out = self.file, self.folder, self.classes, self.left_out
        other.images = tuple(self.images[index] for index in chosen)
        other.objects = tuple(self.objects[index] for index in chosen)
        return other


def open_detection_images(
    root: Path, split: str, *, training: bool = False, outputs: int | None = None
) -> DetectionImages:
    """A split in COCO's layout: "train2017", "val2017", "test-dev2017", or what the folders of your set are called.

    ``training`` and ``outputs`` as for DetectionImages.
    Raises DetectionDataError: no annotation file, a damaged one, or no image.
    """
    path, place = find_split(Path(root), split)
    return DetectionImages(read_annotations(path), place, training=training, outputs=outputs)


def find_split(root: Path, split: str) -> tuple[Path, Path]:
    """The annotation file and the folder of the images. Raises DetectionDataError when one of them is not there."""
    names = (f"instances_{split}.json", f"image_info_{split}.json")
    paths = [root / "annotations" / name for name in names]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise DetectionDataError(f"{root.absolute()} must hold annotations/{names[0]} or {names[1]} (found neither)")
    folder = split.replace("test-dev", "test")
    places = [root / folder, root / "images" / folder]
    place = next((place for place in places if place.is_dir()), None)
    if place is None:
        raise DetectionDataError(f"{root.absolute()} must hold images in {folder} or images/{folder} (found neither)")
    return path, place


class TrainingImages(Dataset[ImageExample]):
    """``length`` draws: every image once per epoch in an order of its own, a share ``flip`` of them mirrored.

    Draw i depends on (seed, i) alone. The examples of one batch are padded to the largest of them. An image with a
    longer side than ``max_side`` is scaled down to it, its boxes too: detectors do so anyway. One that cannot be read
    is counted in ``faults`` and another drawn in its place.
    """

    def __init__(
        self, images: DetectionImages, length: int, seed: int, *, flip: float = 0.5, max_side: int = 2000
    ) -> None:
        if length < 1 or max_side < 1:
            raise ValueError(f"length and max_side must be at least 1 (got {length} and {max_side})")
        if not 0 <= flip <= 1:
            raise ValueError(f"flip must lie between 0 and 1 (got {flip})")
        self.images, self.length, self.seed, self.flip, self.max_side = images, length, seed, flip, max_side
        self.faults = Faults()
        count = len(images)
        self._order = EpochDataset(range(count), torch.zeros(count, 1), -(-length // count), seed)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> ImageExample:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[ImageExample]:
        """What torch's loader asks for: the examples of a batch."""
        return pad_together([self._draw(number) for number in numbers])

    def _draw(self, number: int) -> ImageExample:
        rng = np.random.default_rng((self.seed, number, 2))
        mirror = bool(rng.random() < self.flip)
        row, tries = self._order.row(number), 1
        while True:
            try:
                pixels = self.images.read(row)
                break
            except FrameReadError as error:
                self.faults.count_skipped(error)
                if tries == TRIES:
                    raise
            row, tries = int(rng.integers(len(self.images))), tries + 1
        self.faults.count_made()
        objects = self.images.objects[row]
        image, boxes = _at_most(pixels, objects.boxes_xyxy, self.max_side)
        if mirror:
            image, boxes = mirrored(image, boxes)
        size_hw = torch.tensor(image.shape[-2:])
        return ImageExample(torch.tensor(number), image, size_hw, boxes, objects.labels)


def mirrored(image: Tensor, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """Image (3, H, W) and boxes (M, 4) with left and right exchanged: x becomes W - x."""
    return image.flip(-1), mirrored_boxes(boxes_xyxy, image.shape[-1])


def mirrored_boxes(boxes_xyxy: Tensor, width: int) -> Tensor:
    """Boxes (M, 4) of an image of that width with left and right exchanged."""
    x0, y0, x1, y1 = boxes_xyxy.unbind(-1)
    return torch.stack((width - x1, y0, width - x0, y1), -1)


def _at_most(pixels: NDArray[np.uint8], boxes_xyxy: Tensor, side: int) -> tuple[Tensor, Tensor]:
    height, width = pixels.shape[:2]
    if max(height, width) > side:
        scale = side / max(height, width)
        size_wh = (max(1, round(scale * width)), max(1, round(scale * height)))
        resized = Image.fromarray(pixels).resize(size_wh, Image.Resampling.BILINEAR, reducing_gap=2.0)
        pixels = np.asarray(resized)
        factors = torch.tensor((size_wh[0] / width, size_wh[1] / height)).repeat(2)
        boxes_xyxy = boxes_xyxy * factors
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1))), boxes_xyxy


def _objects(
    image: ListedImage, annotations: Sequence[Annotation], labels: Mapping[int, int], left_out: Counter[str]
) -> Objects:
    """Those that an image can be trained on, clipped to it; the others are counted."""
    width, height = image.size_wh
    boxes, found = [], []
    for annotation in annotations:
        x, y, w, h = annotation.box_xywh
        x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
        if annotation.is_crowd:
            left_out[CROWD] += 1
        elif not (w > 0 and h > 0):
            left_out[NO_AREA] += 1
        elif min(x1 - x0, y1 - y0) < SIDE_LIMITS[0]:
            left_out[OUTSIDE] += 1
        else:
            boxes.append((x0, y0, x1, y1))
            found.append(labels[annotation.category_id])
    return Objects(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(found, dtype=torch.int64))


def _present(folder: Path, names: Sequence[str]) -> set[str]:
    """Which of the files are there; one listing per folder, since a hundred thousand questions take minutes."""
    listed: dict[str, set[str]] = {}
    found = set()
    for name in names:
        parent, _, own = name.rpartition("/")
        if parent not in listed:
            place = folder / parent
            listed[parent] = set(os.listdir(place)) if place.is_dir() else set()
        if own in listed[parent] and ".." not in name.split("/") and not name.startswith("/"):
            found.add(name)
    return found
