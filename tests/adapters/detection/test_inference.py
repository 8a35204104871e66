from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from ebm_tracker.adapters.detection import Detections
from ebm_tracker.adapters.detection.branch import ConfidenceBranch
from ebm_tracker.adapters.detection.inference import EnergyDetector, refine, refined, survivors
from ebm_tracker.adapters.detection.refinement import IOU_NET, OURS, RefineSettings, refine_boxes

_spec = importlib.util.spec_from_file_location("tiny_detector", Path(__file__).with_name("tiny_detector.py"))
assert _spec is not None and _spec.loader is not None
tiny = sys.modules.setdefault("tiny_detector", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(tiny)
SMALL_STEPS = RefineSettings(1e-3, 1e-3, 0.5, 3)


def trained_branch() -> ConfidenceBranch:
    """With numbers that differ between boxes."""
    torch.manual_seed(1)
    branch = ConfidenceBranch.of_detector(tiny.tiny_detector()).eval()
    with torch.no_grad():
        branch.readout.weight.normal_()
    return branch


def raw_boxes(count: int = 80) -> Detections:
    generator = torch.Generator().manual_seed(5)
    place = torch.randint(0, 3, (count, 2), generator=generator) * 35.0
    corner = place + 4 * torch.randn((count, 2), generator=generator)
    boxes = torch.cat((corner, corner + 30 + 4 * torch.randn((count, 2), generator=generator)), dim=1)
    scores = torch.rand(count, generator=generator)
    return Detections(boxes, scores, torch.randint(1, tiny.CLASSES, (count,), generator=generator))


# Suppression and choice -----------------------------------------------------------------------------------------------


def test_survivors_are_guided_by_f_and_sorted_by_the_best_score_of_their_cluster() -> None:
    raw = raw_boxes()
    energy = tiny.KnownBranch(lambda boxes, labels: (boxes[:, 0] * 7.3 + labels).sin())
    kept = survivors(energy, raw, OURS)
    assert 9 <= len(kept) < 80
    assert (kept.scores.diff() <= 0).all()
    for label in range(1, tiny.CLASSES):
        own = raw.labels == label
        same = kept.boxes_xyxy[kept.labels == label]
        overlaps = box_iou(same, same) - torch.eye(len(same))
        assert overlaps.max() <= 0.5
        best = energy.values(raw.boxes_xyxy[own], raw.labels[own]).argmax()
        assert (raw.boxes_xyxy[own][best] == same).all(1).any()  # the one with the largest f is never removed
        assert kept.scores[kept.labels == label].max() == raw.scores[own].max()  # nor is the best score lost


def test_the_most_are_kept_with_ties() -> None:
    boxes = torch.tensor([[100.0 * i, 0, 100 * i + 50, 50] for i in range(6)])
    scores = torch.tensor([0.3, 0.9, 0.3, 0.3, 0.1, 0.8])
    raw = Detections(boxes, scores, torch.ones(6, dtype=torch.long))
    kept = survivors(tiny.KnownBranch(lambda b, _: b[:, 0]), raw, RefineSettings(most=3))
    assert sorted(kept.boxes_xyxy[:, 0].tolist()) == [0, 100, 200, 300, 500]
    torch.testing.assert_close(kept.scores, torch.tensor([0.9, 0.8, 0.3, 0.3, 0.3]))


def test_scores_and_labels_stay_in_refinement() -> None:
    raw = raw_boxes(10)
    better = refined(tiny.KnownBranch(lambda b, _: -(b[:, 0] - 3).square() / 900), raw, SMALL_STEPS)
    assert torch.equal(better.scores, raw.scores) and torch.equal(better.labels, raw.labels)
    assert ((better.boxes_xyxy[:, 0] - 3).abs() < (raw.boxes_xyxy[:, 0] - 3).abs()).all()


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count: int) -> None:
    raw = raw_boxes()[:count]
    branch = trained_branch().of_image(tiny.tiny_detector().pyramid([tiny.image()]))
    kept = refined(branch, survivors(branch, raw))
    assert len(kept) == count and kept.boxes_xyxy.shape == (count, 4)
    torch.testing.assert_close(kept.scores, raw.scores)


# Whole images ---------------------------------------------------------------------------------------------------------


def test_detections_are_the_parts_put_together() -> None:
    detector, branch = tiny.tiny_detector(), trained_branch()
    images = [tiny.image(), tiny.image(45, 90, seed=1)]
    found = EnergyDetector(detector, branch, SMALL_STEPS).detect(images)
    pyramid = detector.pyramid(images)
    raws = detector.raw(pyramid)
    assert len(found) == 2 and all(len(few) for few in found)
    for index, (few, raw) in enumerate(zip(found, raws, strict=True)):
        energy = branch.of_image(pyramid, index)
        kept = survivors(energy, raw, SMALL_STEPS)
        ends = refine_boxes(energy, kept.boxes_xyxy, kept.labels, SMALL_STEPS)
        assert (ends.f > energy.values(kept.boxes_xyxy, kept.labels)).any()
        torch.testing.assert_close(few.boxes_xyxy, pyramid.to_image(ends.boxes_xyxy, index))
        assert torch.equal(few.scores, kept.scores) and torch.equal(few.labels, kept.labels)


def test_a_branch_that_is_flat_leaves_the_boxes_of_the_base() -> None:
    """Suppression is then by order, and no box moves."""
    detector = tiny.tiny_detector()
    pyramid = detector.pyramid([tiny.image()])
    (found,) = EnergyDetector(detector, tiny.KnownBranch(lambda b, _: 0 * b[:, 0])).detect([tiny.image()])
    known = pyramid.to_image(detector.raw(pyramid)[0].boxes_xyxy, 0)
    assert len(found) and all((known == box).all(1).any() for box in found.boxes_xyxy)


def test_no_images() -> None:
    model = EnergyDetector(tiny.tiny_detector(), trained_branch())
    assert model.detect([]) == [] and refine(model, [], []) == []


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8000, 300)])
def test_images_of_one_and_of_8000_pixels(size: tuple[int, int]) -> None:
    model = EnergyDetector(tiny.tiny_detector(), trained_branch(), SMALL_STEPS)
    (found,) = model.detect([torch.rand(3, *size)])
    assert found.boxes_xyxy.isfinite().all()
    whole = torch.tensor([[0.0, 0, size[1], size[0]]])
    (better,) = refine(model, [torch.rand(3, *size)], [{"boxes": whole, "labels": torch.tensor([1])}])
    assert better["boxes"].shape == (1, 4) and better["boxes"].isfinite().all()


# Boxes that are there already -----------------------------------------------------------------------------------------


def test_refine_takes_torchvisions_dicts_and_climbs_in_image_pixels() -> None:
    """The optimum is known in image pixels; the image is resized on its way in, and differently per axis."""
    size = (50, 120)
    pyramid = tiny.tiny_detector().pyramid([tiny.image(*size)])
    optimum = torch.tensor([[20.0, 10, 60, 40], [70, 5, 110, 45]])
    target = pyramid.to_input(optimum, 0)
    assert not torch.allclose(target, optimum)
    branch = tiny.KnownBranch(lambda b, labels: -((b - target.to(b)[labels - 1]) / 60).square().sum(-1))
    start = optimum + torch.tensor([[3.0, -2, 4, 1], [-4, 2, 3, -3]])
    given = {"boxes": start, "labels": torch.tensor([1, 2]), "scores": torch.tensor([0.9, 0.4]), "masks": "kept"}
    model = EnergyDetector(tiny.tiny_detector(), branch, RefineSettings(0.5, 0.5, 0.5, 80))
    (better,) = refine(model, [tiny.image(*size)], [given])
    torch.testing.assert_close(better["boxes"], optimum, rtol=0, atol=0.02)
    assert better["scores"] is given["scores"] and better["masks"] == "kept"
    assert torch.equal(given["boxes"], start)
    (ours,) = refine(model, [tiny.image(*size)], [Detections(start, given["scores"], given["labels"])])  # type: ignore
    assert isinstance(ours, Detections) and torch.equal(ours.boxes_xyxy, better["boxes"])


@pytest.mark.parametrize("settings", [OURS, IOU_NET])
def test_what_cannot_move_comes_back_to_the_bit(settings: RefineSettings) -> None:
    nan = math.nan
    boxes = torch.tensor(
        [[500.3, 500.7, 600.1, 700.9], [-90, -80, -20.1, -10.3], [7.7, 7, 7.7, 9], [9, 9, 3, 3], [nan, 0, 5, 5]]
    )
    model = EnergyDetector(tiny.tiny_detector(), trained_branch(), settings)
    (better,) = refine(model, [tiny.image()], [{"boxes": boxes, "labels": torch.ones(5, dtype=torch.long)}])
    torch.testing.assert_close(better["boxes"], boxes, rtol=0, atol=0, equal_nan=True)


def test_refined_boxes_have_a_larger_f_and_do_not_depend_on_other_images() -> None:
    model = EnergyDetector(tiny.tiny_detector(), trained_branch(), SMALL_STEPS)
    images = [tiny.image(), tiny.image(70, 70, seed=3)]
    boxes = torch.tensor([[10.0, 10, 40, 45], [30, 20, 70, 50]])
    some = [{"boxes": boxes, "labels": torch.tensor([1, 3])}] * 2
    both = refine(model, images, some)
    for image, before, after in zip(images, some, both, strict=True):
        (alone,) = refine(model, [image], [before])
        assert torch.equal(alone["boxes"], after["boxes"])
        pyramid = model.detector.pyramid([image])
        energy = model.branch.of_image(pyramid)
        f = [energy.values(pyramid.to_input(d["boxes"], 0), d["labels"]) for d in (before, after)]
        assert (f[1] >= f[0] - 1e-4).all() and (f[1] > f[0]).any()


def test_no_boxes() -> None:
    model = EnergyDetector(tiny.tiny_detector(), trained_branch())
    none = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    assert refine(model, [tiny.image()], [none])[0]["boxes"].shape == (0, 4)


def detections(boxes: object, labels: object) -> list[dict[str, object]]:
    return [{"boxes": boxes, "labels": labels}]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "one entry per image, 1"),
        ([{"boxes": torch.zeros(1, 4)}], "'boxes' and 'labels'"),
        ([{}], "got none"),
        (detections(torch.zeros(2, 4), torch.zeros(1).long()), "labels"),
        (detections([[1, 2, 3, 4]], [1]), r"boxes and labels of detections\[0\] must be tensors \(got list and list\)"),
        ([Detections(torch.zeros(2, 4), torch.zeros(2), torch.ones(3).long())], r"labels \(N,\)"),
        (detections(torch.tensor([[1.0, 1, 9, 9]]), torch.tensor([True])), "whole numbers"),
        (detections(torch.zeros(2, 5), torch.zeros(2).long()), r"boxes \(N, 4\)"),
        (detections(torch.tensor([[1.0, 1, 9, 9]]), torch.tensor([tiny.CLASSES])), "labels must lie in"),
    ],
)
def test_bad_detections_are_named(given: list[dict[str, Tensor]], message: str) -> None:
    model = EnergyDetector(tiny.tiny_detector(), trained_branch())
    with pytest.raises(ValueError, match=message):
        refine(model, [tiny.image()], given)


def test_a_class_that_training_never_saw_leaves_its_boxes_where_they_are() -> None:
    """Weight decay brings its row of the last layer to nothing: f is flat there, and other classes are not touched."""
    branch = trained_branch()
    with torch.no_grad():
        branch.readout.weight[2] = 0
    boxes = torch.tensor([[10.3, 10, 40, 45.7], [10.3, 10, 40, 45.7]])
    model = EnergyDetector(tiny.tiny_detector(), branch, SMALL_STEPS)
    (better,) = refine(model, [tiny.image()], [{"boxes": boxes, "labels": torch.tensor([2, 1])}])
    assert torch.equal(better["boxes"][0], boxes[0]) and not torch.equal(better["boxes"][1], boxes[1])


def test_the_background_is_no_class() -> None:
    model = EnergyDetector(tiny.tiny_detector(), trained_branch(), SMALL_STEPS)
    boxes = torch.tensor([[10.0, 8, 40, 30]])
    with pytest.raises(ValueError, match=r"labels must lie in 1..3 \(got 0 to 0\)"):
        refine(model, [tiny.image()], [{"boxes": boxes, "labels": torch.tensor([0])}])


def test_whole_numbers_are_refined_as_such_in_float() -> None:
    model = EnergyDetector(tiny.tiny_detector(), trained_branch(), SMALL_STEPS)
    whole, label = torch.tensor([[10, 8, 40, 30]]), torch.tensor([1])
    (got,), (expected,) = (
        refine(model, [tiny.image()], [{"boxes": boxes, "labels": label}]) for boxes in (whole, whole.float())
    )
    assert torch.equal(got["boxes"], expected["boxes"]) and not torch.equal(got["boxes"], whole.float())
