"""What the training loop calls for the confidence branch: batch of images -> losses, for the paper's three uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ebm_tracker.adapters.detection.base import FrozenDetector, Pyramid
from ebm_tracker.adapters.detection.branch import ConfidenceBranch
from ebm_tracker.adapters.detection.candidates import BoxScheme, MixtureBoxes, UniformIouBoxes
from ebm_tracker.adapters.detection.examples import ImageExample, images_of
from ebm_tracker.energy import importance_nll

LOSSES = ("iou", "nll")


class ObjectBatch(Protocol):
    """What a step reads of a batch: objects as in :class:`ImageExample`, in pixels of the images."""

    @property
    def boxes_xyxy(self) -> Tensor:
        """(B, M, 4)."""
        ...

    @property
    def labels(self) -> Tensor:
        """(B, M): 0 in the rows behind the last object."""
        ...


class ConfidenceStep(nn.Module):
    """Losses (B,) of the confidence branch for a batch, whose mean is the mean over all its objects.

    ``loss``: "nll", the paper's (Eq 4) with the true box beside the draws of ``scheme``; or "iou", which makes f a
    prediction of 2 IoU - 1 by the Huber loss, averaged over the draws (IoU-Net). Draws come from torch's own generator.
    Image i of B with n_i of the batch's n objects has the loss (B / n) times their sum: images with many objects count
    more. That holds within one part of one process; a run of several parts averages their means.

    ``pyramid_of`` gives the features of a batch, from a cache for instance; without it ``detector`` computes them.
    Learns: ``branch`` alone. Raises ValueError for "nll" with a scheme that has no density.
    """

    def __init__(
        self,
        branch: ConfidenceBranch,
        detector: FrozenDetector | None = None,
        *,
        loss: str = "nll",
        scheme: BoxScheme | None = None,
        pyramid_of: Callable[[ObjectBatch], Pyramid] | None = None,
    ) -> None:
        super().__init__()
        self.scheme = scheme or MixtureBoxes()
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)} (got {loss!r})")
        if loss == "nll" and not self.scheme.has_density:
            raise ValueError(f"loss nll needs candidates with a density (got {type(self.scheme).__name__})")
        if (detector is None) == (pyramid_of is None):
            raise ValueError("give either a detector or pyramid_of, which stands for it")
        self.branch, self.detector, self.loss, self._pyramid_of = branch, detector, loss, pyramid_of

    @property
    def trained(self) -> nn.Module:
        """The part that is optimised."""
        return self.branch

    def pyramid(self, batch: ObjectBatch) -> Pyramid:
        """Features of the batch's images."""
        if self._pyramid_of is not None:
            return self._pyramid_of(batch)
        assert self.detector is not None and isinstance(batch, ImageExample)
        return self.detector.pyramid(images_of(batch))

    def forward(self, batch: ObjectBatch) -> Tensor:
        pyramid = self.pyramid(batch)
        image, place = (batch.labels > 0).nonzero(as_tuple=True)
        count = len(batch.labels)
        if not len(image):  # every parameter takes part, as several processes need it
            nothing = sum(parameter.sum() * 0 for parameter in self.branch.parameters())
            return torch.zeros(count, device=batch.labels.device) + nothing
        boxes = batch.boxes_xyxy[image, place].float()
        truth = torch.cat([pyramid.to_input(boxes[image == i], i) for i in range(count)])  # `image` rises
        losses = self.object_losses(pyramid, truth, image, batch.labels[image, place])
        by_image = losses.new_zeros(count).index_add(0, image, losses)
        return by_image * (count / len(image))

    def object_losses(self, pyramid: Pyramid, truth_xyxy: Tensor, image_index: Tensor, labels: Tensor) -> Tensor:
        """(G,) losses of G true boxes (G, 4) in input pixels, of images and classes (G,)."""
        drawn = self.scheme.draw(truth_xyxy)
        boxes = drawn.boxes_xyxy
        if self.loss == "nll":
            boxes = torch.cat((truth_xyxy[:, None], boxes), 1)
        number = boxes.shape[1]
        f = self.branch(
            pyramid, boxes.flatten(0, 1), image_index.repeat_interleave(number), labels.repeat_interleave(number)
        ).unflatten(0, (-1, number))
        if self.loss == "nll":
            return importance_nll(f[:, 1:], drawn.log_q, f[:, 0])
        return functional.smooth_l1_loss(f, 2 * drawn.iou - 1, reduction="none").mean(1)


METHODS: Mapping[str, Callable[[int], tuple[str, BoxScheme]]] = {
    "iou_net": lambda samples: ("iou", UniformIouBoxes(samples)),
    "iou_net_star": lambda samples: ("iou", MixtureBoxes(samples=samples)),
    "ours": lambda samples: ("nll", MixtureBoxes(samples=samples)),
}
"""Name of a row of the paper's Table 1 -> its loss and candidates, so many for each object."""
