"""A light Faster R-CNN on a network with ImageNet weights, and the step that trains it: for two CPU cores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from ebm_tracker.adapters.detection.examples import ImageExample, images_of, objects_of
from ebm_tracker.adapters.features import CUT, CutExtractor
from ebm_tracker.models import Backbone
from ebm_tracker.models.backbone import BACKBONES

BINS = 7
_STRIDES = (4, 8, 16)
_RATIOS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class SmallSettings:
    """Sizes of a light detector.

    Attributes:
        backbone: resnet18, mobilenet_v2 or efficientnet_lite0, up to stride 16.
        channels: of the maps, whose strides are 4, 8 and 16 (and 32 for the proposals alone).
        features: F of the box head.
        min_size, max_size: of the short and the long side of the resized image; short sides become ``min_size``.
        anchors: side of the anchors of each of the four maps.
        proposals: kept of an image.
        regions: that the box head learns from in an image.
        train_backbone: it learns too; without it only what stands on it does.
    """

    backbone: str = "efficientnet_lite0"
    channels: int = 64
    features: int = 256
    min_size: int = 256
    max_size: int = 448
    anchors: tuple[int, int, int, int] = (24, 48, 96, 192)
    proposals: int = 200
    regions: int = 128
    train_backbone: bool = False


class PyramidBackbone(nn.Module):
    """A backbone with a feature pyramid: maps "0", "1", "2" and "pool" of strides 4, 8, 16 and 32.

    Normalised images (B, 3, H, W) with sides that divide by 32 -> (B, channels, H_l, W_l) each.
    """

    def __init__(self, backbone: Backbone, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_stages(backbone))
        self.out_channels = channels  # torchvision's Faster R-CNN asks for it
        with torch.no_grad():
            sizes = [level.shape[1] for level in self._run(torch.zeros(1, 3, 32, 32))]
        self.fpn = FeaturePyramidNetwork(sizes, channels, LastLevelMaxPool())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        # Depthwise convolutions are twice as fast with the channels last, on a CPU.
        levels = self._run(images.contiguous(memory_format=torch.channels_last))
        found: dict[str, Tensor] = self.fpn({str(number): level for number, level in enumerate(levels)})
        return found

    def _run(self, images: Tensor) -> list[Tensor]:
        levels = []
        for stage in self.stages:
            images = stage(images)
            levels.append(images)
        return levels


def _stages(backbone: Backbone) -> list[nn.Module]:
    """Up to strides 4, 8 and 16: the first stage of our backbones ends at 8, so it is cut behind its last module of
    stride 4."""
    modules = list(backbone.stage8)  # type: ignore[call-overload]  # a Sequential in all of them
    image, sides = torch.zeros(1, 3, 32, 32), []
    with torch.no_grad():
        for module in modules:
            image = module(image)
            sides.append(image.shape[-1])
    cut = max(place for place, side in enumerate(sides, 1) if side == 32 // _STRIDES[0])
    return [nn.Sequential(*modules[:cut]), nn.Sequential(*modules[cut:]), backbone.stage16]


def small_detector(classes: int, settings: SmallSettings | None = None, weights: Path | None = None) -> FasterRCNN:
    """A detector to train: the backbone has its ImageNet weights, the rest random ones from torch's own generator.

    ``classes``: K, with the background. ``weights``: of the backbone, a local file (for efficientnet_lite0 also a
    network of this package that contains it); without it torchvision's loader is asked, cache first.

    Raises ValueError for an unknown backbone, WeightsError when the weights are missing or of another network.
    """
    settings = settings or SmallSettings()
    names = {own: name for name, own in CUT.items()}
    if settings.backbone not in names:
        raise ValueError(f"backbone must be one of {', '.join(names)} (got {settings.backbone!r})")
    if classes < 2:
        raise ValueError(f"classes must be at least 2, the background among them (got {classes})")
    body = CutExtractor(names[settings.backbone], weights, 1).backbone
    backbone = PyramidBackbone(body, settings.channels)
    backbone.stages.requires_grad_(settings.train_backbone)
    spec = BACKBONES[settings.backbone]
    model = FasterRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(
            tuple((side,) for side in settings.anchors), (_RATIOS,) * len(settings.anchors)
        ),
        box_roi_pool=MultiScaleRoIAlign([str(number) for number in range(len(_STRIDES))], BINS, 2),
        box_head=TwoMLPHead(settings.channels * BINS**2, settings.features),
        box_predictor=FastRCNNPredictor(settings.features, classes),
        min_size=settings.min_size,
        max_size=settings.max_size,
        image_mean=list(spec.mean),
        image_std=list(spec.std),
        rpn_pre_nms_top_n_train=2 * settings.proposals,
        rpn_pre_nms_top_n_test=2 * settings.proposals,
        rpn_post_nms_top_n_train=settings.proposals,
        rpn_post_nms_top_n_test=settings.proposals,
        box_batch_size_per_image=settings.regions,
    )
    return model.to(memory_format=torch.channels_last)


class DetectorStep(nn.Module):
    """What the training loop calls to train a torchvision detector: a batch of images -> losses (B,), all equal to the
    sum of torchvision's own four, which are means over the batch. Its samplers draw from torch's own generator."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @property
    def trained(self) -> nn.Module:
        """The part that is optimised."""
        return self.model

    def forward(self, batch: ImageExample) -> Tensor:
        losses = self.model(images_of(batch), objects_of(batch))
        total = torch.stack(list(losses.values())).sum()
        return total.expand(len(batch.number))
