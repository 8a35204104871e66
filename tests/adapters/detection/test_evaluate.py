"""The figures against pycocotools, against cases counted by hand, and the matching written out."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ebm_tracker.adapters.detection.annotations import read_annotations
from ebm_tracker.adapters.detection.base import Detections
from ebm_tracker.adapters.detection.data import Objects
from ebm_tracker.adapters.detection.evaluate import DetectionScores, matched_ious, score_detections
from ebm_tracker.adapters.detection.results import Result
from ebm_tracker.errors import EbmError
from tests.adapters.detection.conftest import document, write

pytest.importorskip("faster_coco_eval", reason="needs the extra coco")
FIGURES = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def scores_of(
    tmp_path: Path, content: dict[str, Any], results: list[Result], ids: list[int] | None = None
) -> DetectionScores:
    return score_detections(read_annotations(write(tmp_path / "truth.json", content)), results, ids)


def result(image: int, category: int, box: Any, score: float) -> Result:
    return {"image_id": image, "category_id": category, "bbox": [float(v) for v in box], "score": score}


def random_case(seed: int) -> tuple[dict[str, Any], list[Result]]:
    """Crowds, boxes of no area, equal scores, classes that are never found or never there, too many detections."""
    rng = np.random.default_rng(seed)
    images = {int(number): (640, 480) for number in rng.choice(1000, 12, replace=False)}
    categories = {3: "a", 4: "b", 11: "c", 80: "nowhere", 90: "never found"}
    boxes: list[tuple[int, int, Any]] = []
    results = []
    for image in images:
        for _ in range(int(rng.integers(0, 9))):
            side = np.exp(rng.uniform(2, 5.5, 2))
            box = [*rng.uniform(0, 300, 2), *side]
            boxes.append((image, int(rng.choice([3, 4, 11, 90])), [float(v) for v in box]))
            for _ in range(int(rng.integers(0, 4))):
                noise = rng.normal(0, 0.12, 4) * [*side, *side]
                category = boxes[-1][1] if rng.random() < 0.85 and boxes[-1][1] != 90 else 4
                results.append(result(image, category, np.array(box) + noise, round(float(rng.random()), 1)))
    crowded = next(iter(images))
    for _ in range(130):
        box = [*rng.uniform(0, 300, 2), *rng.uniform(10, 90, 2)]
        results.append(result(crowded, 3, box, round(float(rng.random()), 2)))
    content = document(images, boxes, categories)
    for place in rng.choice(len(boxes), 6, replace=False).tolist():
        content["annotations"][place]["iscrowd"] = 1
    for annotation in content["annotations"]:
        annotation["area"] *= float(rng.uniform(0.3, 1))
    content["annotations"][2]["bbox"][2] = 0.0
    return content, results


def pycocotools_stats(content: dict[str, Any], results: list[Result], ids: list[int] | None = None) -> list[float]:
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools to compare with")
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = json.loads(json.dumps(content))
        truth.createIndex()
        evaluator = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), "bbox")
        if ids is not None:
            evaluator.params.imgIds = ids
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [100 * float(value) if value > -1 else math.nan for value in evaluator.stats]


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_pycocotools(tmp_path: Path, seed: int) -> None:
    content, results = random_case(seed)
    scores = scores_of(tmp_path, content, results)
    expected = pycocotools_stats(content, results)
    assert [scores.figures[name] for name in FIGURES] == pytest.approx(expected[:6], abs=1e-9, nan_ok=True)
    assert scores.figures["AR"] == pytest.approx(expected[8], abs=1e-9)
    assert 5 < scores.figures["AP"] < 90  # a case that says something
    assert scores.detections == len(results) and scores.images == 12
    assert math.isnan(scores.class_ap["nowhere"]) and scores.class_ap["never found"] == 0
    assert np.nanmean(list(scores.class_ap.values())) == pytest.approx(scores.figures["AP"])


def test_some_images_only(tmp_path: Path) -> None:
    content, results = random_case(5)
    ids = [image["id"] for image in content["images"]][3:8]
    scores = scores_of(tmp_path, content, results, ids)
    assert scores.figures["AP"] == pytest.approx(pycocotools_stats(content, results, ids)[0], abs=1e-9)
    assert scores.images == 5 and scores.detections == sum(r["image_id"] in ids for r in results)
    with pytest.raises(ValueError, match="image_ids must be at least one of the 12"):
        scores_of(tmp_path, content, results, [1_000_000])


def test_counted_by_hand(tmp_path: Path) -> None:
    content = document({1: (100, 100)}, [(1, 2, (0, 0, 100, 50))])
    # IoU 0.62: found at 0.50, 0.55 and 0.60 of ten thresholds.
    scores = scores_of(tmp_path, content, [result(1, 2, (0, 0, 62, 50), 0.9)])
    assert scores.figures["AP"] == pytest.approx(30) and scores.figures["AP50"] == pytest.approx(100)
    assert scores.figures["AP75"] == 0 and scores.figures["AR"] == pytest.approx(30)
    assert scores.figures["APm"] == pytest.approx(30) and math.isnan(scores.figures["APs"])
    assert scores.class_ap["cat"] == pytest.approx(30) and math.isnan(scores.class_ap["dog"])
    assert (scores.images, scores.objects, scores.detections) == (1, 1, 1)


def test_an_annotation_with_number_0_counts(tmp_path: Path) -> None:
    """pycocotools itself takes its match for none."""
    content = document({1: (100, 100)}, [(1, 2, (0, 0, 50, 50))])
    content["annotations"][0]["id"] = 0
    assert scores_of(tmp_path, content, [result(1, 2, (0, 0, 50, 50), 0.9)]).figures["AP"] == pytest.approx(100)


def test_no_detections_and_no_objects(tmp_path: Path) -> None:
    content = document({1: (100, 100)}, [(1, 2, (0, 0, 50, 50))])
    nothing = scores_of(tmp_path, content, [])
    assert nothing.figures["AP"] == 0 and nothing.detections == 0
    empty = scores_of(tmp_path, document({1: (9, 9)}, []), [result(1, 2, (0, 0, 5, 5), 0.5)])
    assert math.isnan(empty.figures["AP"]) and empty.objects == 0


def test_nothing_is_printed_or_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, results = random_case(1)
    before = json.dumps(results)
    scores_of(tmp_path, content, results)
    assert json.dumps(results) == before and capsys.readouterr().out == ""


@pytest.mark.parametrize(("image", "category"), [(9, 2), (1, 3)])
def test_results_of_other_images_or_categories(tmp_path: Path, image: int, category: int) -> None:
    content = document({1: (100, 100)}, [(1, 2, (0, 0, 50, 50))])
    with pytest.raises(ValueError, match=f"must be in truth.json .got {image} and {category}"):
        scores_of(tmp_path, content, [result(image, category, (0, 0, 5, 5), 0.5)])


def test_the_extra_is_named_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    with pytest.raises(EbmError, match=r"ebm-tracker\[coco\]"):
        scores_of(tmp_path, document({1: (9, 9)}, []), [])


def brute_matches(objects: Objects, found: Detections, limit: float) -> list[float]:
    def iou(a: list[float], b: list[float]) -> float:
        w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        inter = max(w, 0) * max(h, 0)
        return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)

    free = set(range(len(objects.labels)))
    values = []
    for place in sorted(range(len(found)), key=lambda i: -float(found.scores[i])):
        mine = [
            (iou(found.boxes_xyxy[place].tolist(), objects.boxes_xyxy[i].tolist()), i)
            for i in free
            if objects.labels[i] == found.labels[place]
        ]
        best = max(mine, default=(0.0, -1))
        if best[0] >= limit:
            values.append(best[0])
            free.remove(best[1])
    return values


def random_boxes(count: int, generator: torch.Generator) -> torch.Tensor:
    corner = 40 * torch.rand(count, 2, generator=generator)
    return torch.cat((corner, corner + 10 + 30 * torch.rand(count, 2, generator=generator)), 1)


@pytest.mark.parametrize("seed", range(5))
def test_matching_against_the_rule_written_out(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    objects = Objects(random_boxes(8, generator), torch.randint(1, 3, (8,), generator=generator))
    labels = torch.randint(1, 3, (30,), generator=generator)
    found = Detections(random_boxes(30, generator), torch.rand(30, generator=generator), labels)
    for limit in (0.3, 0.5):
        expected = brute_matches(objects, found, limit)
        torch.testing.assert_close(matched_ious(objects, found, limit), torch.tensor(expected, dtype=torch.float64))
    assert brute_matches(objects, found, 0.3)


def test_matching_nothing() -> None:
    none, some = torch.zeros(0, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    boxes = torch.tensor([[0.0, 0, 4, 4], [0.0, 0, 0, 0]])
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), none)
    assert matched_ious(Objects(boxes, some), nothing).shape == (0,)
    assert matched_ious(Objects(torch.zeros(0, 4), none), Detections(boxes, torch.ones(2), some)).shape == (0,)
    assert matched_ious(Objects(boxes, some), Detections(boxes, torch.ones(2), some)).tolist() == [1.0]
