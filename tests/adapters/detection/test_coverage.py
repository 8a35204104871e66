"""Coverage of densities that are known, for truths drawn from them and for others."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ebm_tracker.adapters.detection.base import Detections, Pyramid
from ebm_tracker.adapters.detection.coordinates import relative_to_xyxy, xyxy_to_relative
from ebm_tracker.adapters.detection.coverage import EdgeCoverage, measure_coverage, spread
from ebm_tracker.adapters.detection.data import DetectionImages, open_detection_images
from ebm_tracker.adapters.detection.inference import EnergyDetector
from ebm_tracker.adapters.detection.refinement import RefineSettings
from tests.adapters.detection.conftest import document, write_set

_spec = importlib.util.spec_from_file_location("tiny_detector", Path(__file__).with_name("tiny_detector.py"))
assert _spec is not None and _spec.loader is not None
tiny = sys.modules.setdefault("tiny_detector", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(tiny)

SIZE_WH = (80, 48)  # resized by 2 in both directions
TOPS = torch.tensor([[8.0, 8, 32, 40], [46, 10, 74, 36]])
"""Image pixels: where f of class 1 and of class 2 is highest."""
STD = torch.tensor([0.03, 0.02, 0.04, 0.03])
LABELS = torch.tensor([1, 2])


class Fixed(EnergyDetector):
    """Finds the two boxes of TOPS everywhere, and one beside them that no object has."""

    def __init__(self, std: Tensor) -> None:
        def f(boxes: Tensor, labels: Tensor) -> Tensor:
            tops = (2 * TOPS)[labels - 1]
            reference = tops[:, 2:] - tops[:, :2]
            offsets = (xyxy_to_relative(boxes, reference) - xyxy_to_relative(tops, reference)) / std
            return -0.5 * offsets.square().sum(-1)

        super().__init__(tiny.tiny_detector(), tiny.KnownBranch(f), RefineSettings(1e-5, 1e-5, 0.5, 1))
        self.calls = 0

    def detect_in(self, pyramid: Pyramid, raw: Sequence[Detections] | None = None) -> list[Detections]:
        self.calls += 1
        boxes = torch.cat((torch.tensor([[0.0, 0, 9, 9]]), TOPS))
        return [Detections(boxes, torch.tensor([0.9, 0.6, 0.8]), torch.tensor([1, 1, 2]))]


def drawn(count: int, std: Tensor, seed: int) -> Tensor:
    """(count, 2, 4) true boxes from the density that Fixed has."""
    noise = torch.randn(count, 2, 4, generator=torch.Generator().manual_seed(seed))
    reference = TOPS[:, 2:] - TOPS[:, :2]
    return relative_to_xyxy(xyxy_to_relative(TOPS, reference) + std * noise, reference)


def images_with(root: Path, truths: Tensor, empty: Sequence[int] = ()) -> DetectionImages:
    listed = {number: SIZE_WH for number in range(1, len(truths) + 1)}
    annotations = [
        (number, category, [x0, y0, x1 - x0, y1 - y0])
        for number, pair in enumerate(truths.tolist(), start=1)
        if number - 1 not in empty
        for category, (x0, y0, x1, y1) in zip((2, 7), pair, strict=True)
    ]
    return open_detection_images(write_set(root, "test", document(listed, annotations)), "test")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> EdgeCoverage:
    """400 truths from the very density."""
    images = images_with(tmp_path_factory.mktemp("honest"), drawn(200, STD, 1))
    return measure_coverage(Fixed(STD), images, 400, samples=600, generator=seeded())


def test_truths_drawn_from_the_density_have_even_pit_values(honest: EdgeCoverage) -> None:
    assert honest.pit.shape == (400, 4) and len(honest) == 400
    for edge in honest.pit.T:
        values = edge.sort().values
        even = (torch.arange(400) + 0.5) / 400
        # Kolmogorov-Smirnov at one in a thousand: 1.95 / sqrt(400); a draw's own error is some 1 / sqrt(effective).
        assert float((values - even).abs().max()) < 1.95 / 20
    for level in (0.5, 0.8, 0.9):
        # x0 and x1 share cx, so the four edges are worth at least the 400 boxes.
        assert honest.coverage(level) == pytest.approx(level, abs=3.3 * math.sqrt(level * (1 - level) / 400))
        assert honest.coverage_error(level) == pytest.approx(math.sqrt(level * (1 - level) / 400), rel=0.5)
    assert honest.curve((0.5, 0.9)).tolist() == [honest.coverage(0.5), honest.coverage(0.9)]
    assert honest.distance < 0.05


def test_widths_are_those_of_the_density_relative_to_the_box(honest: EdgeCoverage) -> None:
    assert honest.effective.min() > 80 and honest.rough == 0
    # x0 = cx - w / 2 with independent parts: std (0.03^2 + (0.04 / 2)^2)^0.5 of the width.
    across, down = math.hypot(0.03, 0.02), math.hypot(0.02, 0.015)
    expected = 2 * 1.6449 * torch.tensor([across, down, across, down])
    torch.testing.assert_close(honest.widths.mean(0), expected, rtol=0.05, atol=0)


def test_a_density_that_is_too_narrow_covers_too_little(tmp_path: Path) -> None:
    images = images_with(tmp_path, drawn(40, STD, 2))
    narrow = measure_coverage(Fixed(STD / 2), images, 80, samples=600, generator=seeded())
    # An interval of 1.645 / 2 standard deviations holds 0.589.
    assert narrow.coverage(0.9) == pytest.approx(math.erf(1.6449 / 2 / math.sqrt(2)), abs=0.12)


def test_a_temperature_widens_a_density(tmp_path: Path) -> None:
    """A Gaussian's variance is multiplied by T; the excess over the levels is then near 0."""
    images = images_with(tmp_path, drawn(40, STD, 2))
    found = []
    for temperature in (1.0, 4.0):
        model = Fixed(STD / 2)
        model.temperature = temperature
        found.append(measure_coverage(model, images, 80, samples=600, generator=seeded()))
    torch.testing.assert_close(found[1].widths.mean(0), 2 * found[0].widths.mean(0), rtol=0.06, atol=0)
    assert found[0].excess < -0.15 and abs(found[1].excess) < 0.06


def test_a_reach_leaves_out_what_is_farther(tmp_path: Path) -> None:
    images = images_with(tmp_path, drawn(4, STD, 2))
    near, far = (
        measure_coverage(Fixed(4 * STD), images, 8, samples=800, reach=reach, generator=seeded()) for reach in (0.1, 9)
    )
    # 3.29 * 0.119 of a side without a limit; within it x0 = cx - w / 2 has 0.3 in all.
    assert bool((near.widths[:, ::2] < 0.3).all()) and bool((far.widths[:, ::2] > 0.3).all())
    with pytest.raises(ValueError, match="reach must be at least 0.1"):
        measure_coverage(Fixed(STD), images, 8, reach=0.05)


def test_a_truth_far_off_is_never_covered(tmp_path: Path) -> None:
    shift = torch.tensor([4.0, 4, 4, 4])  # overlap still above 0.5
    images = images_with(tmp_path, (TOPS + shift).expand(6, 2, 4))
    found = measure_coverage(Fixed(STD / 10), images, 12, samples=400, generator=seeded())
    assert len(found) == 12
    assert found.coverage(0.9) == 0 and found.curve((0.0, 0.5, 1.0)).tolist() == [0, 0, 1]
    assert found.pit.min() > 1 - 1e-9  # all of the density before the edge


def test_truth_detections_and_images_belong_together(tmp_path: Path) -> None:
    truths = drawn(5, STD, 3)
    images = images_with(tmp_path, truths, empty=(2,))
    model, seen = Fixed(STD), []
    found = measure_coverage(model, images, 100, samples=200, generator=seeded(), on_image=seen.append)
    assert model.calls == 4 and seen == [0, 1, 2, 3]  # each image once, none without objects
    assert found.image_index.tolist() == [0, 0, 1, 1, 3, 3, 4, 4]
    for truth, refined, index in zip(found.truth_xyxy, found.refined_xyxy, found.image_index, strict=True):
        which = int((TOPS - refined).abs().sum(1).argmin())
        torch.testing.assert_close(refined, TOPS[which])
        torch.testing.assert_close(truth, truths[index, which], rtol=0, atol=1e-4)


def test_the_same_generator_gives_the_same_numbers_and_another_draws_other_boxes(tmp_path: Path) -> None:
    images = images_with(tmp_path, drawn(12, STD, 4))
    first, again, other = (
        measure_coverage(Fixed(STD), images, 12, samples=100, generator=seeded(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first.pit, again.pit) and torch.equal(first.widths, again.widths)
    assert not torch.equal(first.truth_xyxy, other.truth_xyxy)
    by_lot = first.refined_xyxy[:, 0] < 40
    assert by_lot.any() and not by_lot.all()  # not always the one with the higher score


def test_images_without_a_match_give_nothing(tmp_path: Path) -> None:
    images = images_with(tmp_path, torch.tensor([[0.0, 30, 12, 48], [30, 30, 44, 46]]).expand(3, 2, 4))
    found = measure_coverage(Fixed(STD), images, 6, samples=100, generator=seeded())
    assert len(found) == 0 and found.pit.shape == (0, 4)
    assert math.isnan(found.coverage(0.9)) and math.isnan(found.coverage_error(0.9))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, {3: 1}),
        (2, {1: 1, 4: 1}),
        (5, {0: 1, 1: 1, 3: 1, 4: 1, 5: 1}),
        (12, {0: 2, 1: 2, 3: 3, 4: 2, 5: 3}),
    ],
)
def test_boxes_are_spread_over_the_images_with_objects(tmp_path: Path, count: int, expected: dict[int, int]) -> None:
    images = images_with(tmp_path, TOPS.expand(6, 2, 4), empty=(2,))
    assert spread(images, count) == expected and sum(expected.values()) == count


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    images = images_with(tmp_path, TOPS.expand(2, 2, 4), empty=(0, 1))
    with pytest.raises(ValueError, match="count must be at least 1"):
        spread(images, 0)
    with pytest.raises(ValueError, match="images must have objects"):
        spread(images, 4)
    found = EdgeCoverage(torch.full((3, 4), 0.5).double(), *(torch.zeros(3, 4) for _ in range(3)), *LABELS[:, None])
    with pytest.raises(ValueError, match="level"):
        found.coverage(1.0)
