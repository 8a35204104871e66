"""Image bytes -> RGB array, by the fastest decoder there is."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps

from ebm_tracker.frames import RgbFrame, to_rgb_uint8
from ebm_tracker.training.data.sequence import FrameReadError
from ebm_tracker.video import PILLOW_ERRORS

Decoder = Callable[[bytes], RgbFrame]
"""JPEG bytes -> (H, W, 3) uint8 RGB; any exception means that it cannot."""


def decode_image(data: bytes, source: str = "image", apply_orientation: bool = False) -> RgbFrame:
    """The image as (H, W, 3) uint8 RGB in C order.

    A whole 8-bit JPEG of three channels goes to the process's JPEG decoder (:func:`jpeg_decoder_name`); everything
    else goes to Pillow: other formats, gray, CMYK and 12-bit JPEGs, those that are cut off, and those that the fast
    decoder refuses. So the result does not depend on which decoders are installed, but for one to three gray levels.

    Args:
        data: the file's bytes.
        source: how errors name the image.
        apply_orientation: turn the image as the camera's orientation tag asks. Off for the public sets, whose boxes
            refer to the pixels as they are stored.

    Raises:
        FrameReadError: damaged, cut off, or no image.
    """
    turned = apply_orientation and b"Exif" in data[:4096]
    if not turned and _is_plain_jpeg(data):
        decoder = _process_decoder()[1]
        if decoder is not decode_pillow:
            frame = _try(decoder, data)
            if frame is not None:
                return frame
    try:
        return _pillow(data, turned)
    except PILLOW_ERRORS as error:
        raise FrameReadError(f"{source} cannot be decoded ({str(error) or type(error).__name__})") from error


def _try(decoder: Decoder, data: bytes) -> RgbFrame | None:
    try:
        return decoder(data)
    except Exception:  # each package has its own kinds; Pillow has the last word and names the trouble
        return None


def _is_plain_jpeg(data: bytes) -> bool:
    """Whether it is a JPEG with its end, 8 bits and three channels."""
    # Decoders differ in what they do with a file that is cut off: an error, a gray rest, or a warning on the console.
    return data[:3] == b"\xff\xd8\xff" and data[-2:] == b"\xff\xd9" and _jpeg_bits_and_channels(data) == (8, 3)


def _jpeg_bits_and_channels(data: bytes) -> tuple[int, int] | None:
    """From the frame header (ITU-T T.81, B.2.2), which is found by walking the marker segments before it."""
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[place + 4], data[place + 9]
        elif marker == 0xDA:  # pixels before any frame header
            return None
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def _pillow(data: bytes, apply_orientation: bool) -> RgbFrame:
    with Image.open(io.BytesIO(data)) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened) if apply_orientation else opened
        if image.mode.startswith("I"):  # Pillow would clip 16-bit gray, not scale it
            return to_rgb_uint8(np.clip(np.asarray(image), 0, 65535).astype(np.uint16))
        return np.array(image.convert("RGB"))


def decode_pillow(data: bytes) -> RgbFrame:
    """Any format; the one that is always there."""
    return _pillow(data, apply_orientation=False)


def _simplejpeg() -> Decoder:
    from simplejpeg import decode_jpeg

    return lambda data: decode_jpeg(data, colorspace="RGB")


def _opencv() -> Decoder:
    import cv2

    # As stored: OpenCV turns images by their orientation tag unless told otherwise.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

    def decode(data: bytes) -> RgbFrame:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if bgr is None:
            raise ValueError("OpenCV cannot decode it")
        rgb: RgbFrame = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return rgb

    return decode


def _torchvision() -> Decoder:
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    # Said at every image since 0.29. Should the decoders be gone one day, the next in line takes over.
    warnings.filterwarnings("ignore", ".*capabilities of TorchVision are deprecated", DeprecationWarning)

    def decode(data: bytes) -> RgbFrame:
        planes = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)  # (3, H, W)
        rgb: RgbFrame = planes.permute(1, 2, 0).contiguous().numpy()
        return rgb

    return decode


def _jpeg4py() -> Decoder:
    # Asked for first: without libturbojpeg, which is no part of the wheel, every object complains on the console when
    # it is deleted.
    from jpeg4py._cffi import initialize

    initialize()
    from jpeg4py import JPEG

    return lambda data: JPEG(np.frombuffer(data, np.uint8)).decode()


_LOADERS: dict[str, Callable[[], Decoder]] = {
    "simplejpeg": _simplejpeg,
    "opencv": _opencv,
    "jpeg4py": _jpeg4py,
    "torchvision": _torchvision,
    "pillow": lambda: decode_pillow,
}

DECODERS = tuple(_LOADERS)
"""Fastest first. ECSSD photos of 400x300, one thread of the development machine, milliseconds per image
(decoder_speed.py): 0.82, 0.90, 0.88, 0.91, 1.09. jpeg4py needs a C library that no wheel brings."""


def load_decoder(name: str) -> Decoder | None:
    """The JPEG decoder of that name (see DECODERS); None when it is not installed or does not work here.

    It has been tried on a small image then, so that a missing library shows now and not hours later.
    """
    if name not in _LOADERS:
        raise ValueError(f"decoder must be one of {', '.join(DECODERS)} (got {name!r})")
    pixels, jpeg = _trial()
    try:
        decoder = _LOADERS[name]()
        frame = decoder(jpeg)
    except Exception:  # also what a package of the wrong build or a missing C library raises
        return None
    whole = frame.dtype == np.uint8 and frame.shape == pixels.shape and frame.flags.c_contiguous
    return decoder if whole and np.abs(frame.astype(int) - pixels).max() <= 3 else None


@lru_cache(maxsize=1)
def _trial() -> tuple[RgbFrame, bytes]:
    ramp = np.arange(48, dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(5 * ramp, 200 - 3 * ramp[:32, None], 90 + ramp[:32, None] // 2), axis=2)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return decode_pillow(file.getvalue()), file.getvalue()


def choose_decoder(names: Iterable[str] = DECODERS) -> tuple[str, Decoder]:
    """The first of the named decoders that works here, else Pillow: its name and itself."""
    for name in names:
        decoder = load_decoder(name)
        if decoder is not None:
            return name, decoder
    return "pillow", decode_pillow


@lru_cache(maxsize=1)
def _process_decoder() -> tuple[str, Decoder]:
    return choose_decoder()


def jpeg_decoder_name() -> str:
    """Which decoder this process uses for JPEG files; chosen at the first use, for good."""
    return _process_decoder()[0]
