"""What the figures show: colours at the places of the boxes, and numbers that were counted by hand."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ebm_tracker.adapters.detection.base import Detections
from ebm_tracker.adapters.detection.comparison import detections_of, found_shares, objects_shown
from ebm_tracker.adapters.detection.data import DetectionImages, open_detection_images
from ebm_tracker.adapters.detection.figure import (
    MARGIN,
    NAMES,
    THRESHOLDS,
    ObjectShown,
    _cut,
    _view,
    before_and_after,
    pick,
    scores_and_coverage,
)
from ebm_tracker.adapters.detection.results import Result, results_of
from ebm_tracker.evaluation.report.plots import PlotError
from tests.adapters.detection.conftest import document, write_set

BEFORE, AFTER, OURS, GREEN = (255, 163, 26), (47, 180, 255), (0, 114, 178), (0, 255, 0)


def array(*values: float) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def shown(before: float = 4, after: float = 1, rgb: tuple[int, int, int] = (90, 90, 90)) -> ObjectShown:
    truth = array(20, 30, 60, 70)
    return ObjectShown(np.full((100, 120, 3), rgb, np.uint8), truth, truth + before, truth + after)


def pixels(png: bytes) -> NDArray[np.int64]:
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int64)


def share(png: bytes, rgb: tuple[int, int, int], tolerance: int = 12) -> float:
    return float((np.abs(pixels(png) - rgb).max(-1) <= tolerance).mean())


# Numbers --------------------------------------------------------------------------------------------------------------


def test_pick_is_even_and_stays_away_from_the_ends() -> None:
    assert pick(100, 4) == [12, 37, 62, 87]
    assert pick(5, 5) == pick(5, 9) == [0, 1, 2, 3, 4]
    assert pick(7, 1) == [3] and pick(0, 4) == []


def test_overlaps_of_an_object() -> None:
    first, then = shown(before=20, after=0).ious
    assert first == pytest.approx(400 / (2 * 1600 - 400)) and then == 1
    assert shown(before=40).ious[0] == 0
    assert shown(before=20, after=0).caption == "IoU 0.14 → 1.00"


def test_a_panel_holds_the_object_with_its_margin_and_all_boxes() -> None:
    x0, y0, side = _view(shown(before=0, after=0))
    assert side == pytest.approx((1 + 2 * MARGIN) * 40)
    assert (x0 + side / 2, y0 + side / 2) == (40, 50)
    large = ObjectShown(shown().image, array(20, 30, 60, 70), array(0, 30, 80, 70), array(20, 30, 60, 70))
    x0, y0, side = _view(large)
    assert x0 < 0 and x0 + side > 80


def test_pixels_keep_their_place_and_beside_the_image_is_grey() -> None:
    image = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8, 1).repeat(3, 2)
    cut, extent = _cut(image, -1.5, 3.2, 4.0)
    assert extent == (-2, 3, 8, 3) and cut.shape == (5, 5, 3)
    assert cut[:3, 2:, 0].tolist() == image[3:6, 0:3, 0].tolist()
    assert (cut[3:] == 236).all() and (cut[:, :2] == 236).all()
    assert (_cut(image, 20, 20, 3)[0] == 236).all()  # beside it altogether
    assert (_cut(image, -20, -20, 3)[0] == 236).all()


# From files of detections ---------------------------------------------------------------------------------------------


def three_images(root: Path) -> DetectionImages:
    annotations = [(1, 2, (0, 0, 40, 40)), (1, 7, (50, 0, 20, 40)), (3, 2, (10, 10, 40, 20)), (3, 2, (60, 60, 20, 20))]
    listed = {number: (100, 100) for number in (1, 2, 3)}
    return open_detection_images(write_set(root, "test", document(listed, annotations)), "test")


def result(image: int, category: int, box: tuple[float, float, float, float], score: float) -> Result:
    return {"image_id": image, "category_id": category, "bbox": [float(value) for value in box], "score": score}


FOUND = [
    result(3, 2, (10, 10, 36, 20), 0.8),  # IoU 0.9
    result(1, 2, (0, 0, 40, 24), 0.9),  # 0.6
    result(1, 2, (0, 0, 40, 40), 0.3),  # better, but its object is taken
    result(1, 2, (50, 0, 20, 40), 0.95),  # of the wrong class
    result(2, 2, (0, 0, 9, 9), 0.99),  # nothing there
    result(3, 2, (60, 60, 20, 15), 0.4),  # 0.75, unsure
]


def test_shares_of_objects_counted_by_hand(tmp_path: Path) -> None:
    shares = found_shares(three_images(tmp_path), FOUND)
    at = {round(float(t), 3): share for t, share in zip(THRESHOLDS, shares, strict=True)}
    expected = {0.5: 0.75, 0.595: 0.75, 0.605: 0.5, 0.745: 0.5, 0.755: 0.25, 0.895: 0.25, 0.905: 0, 1.0: 0}
    assert {t: at[t] for t in expected} == expected
    assert (found_shares(three_images(tmp_path), []) == 0).all()


def test_results_become_detections_again(tmp_path: Path) -> None:
    classes = three_images(tmp_path).classes
    boxes = torch.tensor([[1.0, 2, 30, 40], [5, 6, 7, 8]])
    few = Detections(boxes, torch.tensor([0.25, 0.5]), torch.tensor([2, 1]))
    back = detections_of([*results_of(3, few, classes), *results_of(1, few[:1], classes)], classes)
    assert list(back) == [1, 3]
    assert torch.equal(back[3].boxes_xyxy.float(), boxes) and back[3].labels.tolist() == [2, 1]
    assert back[3].scores.tolist() == [0.25, 0.5] and len(back[1]) == 1
    with pytest.raises(ValueError, match="category_id"):
        detections_of([result(1, 5, (0, 0, 4, 4), 0.5)], classes)


def test_objects_that_both_found_are_shown_in_the_order_of_the_file(tmp_path: Path) -> None:
    images = three_images(tmp_path)
    after = [result(1, 2, (0, 0, 40, 40), 0.9), result(3, 2, (10, 10, 40, 20), 0.9), result(1, 7, (50, 0, 20, 40), 0.9)]
    objects = objects_shown(images, FOUND, after, 8)
    assert [entry.ious for entry in objects] == [(pytest.approx(0.6), 1), (pytest.approx(0.9), 1)]
    assert objects[1].truth_xyxy.tolist() == [10, 10, 50, 30] and objects[1].before_xyxy.tolist() == [10, 10, 46, 30]
    assert objects[0].image[0, 0, 1] == 1 and objects[1].image[0, 0, 1] == 3  # write_set's green is the image's number
    assert len(objects_shown(images, FOUND, after, 1)) == 1
    assert objects_shown(images, FOUND, [], 4) == []
    assert len(objects_shown(images, FOUND, FOUND, 8, min_score=0.35)) == 3


# Pictures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_sheet_shows_every_object_and_its_boxes(tmp_path: Path, count: int) -> None:
    pytest.importorskip("matplotlib")
    picture = before_and_after([shown(rgb=GREEN)] * count)
    png, pdf = picture.write(tmp_path / "sheet")
    data = png.read_bytes()
    assert share(data, GREEN) > 0.25 and share(data, BEFORE) > 2e-3 and share(data, AFTER) > 2e-3
    assert pdf.stat().st_size < 1_000_000
    width, height = pixels(data).shape[1], pixels(data).shape[0]
    assert width == pytest.approx(160 * max(1.95 * min(count, 4), 3.5), abs=2) and height < 160 * 2.6 * -(-count // 4)


def test_boxes_lie_where_they_are() -> None:
    """Orange left and right of the green: as far from each other as the box is wide in the panel."""
    pytest.importorskip("matplotlib")
    found = []
    for width in (32.0, 16.0):
        truth = array(20, 30, 60, 70)
        entry = ObjectShown(np.full((100, 120, 3), GREEN, np.uint8), truth, array(24, 34, 24 + width, 66), truth)
        data = pixels(before_and_after([entry]).png)
        columns = np.flatnonzero((np.abs(data - BEFORE).max(-1) <= 12)[100:].sum(0) > 3)
        found.append(columns.max() - columns.min())
        assert (np.abs(data - AFTER).max(-1) <= 12)[100:].any()
    assert 0.45 < found[1] / found[0] < 0.6  # half of it, and the line's own width


def test_a_box_behind_another_still_shows_the_truth() -> None:
    pytest.importorskip("matplotlib")
    assert share(before_and_after([shown(0, 0, rgb=GREEN)]).png, AFTER) > 1e-3  # through the gaps of the dashes


def test_curves_of_the_variants_and_the_panel_of_coverage() -> None:
    pytest.importorskip("matplotlib")
    curve = np.linspace(0.9, 0, len(THRESHOLDS))
    found = {name: np.stack((curve, curve)) for name in NAMES} | {"direct": curve[None] / 2}
    two = scores_and_coverage(found).png
    three = scores_and_coverage(found, {"as trained": np.random.default_rng(0).random((50, 4))}).png
    assert pixels(three).shape[1] > 1.4 * pixels(two).shape[1]
    assert share(two, OURS) > 1e-3 and share(three, OURS) > 1e-3
    band = (201, 223, 240)
    assert share(three, band, 3) > 1e-4 > share(two, band, 3)
    single = {"a": np.full((1, 4), 0.5), "b": np.full((1, 4), 0.9)}
    assert pixels(scores_and_coverage({"direct": curve}, single).png).size


def test_bad_arguments_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="objects must hold at least one"):
        before_and_after([])
    curve = np.zeros((1, len(THRESHOLDS)))
    with pytest.raises(ValueError, match="found must have direct and some of .*got ours"):
        scores_and_coverage({"ours": curve})
    with pytest.raises(ValueError, match="got direct, nobody"):
        scores_and_coverage({"direct": curve, "nobody": curve})
    monkeypatch.setattr("ebm_tracker.evaluation.report.plots.plots_available", lambda: False)
    with pytest.raises(PlotError, match=r"ebm-tracker\[eval\]"):
        before_and_after([shown()])
