from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, nms

from ebm_tracker.adapters.detection.nms import best_by_score, guided_nms


def crowd(count: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes around a few places, guides, scores (with ties), labels."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.randint(0, 2, (count, 2), generator=generator) * 40.0
    corner = place + 5 * torch.randn((count, 2), generator=generator)
    side = 30 * (0.2 * torch.randn((count, 2), generator=generator)).exp()
    boxes = torch.cat((corner, corner + side), dim=1)
    guide = torch.randn(count, generator=generator).mul(4).round() / 4
    scores = torch.rand(count, generator=generator).mul(50).round() / 50
    return boxes, guide, scores, torch.randint(1, classes + 1, (count,), generator=generator)


def by_loops(
    boxes: Tensor, guide: Tensor, scores: Tensor, labels: Tensor, threshold: float
) -> dict[int, tuple[float, set[int]]]:
    """IoU-Net's algorithm 1 as it is written: kept box -> its cluster's best class score and the cluster."""
    overlaps = box_iou(boxes.double(), boxes.double())
    result: dict[int, tuple[float, set[int]]] = {}
    left = set(range(len(boxes)))
    while left:
        best = max(left, key=lambda i: (float(guide[i]), -i))
        cluster = {best} | {i for i in left if labels[i] == labels[best] and overlaps[best, i] > threshold}
        result[best] = (max(float(scores[i]) for i in cluster), cluster)
        left -= cluster
    return result


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_algorithm_in_loops(threshold: float, seed: int) -> None:
    boxes, guide, scores, labels = crowd(120, 3, seed)
    kept = guided_nms(boxes, guide, scores, labels, threshold)
    expected = by_loops(boxes, guide, scores, labels, threshold)
    assert kept.index.tolist() == list(expected)  # also in their order
    assert len(expected) < 120
    for place, (index, score) in enumerate(zip(kept.index.tolist(), kept.scores.tolist(), strict=True)):
        best, cluster = expected[index]
        assert score == pytest.approx(best)
        assert set((kept.cluster == place).nonzero()[:, 0].tolist()) == cluster


@pytest.mark.parametrize("classes", [1, 4])
def test_guided_by_the_score_it_is_ordinary_suppression(classes: int) -> None:
    boxes, _, scores, labels = crowd(200, classes)
    kept = guided_nms(boxes, scores, scores, labels, 0.5)
    assert kept.index.tolist() == batched_nms(boxes, scores, labels, 0.5).tolist()
    assert torch.equal(kept.scores, scores[kept.index])
    if classes == 1:
        assert kept.index.tolist() == nms(boxes, scores, 0.5).tolist()


def test_the_box_with_the_best_guide_gets_the_best_score_of_its_cluster() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [40, 40, 50, 50], [0, 0, 10, 10]])
    kept = guided_nms(
        boxes, torch.tensor([-5.0, 3, 1, 9]), torch.tensor([0.9, 0.2, 0.4, 0.3]), torch.tensor([1, 1, 1, 2])
    )
    assert kept.index.tolist() == [3, 1, 2]  # another class, the cluster of two, a cluster of one
    torch.testing.assert_close(kept.scores, torch.tensor([0.3, 0.9, 0.4]))
    assert kept.cluster.tolist() == [1, 1, 2, 0]


def test_a_removed_box_removes_none() -> None:
    """0 - 1 and 1 - 2 overlap, 0 - 2 do not: with the best guide at 0, box 2 stays."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]])
    kept = guided_nms(boxes, torch.tensor([3.0, 2, 1]), torch.tensor([0.1, 0.9, 0.5]), torch.ones(3).long(), 0.5)
    assert kept.index.tolist() == [0, 2]
    torch.testing.assert_close(kept.scores, torch.tensor([0.9, 0.5]))


def test_none_one_and_degenerate_boxes() -> None:
    none = torch.zeros(0)
    kept = guided_nms(torch.zeros(0, 4), none, none, none.long())
    assert kept.index.tolist() == [] and kept.scores.tolist() == []
    one = guided_nms(torch.tensor([[1.0, 1, 1, 1]]), torch.tensor([-2.0]), torch.tensor([0.7]), torch.tensor([3]))
    assert one.index.tolist() == [0] and one.scores.tolist() == pytest.approx([0.7])
    # Boxes of no area overlap nothing, not even themselves.
    same = torch.tensor([[5.0, 5, 5, 9]] * 3)
    assert len(guided_nms(same, torch.zeros(3), torch.zeros(3), torch.zeros(3).long()).index) == 3


def test_a_guide_that_is_not_a_number_comes_last() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    guide = torch.tensor([torch.nan, -1e9])
    assert guided_nms(boxes, guide, torch.tensor([0.5, 0.6]), torch.ones(2).long()).index.tolist() == [1]


def test_bad_arguments_are_named() -> None:
    boxes, guide, scores, labels = crowd(5, 1)
    with pytest.raises(ValueError, match="guide, scores, labels"):
        guided_nms(boxes, guide[:4], scores, labels)
    with pytest.raises(ValueError, match="threshold"):
        guided_nms(boxes, guide, scores, labels, 1.5)
    with pytest.raises(ValueError, match="most"):
        best_by_score(scores, 0)


def test_ties_with_the_last_one_are_kept() -> None:
    scores = torch.tensor([0.5, 0.9, 0.3, 0.5, 0.5, 0.1])
    assert best_by_score(scores, 2).tolist() == [1, 0, 3, 4]
    assert best_by_score(scores, 5).tolist() == [1, 0, 3, 4, 2]
    assert best_by_score(scores, 100).tolist() == [1, 0, 3, 4, 2, 5]
    assert best_by_score(scores[:0]).tolist() == []
