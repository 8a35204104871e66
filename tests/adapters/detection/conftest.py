"""Small sets in COCO's format for these tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

Box = Sequence[float]


def document(
    images: Mapping[int, tuple[int, int]],
    annotations: Sequence[tuple[int, int, Box]],
    categories: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """``images``: id -> (width, height); ``annotations``: (image, category, x y w h), numbered from 1."""
    return {
        "images": [
            {"id": number, "file_name": f"{number:04d}.png", "width": w, "height": h}
            for number, (w, h) in images.items()
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for number, (image, category, box) in enumerate(annotations, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in (categories or {2: "cat", 7: "dog"}).items()],
    }


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_set(root: Path, split: str, content: dict[str, Any]) -> Path:
    """The annotation file and an image for each entry, whose red channel grows to the right."""
    write(root / "annotations" / f"instances_{split}.json", content)
    (root / split).mkdir(parents=True, exist_ok=True)
    for image in content["images"]:
        pixels = np.zeros((image["height"], image["width"], 3), np.uint8)
        pixels[..., 0] = np.arange(image["width"]) % 256
        pixels[..., 1] = image["id"] % 256
        Image.fromarray(pixels).save(root / split / image["file_name"])
    return root


def ellipse(size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """A mask (H, W): filled within the corners of ``box``."""
    canvas = Image.new("1", size)
    ImageDraw.Draw(canvas).ellipse(box, fill=1)
    return np.asarray(canvas)
