"""JPEGs to and from the browser."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ebm_tracker.errors import VideoError
from ebm_tracker.frames import RgbFrame, to_rgb_uint8
from ebm_tracker.video import PILLOW_ERRORS

QUALITY = 82


def to_jpeg(frame: RgbFrame, quality: int = QUALITY) -> bytes:
    """The (H, W, 3) uint8 RGB frame as a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return file.getvalue()


def from_jpeg(data: bytes, most_pixels: int) -> RgbFrame:
    """(H, W, 3) uint8 RGB of a JPEG file.

    Only JPEG's decoder is tried, and only after its header told a size within ``most_pixels``. Raises VideoError.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.width * image.height > most_pixels:
                raise VideoError(f"a picture may have {most_pixels} pixels (got {image.width}x{image.height})")
            return to_rgb_uint8(np.asarray(image.convert("RGB")))
    except PILLOW_ERRORS as error:
        raise VideoError("the picture cannot be decoded as a JPEG") from error
