"""How fast the JPEG decoders of this machine are, on the same files."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from ebm_tracker.training.data.decode import DECODERS, Decoder, decode_pillow, load_decoder
from ebm_tracker.training.data.sequence import FrameReadError

_PACKAGES = {"opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python")}


@dataclass(frozen=True)
class DecoderSpeed:
    """One row of the table.

    Attributes:
        name: see ``decode.DECODERS``.
        version: of the package; "" when unknown.
        available: False when it is not installed or does not work here; then the numbers are NaN.
        milliseconds: per image, the median over the rounds.
        images_per_second: from the same median.
        largest_difference: to Pillow, in gray levels, over all images.
    """

    name: str
    version: str
    available: bool
    milliseconds: float
    images_per_second: float
    largest_difference: float


def measure_decoders(paths: Sequence[str | Path], rounds: int = 5) -> list[DecoderSpeed]:
    """Decodes the files with every decoder, in turn, ``rounds`` times after one that does not count.

    The files are read into memory first, so that the disk is not measured. One thread: each decoder decodes one
    image at a time. Rows come in the order of ``decode.DECODERS``.

    Raises ValueError without paths, FrameReadError for a file that is missing or that an available decoder refuses.
    """
    if not paths or rounds < 1:
        raise ValueError(f"paths and rounds must be at least one (got {len(paths)} and {rounds})")
    images = [_read(Path(path)) for path in paths]
    found = {name: load_decoder(name) for name in DECODERS}
    working = {name: decoder for name, decoder in found.items() if decoder is not None}
    differences = {name: _largest_difference(decoder, images, paths) for name, decoder in working.items()}
    seconds: dict[str, list[float]] = {name: [] for name in working}
    for _ in range(rounds):
        for name, decoder in working.items():
            start = time.perf_counter()
            for image in images:
                decoder(image)
            seconds[name].append(time.perf_counter() - start)
    rows = []
    for name in DECODERS:
        each = statistics.median(seconds[name]) / len(images) if name in working else float("nan")
        difference = differences.get(name, float("nan"))
        rows.append(DecoderSpeed(name, _version(name), name in working, 1000 * each, 1 / each, difference))
    return rows


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FrameReadError(f"{path} cannot be read ({error.strerror})") from error


def _largest_difference(decoder: Decoder, images: list[bytes], paths: Sequence[str | Path]) -> float:
    largest = 0
    for image, path in zip(images, paths, strict=True):
        try:
            frame, expected = decoder(image), decode_pillow(image)
        except Exception as error:
            raise FrameReadError(f"{path} cannot be decoded ({error})") from error
        largest = max(largest, int(np.abs(frame.astype(np.int16) - expected).max()))
    return float(largest)


def _version(name: str) -> str:
    for package in _PACKAGES.get(name, (name,)):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return ""
