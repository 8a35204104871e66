"""UTKFace: faces whose file names begin with the age. The user brings them; nothing is downloaded."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ebm_tracker.adapters.age.augment import Augmentation
from ebm_tracker.errors import EbmError

SIZE = 200
"""Width and height of the aligned and cropped images."""
ALL = 23_708
"""Images of the whole set."""
AGES = (21, 60)
"""First and last age of the subset by Cao et al."""
SPLITS = {"train": "utk_train.csv", "test": "utk_test.csv"}
COUNTS = {"train": 13_147, "test": 3_287}
"""Rows of their split files."""
VALIDATION = 1_644
"""Of the 13,147; the paper trains on the other 11,503. Which ones it used is not published."""
_NAME = re.compile(r"^(\d{1,3})_.*\.jpe?g$", re.IGNORECASE)


class AgeError(EbmError):
    """Faces or a split file are missing or damaged."""


@dataclass(frozen=True)
class FaceList:
    """Faces in a folder: names of the files, and the ages in years."""

    folder: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def ages(self) -> NDArray[np.float32]:
        """(N,)."""
        return np.array([age_of(name) for name in self.names], np.float32)

    @property
    def digest(self) -> str:
        """A short hash of the names, for fingerprints."""
        return hashlib.sha256("\n".join(self.names).encode()).hexdigest()[:16]

    def part(self, rows: Sequence[int] | NDArray[np.int64]) -> FaceList:
        """These rows."""
        return FaceList(self.folder, tuple(self.names[row] for row in rows))

    def image(self, index: int) -> NDArray[np.uint8]:
        """(200, 200, 3) uint8 RGB. Raises AgeError naming the file when it is no such image."""
        path = self.folder / self.names[index]
        try:
            with Image.open(path) as file:
                image = np.asarray(file.convert("RGB"))
        except (OSError, ValueError) as error:
            raise AgeError(f"{path.absolute()} cannot be read as an image: {error}") from error
        if image.shape != (SIZE, SIZE, 3):
            height, width = image.shape[:2]
            raise AgeError(f"{path.absolute()} must be {SIZE} x {SIZE}, aligned and cropped (got {width} x {height})")
        return image


class FaceViews:
    """``count`` augmented images of each face and its age, for ``features.cached_views``; with ``augment`` None one
    image as it is. Views of face i follow from (seed, i)."""

    def __init__(self, faces: FaceList, augment: Augmentation | None = None, count: int = 1, seed: int = 0) -> None:
        if augment is None and count != 1:
            raise ValueError(f"count must be 1 without augmentation (got {count})")
        self._faces, self._ages = faces, faces.ages
        self._augment, self._count, self._seed = augment, count, seed

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        image = self._faces.image(index)
        targets = np.full((self._count, 1), self._ages[index], np.float32)
        if self._augment is None:
            return image[None], targets
        rng = np.random.default_rng((self._seed, index))
        return np.stack([self._augment(image, rng) for _ in range(self._count)]), targets


class FaceImages(Sequence[Tensor]):
    """Images (3, 200, 200) uint8 of a list, read when they are asked for: x of a training with its own extractor."""

    def __init__(self, faces: FaceList) -> None:
        self._faces = faces

    def __len__(self) -> int:
        return len(self._faces)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> FaceImages: ...

    def __getitem__(self, index: int | slice) -> Tensor | FaceImages:
        if isinstance(index, slice):
            return FaceImages(self._faces.part(range(len(self._faces))[index]))
        return torch.from_numpy(self._faces.image(index).transpose(2, 0, 1).copy())


@dataclass(frozen=True)
class AugmentImage:
    """EpochDataset's transform for FaceImages."""

    augment: Augmentation

    def __call__(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        image = self.augment(x.permute(1, 2, 0).numpy(), generator)
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), y


def age_of(name: str) -> int:
    """The number before the first underscore; some names lack a later field. Raises ValueError for other names."""
    match = _NAME.match(name)
    if match is None:
        raise ValueError(f"name must be AGE_..., a JPEG (got {name!r})")
    return int(match.group(1))


def find_faces(folder: Path) -> FaceList:
    """All faces directly in ``folder``, or in the one folder UTKFace or utkface inside it, by name.

    Raises AgeError when there are none.
    """
    for place in (folder, folder / "UTKFace", folder / "utkface"):
        names = sorted(path.name for path in place.iterdir() if _NAME.match(path.name)) if place.is_dir() else []
        if names:
            return FaceList(place, tuple(names))
    raise AgeError(
        f"{folder.absolute()} must hold UTKFace's aligned and cropped faces, AGE_GENDER_RACE_DATE.jpg.chip.jpg "
        f"({'none is there' if folder.is_dir() else 'there is no such folder'})"
    )


def hold_out(faces: FaceList, share: float, seed: int) -> tuple[FaceList, FaceList]:
    """What remains, and the ``share`` that ``seed`` chooses; both in the order of names."""
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1 (got {share})")
    return hold_out_count(faces, max(1, round(share * len(faces))), seed)


def hold_out_count(faces: FaceList, count: int, seed: int) -> tuple[FaceList, FaceList]:
    """What remains, and ``count`` faces that ``seed`` chooses; both in the order of names."""
    if not 0 < count < len(faces):
        raise ValueError(f"count must lie between 0 and the number of faces, {len(faces)} (got {count})")
    order = np.random.default_rng(seed).permutation(len(faces))
    return faces.part(np.sort(order[count:])), faces.part(np.sort(order[:count]))


def read_split(path: Path) -> tuple[str, ...]:
    """Names of a split file of Cao et al.: columns (number), file, age, with the age counted from 21.

    Raises AgeError naming the row that is wrong.
    """
    if not path.is_file():
        raise AgeError(f"no split file {path.absolute()}: utk_train.csv and utk_test.csv of Cao et al.'s coral-cnn")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise AgeError(f"{path.absolute()} is no CSV file: {error}") from error
    if not rows or not {"file", "age"} <= set(rows[0]):
        found = ", ".join(map(str, rows[0])) if rows else "no row"
        raise AgeError(f"{path.absolute()} must have the columns file and age (got {found})")
    names = []
    for line, row in enumerate(rows, start=2):
        name, age = row["file"] or "", row["age"] or ""
        if not _NAME.match(name) or not age.strip().isdigit() or age_of(name) != int(age) + AGES[0]:
            row_text = f"line {line} of {path.absolute()}"
            raise AgeError(f"{row_text} must name a face and its age minus {AGES[0]} (got {name!r}, {age!r})")
        names.append(name)
    return tuple(names)


def open_split(folder: Path, splits: Path) -> tuple[FaceList, FaceList, list[str]]:
    """Training and test faces of the split by Cao et al., and a sentence for all that is not as published.

    ``splits``: folder of utk_train.csv and utk_test.csv. Faces that are missing in ``folder`` are left out, and said.
    Raises AgeError when none is there.
    """
    faces = find_faces(folder)
    there = set(faces.names)
    remarks = []
    if len(faces) != ALL:
        remarks.append(f"The folder holds {len(faces)} faces, the whole set has {ALL}.")
    parts: dict[str, FaceList] = {}
    for part, name in SPLITS.items():
        names = read_split(splits / name)
        if len(names) != COUNTS[part]:
            remarks.append(f"{name} lists {len(names)} faces, that of Cao et al. {COUNTS[part]}.")
        found = tuple(name for name in names if name in there)
        if not found:
            raise AgeError(f"none of the {len(names)} faces of {(splits / name).absolute()} is in {folder.absolute()}")
        if len(found) < len(names):
            first = next(name for name in names if name not in there)
            missing = f"{len(names) - len(found)} of the {len(names)} faces of {name} are missing"
            remarks.append(f"{missing}, such as {first}.")
        parts[part] = FaceList(faces.folder, found)
    return parts["train"], parts["test"], remarks


def counts_by_decade(faces: FaceList) -> Mapping[int, int]:
    """Decade of life (0, 10, 20, ...) -> number of faces."""
    decades, numbers = np.unique(faces.ages.astype(int) // 10 * 10, return_counts=True)
    return dict(zip(decades.tolist(), numbers.tolist(), strict=True))
