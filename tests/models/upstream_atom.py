"""Runs ATOM of a pytracking checkout in a process of its own: a script for the tests, not a test.

    python upstream_atom.py CHECKOUT make FILE.pth.tar NUMBERS.npz    seeded weights, saved by their trainer
    python upstream_atom.py CHECKOUT load FILE.pth.tar NUMBERS.npz    read by their load_network

NUMBERS gets the images, the boxes and the energies that their network gives them. Stand-ins, put in place while it
runs, for what a checkout of today lacks: the pooling (theirs is CUDA only), torchvision's table of addresses, timm, the
paths of local.py, and torch.load's old default. Nothing is written into the checkout.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

MEAN, STD = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class PooledRegions(nn.Module):
    """Precise RoI pooling: the mean over each bin of the bilinear interpolant, which is separable (rows, columns)."""

    def __init__(self, height: int, width: int, scale: float) -> None:
        super().__init__()
        self.height, self.width, self.scale = height, width, scale

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        boxes = rois[:, 1:].double() * self.scale
        rows = bin_weights(boxes[:, 1], boxes[:, 3], self.height, features.shape[2])
        columns = bin_weights(boxes[:, 0], boxes[:, 2], self.width, features.shape[3])
        maps = features.double()[rois[:, 0].long()]
        return torch.einsum("nih,nchw,njw->ncij", rows, maps, columns).to(features.dtype)


def bin_weights(low: Tensor, high: Tensor, bins: int, cells: int) -> Tensor:
    """(N, bins, cells): share of each cell's hat function in each bin, by its antiderivative."""
    edges = low[:, None] + (high - low)[:, None] * torch.arange(bins + 1).double() / bins
    t = (edges[:, :, None] - torch.arange(cells).double()).clamp(-1, 1)
    below = torch.where(t < 0, (t + 1) ** 2 / 2, 1 - (1 - t) ** 2 / 2)
    return (below[:, 1:] - below[:, :-1]) / ((high - low) / bins)[:, None, None]


def stand_in(name: str, **members: Any) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module


def prepare(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    sys.dont_write_bytecode = True
    for name in ("", ".pytorch"):
        stand_in(f"ltr.external.PreciseRoIPooling{name}", __path__=[])
    stand_in("ltr.external.PreciseRoIPooling.pytorch.prroi_pool", PrRoIPool2D=PooledRegions)
    torchvision.models.resnet.model_urls = {}  # type: ignore[attr-defined]
    for name in ("timm", "timm.models"):
        stand_in(name, __path__=[])
    stand_in("timm.models.layers", DropPath=None, to_2tuple=None, trunc_normal_=None)
    stand_in("ltr.admin.tensorboard", TensorboardWriter=None)
    # Theirs would write a local.py where there is none.
    paths = type("EnvironmentSettings", (), {"__module__": "ltr.admin.local"})
    stand_in("ltr.admin.local", EnvironmentSettings=paths)
    load = torch.load
    torch.load = lambda *a, **k: load(*a, **{"weights_only": False, **k})  # type: ignore[assignment]


def seeded(name: str, value: Tensor, norms: set[str]) -> Tensor:
    """Normal numbers by the tensor's name, as in the golden numbers."""
    a = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(value.shape))
    prefix, kind = name.rsplit(".", 1)
    if kind == "num_batches_tracked":
        return value
    if prefix in norms:
        a = {"weight": 1 + 0.2 * a, "bias": 0.1 * a, "running_mean": 0.2 * a, "running_var": np.exp(0.5 * a)}[kind]
    else:
        a = a * np.sqrt(2 / np.prod(value.shape[1:])) if kind == "weight" else 0.1 * a
    return torch.from_numpy(np.asarray(a, np.float32))


def make(path: Path) -> nn.Module:
    """Their network with seeded weights, in a checkpoint that their trainer wrote in epoch 7."""
    net: nn.Module = importlib.import_module("ltr.models.bbreg.atom").atom_resnet18(backbone_pretrained=False)
    state = net.state_dict()
    norms = {name.rsplit(".", 1)[0] for name in state if name.endswith("running_mean")}
    net.load_state_dict({name: seeded(name, value, norms) for name, value in state.items()})
    settings = importlib.import_module("ltr.admin.settings").Settings()
    settings.env.workspace_dir, settings.env.lasot_dir = str(path.parent / "workspace"), "/home/somebody/lasot"
    settings.module_name, settings.script_name = "bbreg", "atom_prob_ml"
    settings.project_path = "ltr/bbreg/atom_prob_ml"
    settings.description, settings.use_gpu = "ATOM with seeded weights", False
    actor = SimpleNamespace(net=net, to=lambda device: None)
    optimizer = torch.optim.Adam(net.bb_regressor.parameters(), lr=1e-3)
    sum(p.sum() for p in net.bb_regressor.parameters()).backward()
    with torch.no_grad():
        before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer.step()
    net.load_state_dict(before)
    trainer = importlib.import_module("ltr.trainers").BaseTrainer(actor, [], optimizer, settings)
    meter, value = (getattr(importlib.import_module("ltr.admin.stats"), n)() for n in ("AverageMeter", "StatValue"))
    meter.update(1.5, 64)
    value.update(1e-3)
    trainer.epoch, trainer.stats = 7, {"train": {"Loss/total": meter, "LearningRate/group0": value}}
    trainer.save_checkpoint()
    (path.parent / "workspace/checkpoints/ltr/bbreg/atom_prob_ml/ATOMnet_ep0007.pth.tar").rename(path)
    return net


def energies(net: nn.Module) -> dict[str, np.ndarray]:
    rng = np.random.RandomState(5)
    images = rng.randint(0, 256, (2, 3, 288, 288)).astype(np.uint8)
    box = np.array([[100, 110, 70, 60]], np.float32)
    boxes = (box + rng.uniform(-30, 30, (1, 32, 4))).astype(np.float32)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    x = (torch.from_numpy(images).float() / 255 - mean) / std
    with torch.no_grad():
        features = [list(net.extract_backbone_features(image[None]).values()) for image in x]
        modulation = net.bb_regressor.get_modulation(features[0], torch.from_numpy(box))
        maps = net.bb_regressor.get_iou_feat(features[1])
        found = net.bb_regressor.predict_iou(modulation, maps, torch.from_numpy(boxes))
    return {"images": images, "box": box, "boxes": boxes, "energies": found.numpy()}


def main() -> None:
    checkout, action, path, numbers = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    prepare(checkout)
    if action == "make":
        net = make(path)
    else:
        net = importlib.import_module("ltr.admin.loading").load_network(str(path), backbone_pretrained=False)[0]
    np.savez(numbers, **energies(net.eval()))


if __name__ == "__main__":
    main()
