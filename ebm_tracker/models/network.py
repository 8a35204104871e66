"""Backbone and energy head together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ebm_tracker.models.backbone import Backbone
from ebm_tracker.models.energy_head import EnergyHead


class EnergyNetwork(nn.Module):
    """f(x, y): a frozen backbone and the head that reads its two feature maps.

    Raises ValueError when the head was built for other feature channels than the backbone's.
    """

    def __init__(self, backbone: Backbone, head: EnergyHead) -> None:
        super().__init__()
        if head.channels.features != backbone.channels:
            raise ValueError(
                f"the head reads features of {head.channels.features} channels, "
                f"{backbone.name} gives {backbone.channels}"
            )
        self.backbone = backbone.requires_grad_(False).eval()
        self.head = head

    def train(self, mode: bool = True) -> EnergyNetwork:
        """Puts the head in training mode; the frozen backbone stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """RGB crops 0..255, uint8 or float (B, 3, H, W) -> stride-8 and stride-16 features."""
        images = images.to(self.backbone.mean.dtype).contiguous(memory_format=torch.channels_last)
        features8, features16 = self.backbone(images)
        return features8, features16
