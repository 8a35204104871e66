"""Backbone and energy head together."""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor, nn

from ebm_tracker.models.backbone import Backbone
from ebm_tracker.models.energy_head import EnergyHead


class BatchNormMode(Enum):
    """What the batch norms of the frozen backbone do while the head trains. Its weights never change.

    EVAL: they use ImageNet's running statistics, in training as in the tracker. Features depend on one image alone,
    so they can be cached and do not change with the batch size, and the norms may have been folded away.

    TRAIN: they normalise by the batch and their running statistics move, as in upstream pytracking, whose training
    loop puts the whole network in training mode (PROTOCOL 8, row 25). For repeating its results: after some thousand
    steps the statistics are those of tracking crops, which the head then relies on, so they belong in the
    checkpoint. Needs a backbone whose norms are not folded.
    """

    EVAL = "eval"
    TRAIN = "train"


class EnergyNetwork(nn.Module):
    """f(x, y): a frozen backbone and the head that reads its two feature maps.

    ``batch_norm``: see :class:`BatchNormMode`; :meth:`set_batch_norm` changes it later. Raises ValueError when the
    head was built for other feature channels than the backbone's.
    """

    def __init__(self, backbone: Backbone, head: EnergyHead, batch_norm: BatchNormMode = BatchNormMode.EVAL) -> None:
        super().__init__()
        if head.channels.features != backbone.channels:
            raise ValueError(
                f"the head reads features of {head.channels.features} channels, "
                f"{backbone.name} gives {backbone.channels}"
            )
        self.backbone = backbone.requires_grad_(False).eval()
        self.head = head
        self.set_batch_norm(batch_norm)

    def set_batch_norm(self, batch_norm: BatchNormMode) -> None:
        """Chooses what the backbone's batch norms do in training mode.

        Raises ValueError when they should move and the backbone has none left.
        """
        folded = not any(isinstance(module, nn.BatchNorm2d) for module in self.backbone.modules())
        if batch_norm is BatchNormMode.TRAIN and folded:
            raise ValueError(
                f"batch_norm TRAIN needs a backbone with batch norms; those of this {self.backbone.name} are folded "
                f"into its convolutions (build or load it with folded=False)"
            )
        self.batch_norm = batch_norm
        self.train(self.training)

    def train(self, mode: bool = True) -> EnergyNetwork:
        """Puts the head in training mode, and the frozen backbone's batch norms where ``batch_norm`` says so."""
        super().train(mode)
        self.backbone.train(mode and self.batch_norm is BatchNormMode.TRAIN)
        return self

    @torch.no_grad()
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """RGB crops 0..255, uint8 or float (B, 3, H, W) -> stride-8 and stride-16 features."""
        images = images.to(self.backbone.mean.dtype).contiguous(memory_format=torch.channels_last)
        features8, features16 = self.backbone(images)
        return features8, features16
