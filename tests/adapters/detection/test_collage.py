"""Boxes read back from the picture, masks and grounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.collage import (
    CLASS_RULES,
    ComposeSettings,
    Stock,
    box_of,
    compose_image,
    is_one_piece,
)
from tests.adapters.detection.conftest import ellipse


def coloured_stock(tmp_path: Path) -> Stock:
    """Plain ellipses, each of a colour that nothing else has, on white."""
    path = tmp_path / "ground.png"
    Image.new("RGB", (320, 256), (255, 255, 255)).save(path)
    rng = np.random.default_rng(1)
    objects = []
    for number in range(150):
        w, h = (int(v) for v in rng.integers(50, 120, 2))
        rgba = np.zeros((h + 4, w + 4, 4), np.uint8)
        rgba[..., :3] = (number // 36 * 40, number // 6 % 6 * 40, number % 6 * 40)
        rgba[..., 3] = ellipse((w + 4, h + 4), (2, 2, w + 1, h + 1)) * np.uint8(255)
        objects.append(Image.fromarray(rgba))
    return Stock(((path, None),), tuple(objects), frozenset())


@pytest.mark.parametrize("rule", ["shape", "size", "one"])
def test_boxes_are_those_of_the_visible_pixels(tmp_path: Path, rule: str) -> None:
    """Read back from the picture by colour: also of objects that others hide in part."""
    stock = coloured_stock(tmp_path)
    # Neither scaled nor turned, so that no colour is mixed.
    settings = ComposeSettings(
        size_wh=(320, 256), sides=(130.0, 130.0), brightness=0.0, turn=0.0, classes=rule, objects=(3, 7)
    )
    objects = hidden = 0
    for number in range(25):
        made = compose_image(stock, settings, np.random.default_rng(number))
        assert made.image.shape == (256, 320, 3) and len(made.labels) >= 1
        near = np.rint(made.image / 40) * 40
        key = (near[..., 0] / 40 * 36 + near[..., 1] / 40 * 6 + near[..., 2] / 40).astype(int)
        key[(made.image != near).any(-1) | (made.image > 250).any(-1)] = -1
        seen = [(int(k), int((key == k).sum())) for k in np.unique(key) if k >= 0]
        if len({k for k, count in seen if count > 40}) < len(made.labels):
            continue  # one colour twice
        for (x, y, w, h), area, label in zip(made.boxes_xywh, made.areas, made.labels, strict=True):
            patch = key[y : y + h, x : x + w]
            colours = [k for k, count in seen if count == area and (patch == k).sum() == area]
            assert colours, f"image {number}: no colour fills the box {x, y, w, h} with {area} pixels"
            assert box_of(key == colours[0]) == (x, y, w, h)
            assert CLASS_RULES[rule].label_of(w, h) == label > 0
            hidden += area < 0.76 * w * h  # a whole ellipse covers pi / 4
            objects += 1
    assert objects > 40 and hidden > 3


@pytest.mark.parametrize("overlap", [0.02, 0.4])
def test_objects_show_enough_of_themselves_and_have_boxes_of_their_own(tmp_path: Path, overlap: float) -> None:
    stock = coloured_stock(tmp_path)
    settings = ComposeSettings(
        size_wh=(320, 256), sides=(60.0, 120.0), turn=0.0, objects=(6, 6), classes="one", max_overlap=overlap
    )
    for number in range(8):
        made = compose_image(stock, settings, np.random.default_rng(number))
        for i, (x, y, w, h) in enumerate(made.boxes_xywh):
            assert made.areas[i] >= 0.99 * 0.6 * np.pi / 4 * w * h
            for a, b, c, d in made.boxes_xywh[:i]:
                inter = max(min(x + w, a + c) - max(x, a), 0) * max(min(y + h, b + d) - max(y, b), 0)
                assert inter <= overlap * (w * h + c * d - inter)


def test_classes() -> None:
    shape, size = CLASS_RULES["shape"], CLASS_RULES["size"]
    boxes = [(80, 50), (79, 50), (70, 50), (50, 40), (50, 50), (40, 50), (50, 70), (50, 79), (50, 80)]
    assert [shape.names[label - 1] if label else "" for label in (shape.label_of(w, h) for w, h in boxes)] == [
        "wide", "", "", "compact", "compact", "compact", "", "", "tall"
    ]  # fmt: skip
    assert [size.label_of(side, side) for side in (60, 70, 84)] == [1, 0, 2]
    assert CLASS_RULES["one"].label_of(3, 99) == 1


def test_a_stock_without_any_class_is_one_error(tmp_path: Path) -> None:
    stock = coloured_stock(tmp_path)
    with pytest.raises(DetectionDataError, match="none of 150 objects is of a class by size"):
        settings = ComposeSettings(size_wh=(320, 256), sides=(81.0, 81.0), turn=0.0, classes="size", min_side=70)
        compose_image(stock, settings, np.random.default_rng(0))


# Masks and grounds ---------------------------------------------------------------------------------------------------


def test_box_of_a_mask() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[4:9, 7] = mask[6, 7:12] = True
    assert box_of(mask) == (7, 4, 5, 5)


def test_one_piece() -> None:
    one = ellipse((200, 100), (10, 10, 90, 90))
    assert is_one_piece(one) and not is_one_piece(np.zeros((50, 50), np.bool_))
    assert is_one_piece(one | ellipse((200, 100), (150, 40, 160, 50)))  # 1 % beside it
    assert not is_one_piece(one | ellipse((200, 100), (110, 10, 190, 90)))
