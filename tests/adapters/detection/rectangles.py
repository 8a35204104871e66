"""A small set on disk in which something can be learned: a white and a red rectangle on noise in every image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.adapters.detection.conftest import Box, document, write

SIZE_WH = (80, 64)
KINDS = ((2, (250, 250, 250)), (7, (250, 20, 20)))
"""Category of the file and colour."""


def write_rectangles(root: Path, split: str, count: int, *, seed: int = 0, annotated: bool = True) -> Path:
    """Images numbered from 1 and their annotations. Without ``annotated`` the file is one of a test server's."""
    rng = np.random.default_rng((seed, *split.encode()))
    (root / split).mkdir(parents=True)
    found: list[tuple[int, int, Box]] = []
    for number in range(1, count + 1):
        pixels = rng.integers(0, 120, (SIZE_WH[1], SIZE_WH[0], 3), np.uint8)
        for place, (category, color) in enumerate(KINDS):
            w, h = (int(side) for side in rng.integers(16, 36, 2))
            x, y = 40 * place + int(rng.integers(0, 40 - w + 1)), int(rng.integers(0, SIZE_WH[1] - h + 1))
            pixels[y : y + h, x : x + w] = color
            found.append((number, category, (x, y, w, h)))
        Image.fromarray(pixels).save(root / split / f"{number:04d}.png")
    content = document(dict.fromkeys(range(1, count + 1), SIZE_WH), found)
    if annotated:
        write(root / "annotations" / f"instances_{split}.json", content)
    else:
        del content["annotations"]
        write(root / "annotations" / f"image_info_{split}.json", content)
    return root
