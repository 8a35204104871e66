"""torchvision's Faster R-CNN with a feature pyramid as a frozen base: maps, regions and boxes before suppression.

Boxes are ``boxes_xyxy``, two corners, in one of two frames: *image* pixels, those of the user's image, and *input*
pixels, those of the resized image that the network sees. Maps, regions and raw boxes are in input pixels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, batched_nms, clip_boxes_to_image, remove_small_boxes

SMALLEST_SIDE = 0.01
"""Boxes of a shorter side, in input pixels, are left out, as in torchvision."""
_SLACK = 1.0
"""How far values may lie beyond 0 and 1, as resampled images have them; 0..255 is a mistake."""
_PROBE = 256
"""Side of the image that the strides are read off with; a multiple of all of them."""


@dataclass(frozen=True)
class Detections:
    """Of one image: ``boxes_xyxy`` (N, 4), class ``scores`` (N,) 0..1, ``labels`` (N,) int64 from 1."""

    boxes_xyxy: Tensor
    scores: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Tensor | slice) -> Detections:
        """Some of them, in the order of ``index``."""
        return Detections(self.boxes_xyxy[index], self.scores[index], self.labels[index])


@dataclass(frozen=True)
class Pyramid:
    """The features of B images.

    ``levels``: all maps by torchvision's name, (B, C, H_l, W_l), finest first; ``pooled``: names of those that boxes
    are pooled from; ``strides``: theirs, in input pixels. Two levels may have one stride (torchvision's MobileNet).
    ``input_sizes``, ``image_sizes``: (height, width) of each image, resized and original; ``padded_size``: of the
    batch that the resized images were put into.
    """

    levels: Mapping[str, Tensor]
    pooled: tuple[str, ...]
    strides: tuple[int, ...]
    input_sizes: tuple[tuple[int, int], ...]
    image_sizes: tuple[tuple[int, int], ...]
    padded_size: tuple[int, int]

    @property
    def maps(self) -> tuple[Tensor, ...]:
        """The pooled levels, (B, C, H_l, W_l) each."""
        return tuple(self.levels[name] for name in self.pooled)

    def __len__(self) -> int:
        """B."""
        return len(self.input_sizes)

    def __getitem__(self, index: int) -> Pyramid:
        """Of one image, with B = 1."""
        index = range(len(self))[index]
        return replace(
            self,
            levels={name: level[index : index + 1] for name, level in self.levels.items()},
            input_sizes=(self.input_sizes[index],),
            image_sizes=(self.image_sizes[index],),
        )

    def to(self, target: torch.device | torch.dtype) -> Pyramid:
        """With the maps on another device or in another type: float16 halves what a cache holds."""
        return replace(self, levels={name: level.to(target) for name, level in self.levels.items()})

    def to_input(self, boxes_xyxy: Tensor, index: int) -> Tensor:
        """(N, 4) image pixels -> input pixels of image ``index``."""
        return _resized(boxes_xyxy, self.image_sizes[index], self.input_sizes[index])

    def to_image(self, boxes_xyxy: Tensor, index: int) -> Tensor:
        """(N, 4) input pixels -> image pixels of image ``index``."""
        return _resized(boxes_xyxy, self.input_sizes[index], self.image_sizes[index])


@dataclass(frozen=True)
class Regions:
    """What the region proposal network found in one image, and what the box head made of it.

    ``proposals_xyxy`` (R, 4) input pixels; ``features`` (R, F): the box head's; ``class_logits`` (R, K), class 0 is the
    background; ``offsets`` (R, K, 4): the detector's own, in the units of its box coder.
    """

    proposals_xyxy: Tensor
    features: Tensor
    class_logits: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.proposals_xyxy)

    def __getitem__(self, index: Tensor | slice) -> Regions:
        """Some of them, in the order of ``index``."""
        parts = (self.proposals_xyxy, self.features, self.class_logits, self.offsets)
        return Regions(*(part[index] for part in parts))

    def likely(self, threshold: float) -> Regions:
        """Those that have a score above the threshold in some class: all that can become a detection."""
        return self[self.class_logits.softmax(-1)[:, 1:].amax(-1) > threshold]


class FrozenDetector(nn.Module):
    """A torchvision detector with a feature pyramid, frozen: in eval mode, nothing in it learns.

    ``model``: a GeneralizedRCNN with box heads (Faster, Mask or Keypoint R-CNN). It is used as it is, not copied; masks
    and keypoints are left out. Raises ValueError for another one.

    Attributes:
        model: it.
        classes: K, with the background.
        feature_size: F of the box head.
        channels: of the maps.
        pool_size: cells per side that a box is pooled to (7).
        pooled, strides: names of the levels that boxes are pooled from, and their strides in input pixels.
        score_threshold, nms_threshold, most: the model's own; torchvision's are 0.05, 0.5 and 100.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        heads: Any = getattr(model, "roi_heads", None)
        predictor, pool = getattr(heads, "box_predictor", None), getattr(heads, "box_roi_pool", None)
        scorer = getattr(predictor, "cls_score", None)
        if not isinstance(model, GeneralizedRCNN) or scorer is None or not isinstance(pool, MultiScaleRoIAlign):
            raise ValueError(
                "model must be a torchvision detector with box heads on a feature pyramid, such as "
                f"fasterrcnn_resnet50_fpn (got {type(model).__name__})"
            )
        other = {str(value.dtype) for value in model.parameters()} - {"torch.float32"}
        if other:
            raise ValueError(f"model must have float32 weights (got {', '.join(sorted(other))}): call model.float()")
        self.model = model.requires_grad_(False).eval()
        model.zero_grad(set_to_none=True)  # what is left of its training
        self.classes, self.feature_size = int(scorer.out_features), int(scorer.in_features)
        self.pool_size = int(pool.output_size[0])
        self.score_threshold = float(heads.score_thresh)
        self.nms_threshold, self.most = float(heads.nms_thresh), int(heads.detections_per_img)
        self.pooled, self.strides, self.channels = self._read_strides(pool)

    def train(self, mode: bool = True) -> FrozenDetector:
        """Stays in eval mode."""
        return super().train(False)

    @property
    def digest(self) -> str:
        """Of its weights: what was trained on another detector does not fit, whatever the shapes say."""
        found = hashlib.sha256()
        for name, value in self.model.state_dict().items():
            found.update(name.encode())
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
        return found.hexdigest()[:16]

    @property
    def box_head(self) -> nn.Module:
        """(N, C, 7, 7) -> (N, F): two fully connected layers, or convolutions before one in newer networks."""
        return cast(nn.Module, self.model.roi_heads.box_head)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.no_grad()
    def _read_strides(self, pool: Any) -> tuple[tuple[str, ...], tuple[int, ...], int]:
        probe = torch.zeros(1, 3, _PROBE, _PROBE, device=self.device)
        levels = self._levels(probe)
        names = tuple(name for name in levels if name in pool.featmap_names)
        # torchvision's pooling keeps the strides that it guesses from the first image it ever sees, and guesses wrongly
        # when that is a few pixels high: let it see this one first.
        pool(levels, [probe.new_tensor([[0.0, 0.0, 8.0, 8.0]])], [(_PROBE, _PROBE)])
        return names, tuple(_PROBE // levels[name].shape[-2] for name in names), int(levels[names[0]].shape[1])

    def _levels(self, inputs: Tensor) -> dict[str, Tensor]:
        levels = self.model.backbone(inputs)
        return {"0": levels} if isinstance(levels, Tensor) else dict(levels)

    @torch.no_grad()
    def pyramid(self, images: Sequence[Tensor]) -> Pyramid:
        """``images``: (3, H, W) each, RGB, float 0..1 or uint8 0..255. Raises ValueError for others and for none."""
        if not len(images):
            raise ValueError("images must hold at least one (got none)")
        prepared = [self._prepared(image, number) for number, image in enumerate(images)]
        batch, _ = self.model.transform(prepared)
        return Pyramid(
            self._levels(batch.tensors),
            self.pooled,
            self.strides,
            tuple((int(h), int(w)) for h, w in batch.image_sizes),
            tuple((int(image.shape[-2]), int(image.shape[-1])) for image in images),
            (int(batch.tensors.shape[-2]), int(batch.tensors.shape[-1])),
        )

    def _prepared(self, image: Tensor, number: int) -> Tensor:
        if image.ndim != 3 or image.shape[0] != 3 or not image.numel():
            raise ValueError(f"images[{number}] must be (3, H, W), RGB (got {tuple(image.shape)})")
        if image.dtype == torch.uint8:
            image = image.float() / 255
        if not image.is_floating_point():
            raise ValueError(f"images[{number}] must be float 0..1 or uint8 (got {image.dtype})")
        darkest, brightest = image.aminmax()
        if not (darkest >= -_SLACK and brightest <= 1 + _SLACK):  # also where a value is not a number
            values = f"{float(darkest):g} to {float(brightest):g}"
            raise ValueError(f"images[{number}] must have values from 0 to 1 as float (got {values})")
        transform = self.model.transform
        short, long = sorted(image.shape[-2:])
        scale = min(transform.min_size[-1] / short, transform.max_size / long)
        if transform.fixed_size is None and math.floor(short * scale) < 1:
            raise ValueError(
                f"images[{number}] of {image.shape[-1]} x {image.shape[-2]} pixels is too narrow: "
                f"nothing is left of its short side when the long one is made {transform.max_size}"
            )
        own = next(self.model.parameters())
        return image.to(own.device, own.dtype)

    @torch.no_grad()
    def proposals(self, pyramid: Pyramid) -> list[Tensor]:
        """Boxes (R, 4) of the region proposal network for each image, input pixels, best first."""
        some = next(iter(pyramid.levels.values()))
        # The network takes nothing but shapes from the images.
        stand_in = some.new_empty(()).expand(len(pyramid), 3, *pyramid.padded_size)
        found, _ = self.model.rpn(ImageList(stand_in, list(pyramid.input_sizes)), dict(pyramid.levels))
        return cast(list[Tensor], found)

    @torch.no_grad()
    def regions(self, pyramid: Pyramid, proposals: Sequence[Tensor] | None = None) -> list[Regions]:
        """Of each image. ``proposals``: (R, 4) input pixels each, instead of the network's own."""
        boxes = self.proposals(pyramid) if proposals is None else list(proposals)
        counts = [len(few) for few in boxes]
        heads = self.model.roi_heads
        features = heads.box_head(heads.box_roi_pool(dict(pyramid.levels), boxes, list(pyramid.input_sizes)))
        logits, offsets = heads.box_predictor(features)
        parts = (features, logits, offsets.unflatten(1, (-1, 4)))
        return [Regions(*few) for few in zip(boxes, *(part.split(counts) for part in parts), strict=True)]

    def encode(self, boxes_xyxy: Tensor, proposals_xyxy: Tensor) -> Tensor:
        """Offsets (N, 4) of boxes (N, 4) from proposals (N, 4), in the units of the box coder."""
        return cast(Tensor, self.model.roi_heads.box_coder.encode([boxes_xyxy], [proposals_xyxy])[0])

    @torch.no_grad()
    def decode(self, regions: Regions, input_size: tuple[int, int], offsets: Tensor | None = None) -> Detections:
        """Boxes of every class with a score above the threshold, clipped to the image, input pixels: no suppression.

        ``offsets`` (R, K, 4): of another head, instead of the detector's own.
        """
        count = len(regions)
        offsets = regions.offsets if offsets is None else offsets
        if offsets.shape != (count, self.classes, 4):
            raise ValueError(f"offsets must be ({count}, {self.classes}, 4) (got {tuple(offsets.shape)})")
        coder = self.model.roi_heads.box_coder
        boxes = coder.decode(offsets.flatten(1), [regions.proposals_xyxy]).view(count, self.classes, 4)
        boxes = clip_boxes_to_image(boxes, input_size)[:, 1:].reshape(-1, 4)
        scores = regions.class_logits.softmax(-1)[:, 1:].flatten()
        labels = torch.arange(1, self.classes, device=scores.device).repeat(count)
        found = Detections(boxes, scores, labels)[torch.where(scores > self.score_threshold)[0]]
        return found[remove_small_boxes(found.boxes_xyxy, SMALLEST_SIDE)]

    def raw(self, pyramid: Pyramid) -> list[Detections]:
        """``decode`` of every image, with the detector's own proposals and offsets."""
        return list(map(self.decode, self.regions(pyramid), pyramid.input_sizes))

    def suppress(self, raw: Detections) -> Detections:
        """torchvision's own last step: suppression within each class, then the best by score."""
        kept = batched_nms(raw.boxes_xyxy, raw.scores, raw.labels, self.nms_threshold)
        return raw[kept[: self.most]]

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """What the model itself gives, in image pixels."""
        if not len(images):
            return []
        pyramid = self.pyramid(images)
        found = map(self.suppress, self.raw(pyramid))
        return [
            Detections(pyramid.to_image(few.boxes_xyxy, index), few.scores, few.labels)
            for index, few in enumerate(found)
        ]


def _resized(boxes_xyxy: Tensor, from_hw: tuple[int, int], to_hw: tuple[int, int]) -> Tensor:
    """In float32 as in torchvision, whose boxes ours equal to the bit."""
    ratio_hw = torch.tensor(to_hw, dtype=torch.float32) / torch.tensor(from_hw, dtype=torch.float32)
    return boxes_xyxy * ratio_hw.flip(0).repeat(2).to(boxes_xyxy.device)
