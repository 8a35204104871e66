"""The energy head f(x, y): ATOM's box module (Danelljan et al., CVPR 2019; PROTOCOL 4.1).

Two branches read the stride-8 and stride-16 features. The reference branch turns the first frame and its box
into two modulation vectors; the test branch turns a frame into two maps, once per frame; the energy of a box is
a small network on the PrRoI-pooled, modulated maps. Sub-modules keep the names that ATOM checkpoints use
(``conv3_1r``: level 3, first convolution, reference branch), so that those load without a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ebm_tracker.boxes import xywh_to_xyxy
from ebm_tracker.models.roi_pool import pool_channels_last, prroi_pool
from ebm_tracker.models.window_pool import pool_fixed_boxes

STRIDES = (8, 16)
TEST_BINS = (5, 3)
"""Bins per side at stride 8 and stride 16 (ATOM)."""


@dataclass(frozen=True)
class HeadChannels:
    """Channel numbers of the head; the defaults are the paper's.

    ``features``: channels of the backbone at stride 8 and 16; ``reference``: of the reference branch's first
    convolution at either stride; ``maps``: of the test maps and modulation vectors; ``hidden``: of the two
    linear layers.
    """

    features: tuple[int, int] = (128, 256)
    reference: tuple[int, int] = (128, 256)
    maps: tuple[int, int] = (256, 256)
    hidden: tuple[int, int] = (256, 256)

    def __post_init__(self) -> None:
        for name in ("features", "reference", "maps", "hidden"):
            value = getattr(self, name)
            if len(value) != 2 or min(value) < 1:
                raise ValueError(f"{name} must be two numbers of channels, at least 1 (got {value})")


class Modulation(NamedTuple):
    """What the head remembers of the target: vectors (B, C8) and (B, C16)."""

    stride8: Tensor
    stride16: Tensor


class EnergyMaps(NamedTuple):
    """Test-branch maps of a frame: (B, C8, H/8, W/8) and (B, C16, H/16, W/16)."""

    stride8: Tensor
    stride16: Tensor


def _conv_block(in_channels: int, out_channels: int, kernel: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, padding=padding),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class LinearBlock(nn.Module):
    """Linear layer on flattened bins (channel, row, column), batch norm and ReLU."""

    def __init__(self, channels: int, bins: int, out_features: int) -> None:
        super().__init__()
        self.channels, self.bins = channels, bins
        self.linear = nn.Linear(channels * bins * bins, out_features)
        self.bn = nn.BatchNorm2d(out_features)
        self.relu = nn.ReLU(inplace=True)

    def weight_columns_first(self) -> Tensor:
        """The weight (out, C * rows * cols) with its inputs reordered to (col, row, C), as pooling yields them."""
        weight = self.linear.weight.reshape(-1, self.channels, self.bins, self.bins)
        return weight.permute(0, 3, 2, 1).reshape(weight.shape[0], -1)

    def forward(self, pooled: Tensor) -> Tensor:
        """(rows, bins_w * bins_h * C), columns first -> (rows, out)."""
        hidden = nn.functional.linear(pooled, self.weight_columns_first(), self.linear.bias)
        return self.relu(self.bn(hidden[:, :, None, None])[:, :, 0, 0])


class EnergyHead(nn.Module):
    """Energies of boxes in a frame, given a reference frame and box.

    ``boxes`` are in pixels of the network's input crop, corner x, y and size w, h, pixel centres at integers.
    """

    def __init__(self, channels: HeadChannels | None = None) -> None:
        super().__init__()
        self.channels = channels = channels or HeadChannels()
        (in8, in16), (ref8, ref16) = channels.features, channels.reference
        (map8, map16), (hidden8, hidden16) = channels.maps, channels.hidden
        self.conv3_1r = _conv_block(in8, ref8, 3, 1)
        self.conv4_1r = _conv_block(in16, ref16, 3, 1)
        self.fc3_1r = _conv_block(ref8, map8, 3, 0)  # the 3x3 bins shrink to one
        self.fc34_3r = _conv_block(map8 + ref16, map8, 1, 0)
        self.fc34_4r = _conv_block(map8 + ref16, map16, 1, 0)
        self.conv3_1t = _conv_block(in8, map8, 3, 1)
        self.conv3_2t = _conv_block(map8, map8, 3, 1)
        self.conv4_1t = _conv_block(in16, map16, 3, 1)
        self.conv4_2t = _conv_block(map16, map16, 3, 1)
        self.fc3_rt = LinearBlock(map8, TEST_BINS[0], hidden8)
        self.fc4_rt = LinearBlock(map16, TEST_BINS[1], hidden16)
        self.iou_predictor = nn.Linear(hidden8 + hidden16, 1)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, mode="fan_in")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                # ATOM keeps PyTorch's old default here: a random scale per channel, not 1.
                nn.init.uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def modulation(self, features: tuple[Tensor, Tensor], boxes_xywh: Tensor) -> Modulation:
        """Reference branch: features (B, C8, H, W), (B, C16, H, W) and one box each (B, 4)."""
        return self.modulation_of(self.reference_maps(features), boxes_xywh)

    def reference_maps(self, features: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The reference branch up to its pooling, which no box enters yet."""
        return self.conv3_1r(features[0]), self.conv4_1r(features[1])

    def modulation_of(self, reference_maps: tuple[Tensor, Tensor], boxes_xywh: Tensor) -> Modulation:
        """The rest of the reference branch, from pooling on."""
        boxes = xywh_to_xyxy(boxes_xywh)[:, None]  # (B, 1, 4)
        pooled8 = prroi_pool(reference_maps[0], boxes, (3, 3), 1 / STRIDES[0])[:, 0]
        pooled16 = prroi_pool(reference_maps[1], boxes, (1, 1), 1 / STRIDES[1])[:, 0]
        joined = torch.cat((self.fc3_1r(pooled8), pooled16), dim=1)
        return Modulation(self.fc34_3r(joined)[:, :, 0, 0], self.fc34_4r(joined)[:, :, 0, 0])

    def maps(self, features: tuple[Tensor, Tensor]) -> EnergyMaps:
        """Test branch, once per frame."""
        return EnergyMaps(
            self.conv3_2t(self.conv3_1t(features[0])),
            self.conv4_2t(self.conv4_1t(features[1])),
        )

    def energies(self, maps: EnergyMaps, modulation: Modulation, boxes_xywh: Tensor) -> Tensor:
        """f of N boxes in each of B frames: maps of B frames, boxes (B, N, 4) -> (B, N), unbounded."""
        batch, count = boxes_xywh.shape[:2]
        boxes = xywh_to_xyxy(boxes_xywh)
        # Fixed boxes are those of training. A GPU prefers few large products to windows.
        fixed = boxes.device.type == "cpu" and not boxes.requires_grad
        pool = pool_fixed_boxes if fixed else pool_channels_last
        hidden = []
        for level, block in enumerate((self.fc3_rt, self.fc4_rt)):
            modulated = (maps[level] * modulation[level][:, :, None, None]).permute(0, 3, 2, 1)
            bins = (TEST_BINS[level], TEST_BINS[level])
            pooled = pool(modulated.contiguous(), boxes, bins, 1 / STRIDES[level])
            hidden.append(block(pooled.reshape(batch * count, -1)))
        return self.iou_predictor(torch.cat(hidden, dim=1)).reshape(batch, count)

    def forward(
        self,
        reference_features: tuple[Tensor, Tensor],
        reference_boxes_xywh: Tensor,
        test_features: tuple[Tensor, Tensor],
        boxes_xywh: Tensor,
    ) -> Tensor:
        """Training entry: B pairs of frames, N boxes each -> energies (B, N)."""
        modulation = self.modulation(reference_features, reference_boxes_xywh)
        return self.energies(self.maps(test_features), modulation, boxes_xywh)
