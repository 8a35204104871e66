"""Checkpoints that look like those of pytracking's trainer, written with stand-in classes under its names."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from ebm_tracker.models import EnergyHead

Write = Callable[..., Path]
CLASSES = {
    "model_constructor": ("NetConstructor",),
    "settings": ("Settings",),
    "local": ("EnvironmentSettings",),
    "stats": ("AverageMeter", "StatValue"),
}
PATHS = {"workspace_dir": "/home/trainer/workspace", "lasot_dir": "/mnt/secret-disk/lasot"}


@contextmanager
def their_classes(package: str) -> Iterator[dict[str, Any]]:
    """Empty classes that pickle as ``ltr.admin.stats.AverageMeter`` and so on; gone again afterwards."""
    made: dict[str, Any] = {}
    parents = [".".join(package.split(".")[: n + 1]) for n in range(package.count(".") + 1)]
    names = [*parents, *(f"{package}.{module}" for module in CLASSES)]
    assert not set(names) & sys.modules.keys()
    try:
        for name in names:
            sys.modules[name] = ModuleType(name)
        for module, classes in CLASSES.items():
            for name in classes:
                made[name] = type(name, (), {"__module__": f"{package}.{module}"})
                setattr(sys.modules[f"{package}.{module}"], name, made[name])
        yield made
    finally:
        for name in names:
            del sys.modules[name]


def filled(kind: Any, **attributes: Any) -> Any:
    made = kind()
    vars(made).update(attributes)
    return made


def random_norms(module: nn.Module, generator: torch.Generator) -> None:
    """As after training: no norm is the identity."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None and norm.running_var is not None
            for tensor, low, high in (
                (norm.weight.data, 0.5, 1.5),
                (norm.bias.data, -0.2, 0.2),
                (norm.running_mean, -0.3, 0.3),
                (norm.running_var, 0.5, 2.0),
            ):
                tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))


class AtomParts:
    """Upstream's network from parts that are not ours to convert: torchvision's ResNet18 with its norms, and a head."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.resnet = torchvision.models.resnet18(weights=None).eval()
        self.head = EnergyHead().eval()
        generator = torch.Generator().manual_seed(4)
        for module in (self.resnet, self.head):
            random_norms(module, generator)

    def state(self) -> OrderedDict[str, Tensor]:
        backbone = {f"feature_extractor.{k}": v for k, v in self.resnet.state_dict().items()}
        for key, value in backbone.items():
            if key.startswith(("feature_extractor.layer4", "feature_extractor.fc")) and value.dim() > 1:
                backbone[key] = torch.zeros(()).expand(value.shape)  # keeps the file small
        return OrderedDict({**backbone, **{f"bb_regressor.{k}": v for k, v in self.head.state_dict().items()}})

    @torch.no_grad()
    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        net = self.resnet
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x = net.maxpool(net.relu(net.bn1(net.conv1((images.float() / 255 - mean) / std))))
        layer2 = net.layer2(net.layer1(x))
        return layer2, net.layer3(layer2)


@pytest.fixture(scope="session")
def atom_parts() -> AtomParts:
    return AtomParts()


@pytest.fixture(scope="session")
def write_checkpoint() -> Write:
    """``write(path, state, ...)``: what their trainer saves, by torch.save."""

    def write(
        path: Path,
        state: Any,
        *,
        net_type: str | None = "ATOMnet",
        made_by: str | None = "ltr.models.bbreg.atom.atom_resnet18",
        package: str = "ltr.admin",
        zipped: bool = True,
        protocol: int = 2,
        net_info: Any = None,
        planted: Any = None,
        **more: Any,
    ) -> Path:
        with their_classes(package) as classes:
            env = filled(classes["EnvironmentSettings"], **PATHS)
            settings = filled(
                classes["Settings"],
                env=env,
                description="ATOM, as published",
                module_name="bbreg",
                script_name="atom_default",
                device=torch.device("cpu"),
                planted=planted,
            )
            module, _, function = (made_by or "").rpartition(".")
            kwds = {"backbone_pretrained": True}
            constructor = filled(
                classes["NetConstructor"], fun_name=function, fun_module=module, args=(), kwds=kwds
            )
            meter = filled(classes["AverageMeter"], avg=1.5, history=[2.0, 1.5], count=64)
            rate = filled(classes["StatValue"], val=1e-3, history=[1e-3])
            content = {
                "epoch": 40,
                "actor_type": "AtomActor",
                "net_type": net_type,
                "net": state,
                "net_info": net_info,
                "constructor": constructor if made_by else None,
                "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"betas": (0.9, 0.999)}]},
                "stats": OrderedDict(train=OrderedDict({"Loss/total": meter, "LearningRate/group0": rate})),
                "settings": settings,
                **more,
            }
            torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
        return path

    return write


@pytest.fixture(scope="session")
def atom_checkpoints(
    atom_parts: AtomParts, write_checkpoint: Write, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The same network in both formats: "zip" and "legacy", the latter with the names from before publication."""
    folder = tmp_path_factory.mktemp("atom")
    return {
        "zip": write_checkpoint(folder / "ATOMnet_ep0040.pth.tar", atom_parts.state()),
        "legacy": write_checkpoint(
            folder / "atom_default.pth", atom_parts.state(), package="dlframework.common.utils", zipped=False
        ),
    }
