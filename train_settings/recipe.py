"""What every recipe shares: the fields that decide a result, how ``--set`` changes them, and the run itself.

A recipe is a module of this package with ``RECIPE`` (a Recipe, or a sub-class with fields of its own) and
``open_data(recipe, paths)``; its docstring says command, hardware, time and the number to expect.
"""

from __future__ import annotations

import copy
import importlib
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, get_args, get_origin, get_type_hints

import torch
from torch.utils.data import Dataset

from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.errors import EbmError
from ebm_tracker.models import (
    EnergyHead,
    EnergyNetwork,
    HeadChannels,
    load_imagenet_backbone,
    load_network,
    save_network,
)
from ebm_tracker.models.backbone import BACKBONES, Backbone, fold_batch_norms
from ebm_tracker.models.checkpoint import sha256_of
from ebm_tracker.models.network import BatchNormMode
from ebm_tracker.training.heldout import HeldOutPairs
from ebm_tracker.training.loop import LoopSettings, Training
from ebm_tracker.training.objective import Objective, TrainingStep, build_objective
from ebm_tracker.training.pairs import Pair
from ebm_tracker.training.processes import Processes
from ebm_tracker.training.sample import SampleDataset

RECIPES = ("lite", "ebm_tracking", "atom", "atom_star", "folder")


class RecipeError(EbmError):
    """There is no such recipe, or no such field in it, or the value is of another kind."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result, whatever the data. ``milestones`` are shares of the run.

    ``step_lengths``: (position, log size) of the refinement with which held-out pairs are scored; they belong to an
    objective's energies. ``batch_size`` counts the pairs of a step over all processes and ``accumulate`` parts.
    """

    objective: str = "nll"
    samples: int = 128
    sigmas: tuple[float, ...] = (0.05, 0.5)
    label_sigma: float = 0.05
    beta: float = 0.1
    backbone: str = "resnet18"
    reference: tuple[int, int] = (128, 256)
    maps: tuple[int, int] = (256, 256)
    hidden: tuple[int, int] = (256, 256)
    batch_norm: str = "eval"  # of the frozen backbone; "train" as the published code
    steps: int = 50_000
    batch_size: int = 64
    accumulate: int = 1
    learning_rate: float = 1e-3
    schedule: str = "steps"  # or "cosine"
    milestones: tuple[float, ...] = (0.3, 0.6, 0.9)
    decay: float = 0.2
    floor: float = 0.0  # of the cosine, as a share of learning_rate
    warmup: int = 0
    clip_norm: float = 0.0  # 0: no clipping
    average: float = 0.0  # decay of the moving average of the weights; 0: none
    sync_batch_norm: bool = False
    precision: str = "float32"  # of the convolutions: bfloat16, float16
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 500
    checkpoint_every: int = 200
    epoch_steps: int = 1000
    held_out_pairs: int = 256
    step_lengths: tuple[float, float] = (2e-4, 1e-3)
    ship_backbone: bool = False  # True: the network's file holds the backbone too


class RecipeData(NamedTuple):
    """``pairs``: as many as the run draws; ``held_out``: as pairs; ``facts``: for the network's file, JSON-able."""

    pairs: Dataset[Pair]
    held_out: Sequence[Pair]
    facts: Mapping[str, Any]


class Paths(Protocol):
    """Where data lies: by the flags, the environment and the settings file."""

    def require(self, key: str) -> Path:
        """The path; raises when it is not set, saying how to."""
        ...

    def get(self, key: str) -> Path | None:
        """The path, or None."""
        ...


class RecipeModule(Protocol):
    """What a recipe's module offers."""

    RECIPE: Recipe
    open_data: Callable[[Any, Paths], RecipeData]


R = TypeVar("R", bound=Recipe)


def load_recipe(name: str) -> RecipeModule:
    """The module of a recipe. Raises RecipeError, listing the known ones."""
    if name not in RECIPES:
        raise RecipeError(f"there is no recipe {name!r}; known: {', '.join(RECIPES)}")
    module: Any = importlib.import_module(f"ebm_tracker.train_settings.{name}")
    return module


def change(recipe: R, changes: Sequence[str]) -> R:
    """The recipe with ``key=value`` texts applied. Raises RecipeError, naming the text and what is allowed."""
    kinds = get_type_hints(type(recipe))
    values: dict[str, Any] = {}
    for text in changes:
        key, _, value = text.partition("=")
        if key not in kinds:
            raise RecipeError(f"--set {text}: unknown key; known: {', '.join(field.name for field in fields(recipe))}")
        try:
            values[key] = _parse(kinds[key], value)
        except (KeyError, ValueError):
            raise RecipeError(f"--set {text}: {key} takes {_allowed(kinds[key])} (got {value!r})") from None
    return replace(recipe, **values)


def _parse(kind: Any, text: str) -> Any:
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        parts = text.split(",") if text else []
        if inner[-1] is not Ellipsis and len(parts) != len(inner):
            raise ValueError(text)
        return tuple(inner[0](part) for part in parts)
    return kind(text)


def _allowed(kind: Any) -> str:
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"{count}{_NUMBERS[inner[0]]}s, separated by commas"
    return "true or false" if kind is bool else f"a {_NUMBERS[kind]}"


_NUMBERS = {int: "whole number", float: "number"}


def _batch_norm_of(recipe: Recipe) -> BatchNormMode:
    modes = [mode.value for mode in BatchNormMode]
    if recipe.batch_norm not in modes:
        raise RecipeError(f"batch_norm must be one of {', '.join(modes)} (got {recipe.batch_norm!r})")
    return BatchNormMode(recipe.batch_norm)


def build_backbone_for(recipe: Recipe, weights: Path | None) -> Backbone:
    """The recipe's backbone with ImageNet weights: from ``weights``, or, when the shipped network has that very
    backbone, from there, or from the file that EBM_BACKBONE_WEIGHTS names, or through torchvision. Its batch norms
    are kept where the recipe lets them move."""
    folded = _batch_norm_of(recipe) is BatchNormMode.EVAL
    shipped = WEIGHTS_FOLDER / "default.safetensors"
    if weights is None and folded and shipped.is_file():
        network = load_network(shipped)
        if network.backbone.name == recipe.backbone:
            return network.backbone
    file = weights or os.environ.get("EBM_BACKBONE_WEIGHTS") or None
    return load_imagenet_backbone(recipe.backbone, file, folded)


def build_network(recipe: Recipe, backbone_weights: Path | None, initial: Path | None = None) -> EnergyNetwork:
    """The head on its backbone, in the memory layout that convolutions like. ``initial``: a network whose head to
    start from; without it the head is a new one. Raises RecipeError for a head of another shape."""
    backbone = build_backbone_for(recipe, backbone_weights)
    torch.manual_seed(recipe.seed)
    channels = HeadChannels(BACKBONES[recipe.backbone].channels, recipe.reference, recipe.maps, recipe.hidden)
    head = EnergyHead(channels)
    if initial is not None:
        start = load_network(initial, backbone_weights=backbone_weights).head
        if start.channels != channels:
            raise RecipeError(f"{initial.absolute()} has a head of {start.channels}, the recipe one of {channels}")
        head.load_state_dict(start.state_dict())
    return EnergyNetwork(backbone, head).to(memory_format=torch.channels_last)


def objective_of(recipe: Recipe) -> Objective:
    """The recipe's objective."""
    return build_objective(
        recipe.objective,
        sigmas=recipe.sigmas,
        samples=recipe.samples,
        label_sigma=recipe.label_sigma,
        beta=recipe.beta,
    )


_LOOP_FIELDS = frozenset(
    "steps batch_size accumulate learning_rate schedule milestones decay floor warmup clip_norm average "
    "sync_batch_norm precision seed log_every evaluate_every checkpoint_every epoch_steps ship_backbone".split()
)


def loop_settings(recipe: Recipe, workers: int) -> LoopSettings:
    """The recipe's share of the loop's settings."""
    return LoopSettings(
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        accumulation=recipe.accumulate,
        learning_rate=recipe.learning_rate,
        schedule=recipe.schedule,
        milestones=tuple(int(recipe.steps * share) for share in recipe.milestones),
        decay=recipe.decay,
        floor=recipe.floor,
        warmup=recipe.warmup,
        clip_norm=recipe.clip_norm,
        average_decay=recipe.average,
        sync_batch_norm=recipe.sync_batch_norm,
        precision=recipe.precision,
        seed=recipe.seed,
        workers=workers,
        log_every=recipe.log_every,
        evaluate_every=recipe.evaluate_every,
        checkpoint_every=recipe.checkpoint_every,
        epoch_steps=recipe.epoch_steps,
        best="iou",
    )


def _deciding(recipe: Recipe) -> dict[str, Any]:
    """The recipe's fields without those that the loop knows under names of its own."""
    return {key: value for key, value in asdict(recipe).items() if key not in _LOOP_FIELDS}


def run(
    name: str,
    recipe: Recipe,
    data: RecipeData,
    out: Path,
    *,
    backbone_weights: Path | None = None,
    initial: Path | None = None,
    device: torch.device | str = "cpu",
    workers: int = 1,
    resume: bool = False,
    processes: Processes | None = None,
) -> Path | None:
    """Trains and writes ``out/network.safetensors``; its path, on the first process, else None."""
    device = torch.device(device)
    objective = objective_of(recipe)
    batch_norm = _batch_norm_of(recipe)
    if batch_norm is BatchNormMode.TRAIN and not recipe.ship_backbone:
        raise RecipeError("batch_norm=train moves the backbone's statistics, so it needs ship_backbone=true")
    parts = recipe.accumulate * (processes or Processes()).count
    if recipe.batch_size < 2 * parts:
        setting = f"accumulate={recipe.accumulate} and {(processes or Processes()).count} processes"
        raise RecipeError(
            f"batch norm needs two pairs in every part of a batch: batch_size must be at least {2 * parts} with "
            f"{setting} (got {recipe.batch_size})"
        )
    network = build_network(recipe, backbone_weights, initial).to(device)
    step = TrainingStep(network, objective, recipe.precision, batch_norm)
    faults = getattr(data.pairs, "faults", None)
    if faults is not None:
        faults.folder = out
    held_out = HeldOutPairs(data.held_out, device=device)

    def evaluate() -> dict[str, float]:
        network.eval()
        gain = held_out.refinement(network, recipe.step_lengths)
        loss = held_out.loss(network, objective)
        return {"loss": loss, "start_iou": gain.start_iou, "iou": gain.iou, "op75": gain.op75}

    start = None if initial is None else sha256_of(initial)
    training = Training(
        step,
        SampleDataset(data.pairs, objective.scheme, recipe.seed),
        loop_settings(recipe, workers),
        out,
        trained=step.trained,
        evaluate=evaluate,
        fingerprint={
            "recipe": name,
            **_deciding(recipe),
            "data": data.facts,
            "initial": start,
        },
        device=device,
        processes=processes,
        resume=resume,
    )
    training.run()
    if not training.processes.is_first:
        return None
    with training.averaged():
        scores = training.values if training.evaluated_at == training.steps and training.values else evaluate()
        if not all(map(math.isfinite, scores.values())):
            raise FloatingPointError(f"the held-out scores of the last step are {scores}: no network is written")
        return _write(name, recipe, network, data, training, scores, start, out)


def _write(
    name: str,
    recipe: Recipe,
    network: EnergyNetwork,
    data: RecipeData,
    training: Training,
    scores: Mapping[str, float],
    initial: str | None,
    out: Path,
) -> Path:
    """The network as it is at the end of the run, with what a stranger needs to know of it."""
    network.eval()
    device = training.device
    provenance: dict[str, Any] = {
        "recipe": {"name": name, **asdict(recipe)},
        "data": dict(data.facts),
        "backbone": BACKBONES[recipe.backbone].source,
        "initial": initial,
        "training_seconds": round(training.seconds),
        "held_out": dict(scores),
        "date": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
    # Files hold merged batch norms. In a copy: the run's own network goes on as it is.
    shipped = copy.deepcopy(network).cpu()
    shipped.set_batch_norm(BatchNormMode.EVAL)
    fold_batch_norms(shipped.backbone)
    path = out / "network.safetensors"
    digest = save_network(shipped, path, provenance, include_backbone=recipe.ship_backbone)
    print(f"{path.absolute()}\nSHA-256 {digest}\nheld-out {provenance['held_out']}")
    return path
