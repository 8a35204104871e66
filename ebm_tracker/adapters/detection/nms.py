"""Non-maximum suppression guided by another number than the class score (Jiang et al., ECCV 2018, algorithm 1).

Of the boxes of a class the one with the largest guide (predicted IoU, or f) is kept and all that overlap it by more
than a threshold are removed; it gets the largest class score among itself and those. And so on with what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou


@dataclass(frozen=True)
class Kept:
    """``index`` (K,) of the kept boxes, those with the largest guide first; ``scores`` (K,): the largest class score
    of each one's cluster; ``cluster`` (N,): of every box the place in ``index`` of the one that stands for it."""

    index: Tensor
    scores: Tensor
    cluster: Tensor


def guided_nms(boxes_xyxy: Tensor, guide: Tensor, scores: Tensor, labels: Tensor, threshold: float = 0.5) -> Kept:
    """Boxes (N, 4), their ``guide``, class ``scores`` and ``labels``, (N,) each.

    Equal guides go by the order of the boxes, as in torchvision; a guide that is not a number comes last. Boxes of no
    area overlap none. With guide = scores the kept boxes are those of ordinary suppression within each class.
    Raises ValueError for shapes that do not fit and a threshold outside 0..1.
    """
    count = len(boxes_xyxy)
    if boxes_xyxy.shape != (count, 4) or any(part.shape != (count,) for part in (guide, scores, labels)):
        shapes = ", ".join(str(tuple(part.shape)) for part in (boxes_xyxy, guide, scores, labels))
        raise ValueError(f"boxes_xyxy must be (N, 4) and guide, scores, labels (N,) each (got {shapes})")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must lie in 0..1 (got {threshold})")
    order = guide.nan_to_num(nan=-torch.inf).argsort(descending=True, stable=True)
    keeper = torch.empty_like(order)  # of every box the number of the one that stands for it
    for label in labels.unique():
        own = order[labels[order] == label]
        keeper[own] = own[_greedy(box_iou(boxes_xyxy[own], boxes_xyxy[own]) > threshold)]
    index = order[keeper[order] == order]
    place = torch.empty_like(order)
    place[index] = torch.arange(len(index), device=index.device)
    cluster = place[keeper]
    best = scores[index].scatter_reduce(0, cluster, scores, "amax")
    return Kept(index, best, cluster)


def _greedy(overlaps: Tensor) -> Tensor:
    """Boxes in order of preference, ``overlaps`` (n, n) bool -> of each the one that removed it, or itself, (n,)."""
    table = overlaps.cpu().numpy()
    keeper = torch.full((len(table),), -1, dtype=torch.long)
    taken = keeper.numpy()
    for i in range(len(table)):
        if taken[i] < 0:
            taken[table[i] & (taken < 0)] = i
            taken[i] = i
    return keeper.to(overlaps.device)


def best_by_score(scores: Tensor, most: int = 100) -> Tensor:
    """Index of the ``most`` best scores (N,), best first, and of all that equal the last of them."""
    if most < 1:
        raise ValueError(f"most must be >= 1 (got {most})")
    order = scores.argsort(descending=True, stable=True)
    if len(order) <= most:
        return order
    return order[scores[order] >= scores[order[most - 1]]]
