"""Gaussian and Laplace heads in place of the detector's box regression: a mean and a spread of every offset."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_tracker.adapters.detection.base import FrozenDetector
from ebm_tracker.adapters.detection.examples import ImageExample, images_of, objects_of
from ebm_tracker.adapters.detection.sampling import BACKGROUND, NO_REGION, RegionExample, RegionSampling, sample_regions
from ebm_tracker.adapters.regression.losses import gaussian_loss, laplace_loss

INIT_DEVIATION = 0.001
"""Of the first weights; biases begin at 0, so that every spread begins at 1."""


class BoxParameters(NamedTuple):
    """``mean``, ``log_scale``: (N, K, 4), of every class; log variance (Gaussian) or log beta (Laplace)."""

    mean: Tensor
    log_scale: Tensor


class BoxHead(nn.Module):
    """Two fully connected layers on the box head's features F: FC-BBMean and FC-BBVar.

    ``classes``: K, with the background. Both give four numbers of each class, for the encoded offset, whose units are
    the box coder's.
    """

    def __init__(self, feature_size: int, classes: int) -> None:
        super().__init__()
        if feature_size < 1 or classes < 2:
            raise ValueError(f"feature_size must be >= 1 and classes >= 2 (got {feature_size} and {classes})")
        self.mean, self.log_scale = (nn.Linear(feature_size, 4 * classes) for _ in range(2))
        for layer in (self.mean, self.log_scale):
            nn.init.normal_(layer.weight, std=INIT_DEVIATION)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> BoxParameters:
        """Features (N, F) -> parameters (N, K, 4)."""
        return BoxParameters(self.mean(features).unflatten(1, (-1, 4)), self.log_scale(features).unflatten(1, (-1, 4)))

    def offsets(self, features: Tensor) -> Tensor:
        """The predicted offsets (N, K, 4), for ``FrozenDetector.decode``: the mean alone, as in the paper."""
        return self.mean(features).unflatten(1, (-1, 4))

    def loss(self, parameters: BoxParameters, labels: Tensor, offsets: Tensor) -> Tensor:
        """(N,): of each region at its own class, summed over the four offsets (N, 4); 0 for background and no region.

        Raises ValueError for a label (N,) beyond the classes.
        """
        classes = parameters.mean.shape[1]
        if len(labels) and not (NO_REGION <= int(labels.min()) and int(labels.max()) < classes):
            raise ValueError(
                f"labels must be {NO_REGION} to {classes - 1} (got {int(labels.min())} to {int(labels.max())})"
            )
        rows = torch.where(labels > BACKGROUND)[0]
        mean, log_scale = (parameter[rows, labels[rows]] for parameter in parameters)
        losses = self.density_loss(mean, log_scale, offsets[rows])
        return offsets.new_zeros(len(labels)).index_put((rows,), losses)

    def density_loss(self, mean: Tensor, log_scale: Tensor, offsets: Tensor) -> Tensor:
        """(N,) of parameters and offsets (N, 4)."""
        raise NotImplementedError


class GaussianBoxHead(BoxHead):
    """Independent Gaussians: d^2 / variance + log variance, twice the negative log-likelihood without its constant."""

    def density_loss(self, mean: Tensor, log_scale: Tensor, offsets: Tensor) -> Tensor:
        return gaussian_loss(mean, log_scale, offsets)


class LaplaceBoxHead(BoxHead):
    """Independent Laplace densities: |d| / beta + log beta."""

    def density_loss(self, mean: Tensor, log_scale: Tensor, offsets: Tensor) -> Tensor:
        return laplace_loss(mean, log_scale, offsets)


class HeadStep(nn.Module):
    """What the training loop calls: a batch of regions, or of images, -> losses (B,).

    ``detector``: None where batches are regions (``RegionExample``) whose features were computed before. ``sampling``:
    of the regions of images (``ImageExample``), drawn by torch's own generator. The mean of the losses is the sum over
    the regions on objects by the number of all regions of the batch.
    """

    def __init__(
        self, head: BoxHead, detector: FrozenDetector | None = None, sampling: RegionSampling | None = None
    ) -> None:
        super().__init__()
        self.head, self.detector, self.sampling = head, detector, sampling or RegionSampling()

    @property
    def trained(self) -> nn.Module:
        """The part that is optimised."""
        return self.head

    def forward(self, batch: RegionExample | ImageExample) -> Tensor:
        regions = self._regions(batch) if isinstance(batch, ImageExample) else batch
        labels = regions.labels
        parameters = self.head(regions.features.flatten(0, 1))
        losses = self.head.loss(parameters, labels.flatten(), regions.offsets.flatten(0, 1)).view(labels.shape)
        count = (labels > NO_REGION).sum().clamp_min(1)
        return losses.sum(1) * (len(labels) / count)

    def _regions(self, batch: ImageExample) -> RegionExample:
        if self.detector is None:
            raise ValueError("detector must be given for batches of images")
        pyramid = self.detector.pyramid(images_of(batch))
        return sample_regions(self.detector, pyramid, objects_of(batch), batch.number, self.sampling)
