"""What a frozen detector makes of its training images, kept in a folder: it sees each of them the same way every time.

Of every image and of its mirror image: the maps that boxes are pooled from, for the confidence branch; and the box
head's features of the proposals and of the true boxes, for the Gaussian and the Laplace head. All in half precision.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from ebm_tracker.adapters.counting import open_counter
from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.base import FrozenDetector, Pyramid
from ebm_tracker.adapters.detection.data import DetectionImages, mirrored_boxes
from ebm_tracker.adapters.detection.sampling import RegionExample, RegionSampling, sample_regions
from ebm_tracker.adapters.regression.data import EpochDataset
from ebm_tracker.adapters.regression.fitting import seeded
from ebm_tracker.files import write_text_atomic

VIEWS = 2
"""Of an image: as it is, and mirrored."""
_FACTS = "kept.json"


class MapExample(NamedTuple):
    """Maps and objects of one image; a batch has a leading B.

    ``number``: its place in the run. ``maps``: (H_l, W_l, C) each, float16, finest first. ``boxes_xyxy`` (M, 4) in
    pixels of the image; ``labels`` (M,): 0 in the rows behind the last object.
    """

    number: Tensor
    maps: tuple[Tensor, ...]
    boxes_xyxy: Tensor
    labels: Tensor


class KeptFeatures:
    """Features of ``images`` by ``detector`` in ``folder``: what is there is only read, what is missing is made.

    ``facts``: what decides them besides (which images, which detector); a folder with other ones raises
    DetectionDataError, as do images that are not all of one size. Ctrl-C keeps what is done.
    """

    def __init__(
        self,
        images: DetectionImages,
        detector: FrozenDetector,
        folder: Path,
        *,
        facts: Mapping[str, Any],
        quiet: bool = False,
    ) -> None:
        sizes = {image.size_wh for image in images.images}
        if len(sizes) > 1:
            raise DetectionDataError(f"features can be kept of images of one size only (got {len(sizes)} sizes)")
        self.images, self.folder = images, folder
        self.proposals = int(detector.model.rpn.post_nms_top_n())
        self.most_objects = max(len(objects.labels) for objects in images.objects)
        first = self._look(detector, 0)[0]
        # Sizes, which all images have in common.
        self._frame = Pyramid({}, first.pooled, first.strides, first.input_sizes, first.image_sizes, first.padded_size)
        described = json.loads(json.dumps({**facts, "images": len(images), "objects": self.most_objects}))
        self._files = self._open(described, [tuple(level.shape[1:]) for level in first.maps], detector.feature_size)
        self._make(detector, quiet)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def rows(self) -> int:
        """S: regions of an image that are kept."""
        return self.proposals + self.most_objects

    def maps(self, index: int, view: int) -> tuple[Tensor, ...]:
        """(H_l, W_l, C) each, float16."""
        levels = range(len(self._frame.strides))
        return tuple(torch.from_numpy(np.array(self._files[f"level{level}"][index, view])) for level in levels)

    def objects(self, index: int, view: int) -> tuple[Tensor, Tensor]:
        """``boxes_xyxy`` (M, 4) and ``labels`` (M,) of a view, filled up with zeros to one M for all images."""
        objects = self.images.objects[index]
        boxes = mirrored_boxes(objects.boxes_xyxy, self._frame.image_sizes[0][1]) if view else objects.boxes_xyxy
        more = self.most_objects - len(objects.labels)
        return functional.pad(boxes, (0, 0, 0, more)), functional.pad(objects.labels, (0, more))

    def regions(self, index: int, view: int, number: int) -> RegionExample:
        """All of them as one example of the head's training, float32."""
        features, labels, offsets = (self._files[name][index, view] for name in ("features", "labels", "offsets"))
        return RegionExample(
            torch.tensor(number),
            torch.from_numpy(features.astype(np.float32)),
            torch.from_numpy(labels.astype(np.int64)),
            torch.from_numpy(np.array(offsets)),
        )

    def pyramid(self, batch: MapExample) -> Pyramid:
        """Of a batch, float32: for ``ConfidenceStep(pyramid_of=...)``."""
        frame, count = self._frame, len(batch.labels)
        levels = {name: maps.permute(0, 3, 1, 2).float() for name, maps in zip(frame.pooled, batch.maps, strict=True)}
        sizes = (frame.input_sizes * count, frame.image_sizes * count)
        return Pyramid(levels, frame.pooled, frame.strides, *sizes, frame.padded_size)

    def _look(self, detector: FrozenDetector, index: int) -> list[Pyramid]:
        image = torch.from_numpy(np.array(self.images.read(index).transpose(2, 0, 1)))
        return [detector.pyramid([view]) for view in (image, image.flip(-1))]

    def _open(
        self, described: Mapping[str, Any], levels: Sequence[tuple[int, ...]], features: int
    ) -> dict[str, NDArray[Any]]:
        """The files as memory maps, made when they are not there; the description is written last."""
        lead, path = (len(self.images), VIEWS), self.folder / _FACTS
        planned: dict[str, tuple[tuple[int, ...], Any]] = {
            f"level{number}": ((*lead, height, width, channels), np.float16)
            for number, (channels, height, width) in enumerate(levels)
        }
        planned["features"] = ((*lead, self.rows, features), np.float16)
        planned["labels"] = ((*lead, self.rows), np.int16)
        planned["offsets"] = ((*lead, self.rows, 4), np.float32)
        planned["done"] = ((len(self.images),), np.bool_)
        if path.is_file():
            _require_same(path, described)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            _require_room(self.folder, planned.values())
            for name, (shape, kind) in planned.items():
                open_memmap(self.folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape).flush()
            write_text_atomic(path, json.dumps(described, indent=1) + "\n")
        opened = _opened(self.folder, planned)
        if any((opened[name].shape, opened[name].dtype) != plan for name, plan in planned.items()):
            raise DetectionDataError(f"{self.folder.absolute()} keeps features of other sizes; remove it")
        return opened

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_files": list(self._files)}  # a memory map would travel with all it holds

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._files = _opened(self.folder, state["_files"])

    def _make(self, detector: FrozenDetector, quiet: bool) -> None:
        missing = np.flatnonzero(~self._files["done"]).tolist()
        if not missing:
            return
        # Not before: a file that was cut off would be filled up with zeros.
        self._files = _opened(self.folder, self._files, "r+")
        with open_counter("features of training images", len(missing), Console(quiet=quiet)) as show:
            for number, index in enumerate(missing, 1):
                for view, pyramid in enumerate(self._look(detector, index)):
                    self._keep(detector, pyramid, index, view)
                self._files["done"][index] = True
                show(number)

    def _keep(self, detector: FrozenDetector, pyramid: Pyramid, index: int, view: int) -> None:
        for level, maps in enumerate(pyramid.maps):
            self._files[f"level{level}"][index, view] = maps[0].permute(1, 2, 0).cpu().numpy()
        boxes, labels = self.objects(index, view)
        true = {"boxes": boxes[labels > 0], "labels": labels[labels > 0]}
        everything = RegionSampling(self.rows, foreground=1.0)
        with seeded(index):  # their order, which is random, is the same when they are made again
            found = sample_regions(detector, pyramid, [true], torch.tensor([0]), everything)
        for name in ("features", "labels", "offsets"):
            self._files[name][index, view] = getattr(found, name)[0].cpu().numpy()


def _require_same(path: Path, described: Mapping[str, Any]) -> None:
    folder = path.parent.absolute()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DetectionDataError(f"{folder} is damaged ({path.name} is not JSON: {error}); remove it") from error
    if kept != described:
        known = kept if isinstance(kept, dict) else {}
        other = ", ".join(sorted(key for key in {*known, *described} if known.get(key) != described.get(key)))
        raise DetectionDataError(f"{folder} keeps features with another {other}: remove it or choose another --out")


def _require_room(folder: Path, planned: Iterable[tuple[tuple[int, ...], Any]]) -> None:
    """Now: a disk that fills up under a memory map ends the program without a word."""
    needed = sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in planned)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DetectionDataError(
            f"{folder.absolute()} must have room for {needed / 1e9:.2f} GB of features (free: {free / 1e9:.2f} GB)"
        )


def _opened(folder: Path, names: Iterable[str], mode: Literal["r", "r+"] = "r") -> dict[str, NDArray[Any]]:
    try:
        paths = {name: folder / f"{name}.npy" for name in names}
        return {name: np.load(path, mmap_mode=mode, allow_pickle=False) for name, path in paths.items()}
    except (OSError, ValueError, EOFError) as error:
        raise DetectionDataError(f"{folder.absolute()} is damaged ({error}); remove it") from error


class _Views(Dataset[Any]):
    """``length`` draws: every image once per epoch in an order of its own, half of them mirrored; draw i depends on
    (seed, i) alone."""

    def __init__(self, kept: KeptFeatures, length: int, seed: int) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1 (got {length})")
        self.kept, self.length, self.seed = kept, length, seed
        count = len(kept)
        self._order = EpochDataset(range(count), torch.zeros(count, 1), -(-length // count), seed)

    def __len__(self) -> int:
        return self.length

    def draw(self, number: int) -> tuple[int, int]:
        """Image and view."""
        return self._order.row(number), int(np.random.default_rng((self.seed, number, 2)).integers(VIEWS))


class MapViews(_Views):
    """Training examples of the confidence branch."""

    def __getitem__(self, number: int) -> MapExample:
        index, view = self.draw(number)
        return MapExample(torch.tensor(number), self.kept.maps(index, view), *self.kept.objects(index, view))


class RegionViews(_Views):
    """Training examples of the Gaussian and the Laplace head: all regions of an image."""

    def __getitem__(self, number: int) -> RegionExample:
        return self.kept.regions(*self.draw(number), number)
