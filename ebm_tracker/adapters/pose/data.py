"""FSA-Net's files of head poses: ``BIWI_train.npz`` and ``BIWI_test.npz`` (protocol 2), which the user brings."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.errors import EbmError
from ebm_tracker.files import atomic_path

SIZE = 64
ANGLES = ("yaw", "pitch", "roll")
FILES = {"train": "BIWI_train.npz", "test": "BIWI_test.npz"}
COUNTS = {"train": 10_613, "test": 5_065}
"""Images of protocol 2: 16 and 8 of the 24 recordings."""
VALIDATION = 1_010
"""Of the training images; which ones the paper used is not published."""
_LARGEST = 180.0


class PoseError(EbmError):
    """A file of head poses is missing or holds something else."""


@dataclass(frozen=True)
class PoseData:
    """``images`` (N, 64, 64, 3) uint8 RGB and ``poses`` (N, 3) float32: yaw, pitch, roll in degrees."""

    images: NDArray[np.uint8]
    poses: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def part(self, rows: NDArray[np.int64] | slice) -> PoseData:
        """These rows."""
        return PoseData(self.images[rows], self.poses[rows])


def read_pose_file(path: Path) -> PoseData:
    """Reads arrays ``image`` (N, 64, 64, 3) uint8 in BGR and ``pose`` (N, 3): yaw, pitch, roll in degrees.

    Raises PoseError naming the file and what is wrong with it. The file may come from anywhere: nothing in it is run.
    """
    if not path.is_file():
        raise PoseError(f"no file of head poses: {path.absolute()}")
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise PoseError(f"{path.absolute()} must be an .npz archive of arrays (got a single array)")
        with loaded as arrays:
            missing = [name for name in ("image", "pose") if name not in arrays.files]
            if missing:
                names = ", ".join(arrays.files[:8]) or "nothing"
                raise PoseError(f"{path.absolute()} must hold the arrays image and pose (got {names})")
            images, poses = arrays["image"], arrays["pose"]
            size = arrays["img_size"] if "img_size" in arrays.files else np.array(SIZE)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError,
            NotImplementedError, MemoryError) as error:  # fmt: skip
        # Of a file that is none, numpy advises to load it with pickle.
        reason = error if zipfile.is_zipfile(path) else "it is no .npz file"
        raise PoseError(f"{path.absolute()} cannot be read as an archive of arrays: {reason}") from error
    _check(path, images, poses, size)
    return PoseData(np.ascontiguousarray(images[..., ::-1]), poses.astype(np.float32))


def _check(path: Path, images: NDArray[np.uint8], poses: NDArray[np.float64], size: NDArray[np.int64]) -> None:
    where = path.absolute()
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (SIZE, SIZE, 3):
        raise PoseError(
            f"image in {where} must be uint8 of shape (N, {SIZE}, {SIZE}, 3) (got {images.dtype} {images.shape})"
        )
    if size.size != 1 or size.dtype.kind not in "iuf" or float(size.reshape(())) != SIZE:
        raise PoseError(f"img_size in {where} must be {SIZE} (got {size.tolist()!r})")
    if poses.dtype.kind not in "fiu" or poses.shape != (len(images), 3):
        raise PoseError(
            f"pose in {where} must be numbers of shape ({len(images)}, 3), one row per image "
            f"(got {poses.dtype} {poses.shape})"
        )
    if not len(images):
        raise PoseError(f"{where} holds no image")
    bad = np.flatnonzero(~(np.abs(poses) <= _LARGEST).all(1))  # also those that are not finite
    if len(bad):
        raise PoseError(
            f"pose in {where} must hold yaw, pitch and roll within +-{_LARGEST:g} degrees "
            f"(row {bad[0]} is {poses[bad[0]].tolist()})"
        )


def write_pose_file(path: Path, data: PoseData) -> None:
    """Writes such a file, BGR as FSA-Net's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez_compressed(file, image=data.images[..., ::-1], pose=data.poses, img_size=np.array(SIZE))


def open_biwi(folder: Path) -> tuple[PoseData, PoseData, list[str]]:
    """Training and test set of protocol 2, and a sentence for each count that is not the official one.

    Raises PoseError when one of the files is missing or damaged.
    """
    missing = [name for name in FILES.values() if not (folder / name).is_file()]
    if missing:
        raise PoseError(
            f"{folder.absolute()} must hold {FILES['train']} and {FILES['test']}, FSA-Net's files of BIWI "
            f"(missing: {', '.join(missing)})"
        )
    parts = {name: read_pose_file(folder / file) for name, file in FILES.items()}
    remarks = [
        f"{FILES[name]} holds {len(data)} images, protocol 2 has {COUNTS[name]}"
        for name, data in parts.items()
        if len(data) != COUNTS[name]
    ]
    return parts["train"], parts["test"], remarks


def hold_out(data: PoseData, count: int, seed: int) -> tuple[PoseData, PoseData]:
    """What remains, and ``count`` images that ``seed`` chooses (the files do not say who is who)."""
    if not 0 <= count < len(data):
        raise ValueError(f"count must be at least 0 and below {len(data)}, the number of images (got {count})")
    order = np.random.default_rng(seed).permutation(len(data))
    return data.part(np.sort(order[count:])), data.part(np.sort(order[:count]))
