"""Our network and objectives in the training loop of a pytracking checkout: its data sets, its sampler, its trainer.

Nothing of theirs is imported before :func:`train` runs, and then by name: `ltr` must be importable, as it is in a
script that their ``run_training.py`` started. Three of their functions do not run on a plain installation of today
and are replaced by ours: reading images (:func:`read_image`), stacking batches (:func:`stack_samples`; theirs needs a
Python older than 3.10) and reading checkpoints again with torch 2.6 and later (:func:`checkpoints_of`).
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch
from torch import Tensor

from ebm_tracker.frames import RgbFrame
from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels, load_imagenet_backbone, save_network
from ebm_tracker.models.backbone import BACKBONES, fold_batch_norms
from ebm_tracker.models.network import BatchNormMode
from ebm_tracker.training.candidates import Candidates
from ebm_tracker.training.data.decode import decode_image
from ebm_tracker.training.objective import Objective, build_objective, score_pairs
from ebm_tracker.training.pairs import Pair

FIELDS = ("train_images", "test_images", "train_anno", "test_anno", "test_proposals", "proposal_density")
"""What the actor reads of a batch; ``proposal_density`` may be missing."""


@dataclass(frozen=True)
class LoopRecipe:
    """A training run in their terms: ``batches`` of ``batch_size`` pairs an epoch, the rate times ``decay`` every
    ``decay_every`` epochs, validation every ``validate_every`` epochs. ``objective``: see build_objective."""

    objective: str
    description: str
    max_gap: int = 200
    samples: int = 128
    sigmas: tuple[float, ...] = (0.05, 0.5)
    epochs: int = 50
    batches: int = 1000
    validation_batches: int = 500
    validate_every: int = 5
    batch_size: int = 64
    workers: int = 8
    learning_rate: float = 1e-3
    decay: float = 0.2
    decay_every: int = 15
    print_every: int = 20
    backbone: str = "resnet18"
    batch_norm: str = "train"  # of the frozen backbone, as their loop leaves it
    crop_size: int = 288
    area_factor: float = 5.0
    center_jitter: float = 4.5
    scale_jitter: float = 0.5
    gray: float = 0.05
    brightness: float = 0.2
    seed: int = 0


class EnergyActor:
    """What their trainer calls with a batch: the network's energies of the batch's proposals, and the objective.

    Images come as (1, B, 3, S, S) in 0..1, boxes as (1, B, 4) and (1, B, N, 4) xywh in crop pixels, densities as
    (1, B, N) in relative coordinates. Raises FloatingPointError when the loss is not finite.
    """

    def __init__(self, net: EnergyNetwork, objective: Objective) -> None:
        self.net, self.objective = net, objective

    def __call__(self, data: Mapping[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """(loss, what their trainer shows and logs)."""
        pair = Pair(
            255 * data["train_images"][0], data["train_anno"][0], 255 * data["test_images"][0], data["test_anno"][0]
        )
        boxes = data["test_proposals"][0]
        candidates = Candidates(boxes, log_density(data.get("proposal_density"), boxes))
        f = score_pairs(self.net, pair, boxes)
        loss = self.objective.loss(f, candidates, pair.test_box).mean()
        value = loss.item()
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss became {value} in epoch {data.get('epoch', '?')}")
        return loss, {"Loss/total": value, f"Loss/{self.objective.name}": value}

    def to(self, device: torch.device | str) -> None:
        """Moves the network."""
        self.net.to(device)

    def train(self, mode: bool = True) -> None:
        """Puts the network in training mode, its backbone as ``batch_norm`` says."""
        self.net.train(mode)

    def eval(self) -> None:
        """Puts the network in evaluation mode."""
        self.train(False)


def log_density(density: Tensor | None, boxes: Tensor) -> Tensor:
    """(B, N) of densities (1, B, N); zero without any, and where it is -1: they mark the true box with it."""
    if density is None:
        return boxes.new_zeros(boxes.shape[:-1])
    return torch.where(density > 0, density, 1.0).log()[0]


def read_image(path: str) -> RgbFrame:
    """(H, W, 3) uint8 RGB by this package's decoders: theirs needs a library that pip does not bring."""
    return decode_image(Path(path).read_bytes(), path)


def stack_samples(samples: Sequence[Mapping[str, Any]]) -> Any:
    """Samples of (1, ...) tensors -> a batch of (1, B, ...) tensors, in their dictionary type."""
    from pytracking import TensorDict

    fields = [name for name in FIELDS if name in samples[0]]
    return TensorDict({name: torch.stack([sample[name] for sample in samples], dim=1) for name in fields})


def train(settings: Any, recipe: LoopRecipe) -> Path:
    """Trains in their loop, from their last checkpoint if there is one, and writes ``network.safetensors`` beside the
    checkpoints; returns its path.

    ``settings``: theirs; its ``env`` names the data sets' folders and the workspace. ``settings.backbone_weights``: a
    file with ImageNet weights, when torchvision's own cannot be fetched (else the variable EBM_BACKBONE_WEIGHTS);
    EBM_LTR_SET changes fields of the recipe (:func:`changed`), since run_training.py has no flag for that. An error
    ends the run instead of starting it again from the last checkpoint.
    """
    from ltr.trainers import LTRTrainer

    recipe = changed(recipe, os.environ.get("EBM_LTR_SET", ""))
    torch.manual_seed(recipe.seed)
    random.seed(recipe.seed)
    np.random.seed(recipe.seed)
    settings.description = recipe.description
    settings.batch_size, settings.num_workers = recipe.batch_size, recipe.workers
    settings.print_interval = recipe.print_every
    backbone_weights = getattr(settings, "backbone_weights", None) or os.environ.get("EBM_BACKBONE_WEIGHTS")
    if backbone_weights:  # their checkpoints hold the settings: text there, so that no class has to be allowed
        settings.backbone_weights = str(backbone_weights)
    network = build_network(recipe, backbone_weights)
    note: Any = {"backbone": recipe.backbone, "recipe": asdict(recipe)}
    network.info = note  # goes into each checkpoint, for `ebm weights convert`
    objective = build_objective(recipe.objective, sigmas=recipe.sigmas, samples=recipe.samples)
    optimizer = torch.optim.Adam(network.head.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, recipe.decay_every, recipe.decay)
    loaders = build_loaders(settings.env, recipe)
    trainer = LTRTrainer(EnergyActor(network, objective), loaders, optimizer, settings, schedule)
    with checkpoints_of(settings):
        trainer.train(recipe.epochs, load_latest=True, fail_safe=False)
    return _write_network(network, recipe, settings)


def changed(recipe: LoopRecipe, text: str) -> LoopRecipe:
    """The recipe with the fields of ``text``, such as ``"batch_size=16 workers=4"``. Raises ValueError, naming the
    part, for an unknown field or a value of another type."""
    kinds = get_type_hints(LoopRecipe)
    values: dict[str, Any] = {}
    for part in text.split():
        key, _, value = part.partition("=")
        if key not in kinds:
            raise ValueError(f"EBM_LTR_SET: {part} is no field=value of the recipe (fields: {', '.join(kinds)})")
        try:
            plain = kinds[key] in (int, float, str)
            values[key] = kinds[key](value) if plain else tuple(map(float, value.split(",")))
        except ValueError:
            like = getattr(recipe, key)
            raise ValueError(f"EBM_LTR_SET: {key} takes a value like {like!r} (got {value!r})") from None
    return replace(recipe, **values)


def build_network(recipe: LoopRecipe, backbone_weights: str | Path | None) -> EnergyNetwork:
    """The untrained head on its backbone."""
    folded = recipe.batch_norm == BatchNormMode.EVAL.value
    backbone = load_imagenet_backbone(recipe.backbone, backbone_weights, folded=folded)
    head = EnergyHead(HeadChannels(BACKBONES[recipe.backbone].channels))
    return EnergyNetwork(backbone, head, BatchNormMode(recipe.batch_norm))


def build_loaders(env: Any, recipe: LoopRecipe) -> list[Any]:
    """Their loaders: LaSOT, GOT-10k, TrackingNet 0-3 and COCO 2014 at equal weight; GOT-10k for validation."""
    from ltr.data import LTRLoader, sampler, transforms
    from ltr.dataset import Got10k, Lasot, MSCOCOSeq, TrackingNet

    sets = [
        Lasot(env.lasot_dir, read_image, split="train"),
        Got10k(env.got10k_dir, read_image, split="vottrain"),
        TrackingNet(env.trackingnet_dir, read_image, set_ids=[0, 1, 2, 3]),
        MSCOCOSeq(env.coco_dir, read_image),
    ]

    def loader(name: str, datasets: list[Any], to_tensor: Any, batches: int, **more: Any) -> Any:
        pairs = sampler.ATOMSampler(
            datasets,
            [1] * len(datasets),
            samples_per_epoch=batches * recipe.batch_size,
            max_gap=recipe.max_gap,
            processing=_processing(recipe, transforms.Transform(to_tensor)),
        )
        common = {"batch_size": recipe.batch_size, "num_workers": recipe.workers, "drop_last": True}
        return LTRLoader(name, pairs, collate_fn=stack_samples, stack_dim=1, **common, **more)

    jittered, plain = transforms.ToTensorAndJitter(recipe.brightness), transforms.ToTensor()
    validation = [Got10k(env.got10k_dir, read_image, split="votval")]
    return [
        loader("train", sets, jittered, recipe.batches, training=True, shuffle=True),
        loader(
            "val", validation, plain, recipe.validation_batches, training=False, epoch_interval=recipe.validate_every
        ),
    ]


def _processing(recipe: LoopRecipe, transform: Any) -> Any:
    """Their crops and candidates. No normalisation: our backbone does that itself."""
    from ltr.data import processing, transforms

    mixture = [(sigma, sigma) for sigma in recipe.sigmas]  # for position and size
    boxes: dict[str, tuple[str, dict[str, Any]]] = {
        "nll": (
            "KLBBregProcessing",
            {
                "boxes_per_frame": recipe.samples,
                "gt_sigma": (0, 0),
                "proposal_sigma": mixture,
                "add_mean_box": True,  # the true box as entry 0
            },
        ),
        "iou_mse": (
            "ATOMProcessing",
            {"proposal_method": "gmm", "boxes_per_frame": recipe.samples, "proposal_sigma": mixture},
        ),
        "iou_mse_atom": (
            "ATOMProcessing",
            {"min_iou": 0.1, "boxes_per_frame": 16, "sigma_factor": [0.01, 0.05, 0.1, 0.2, 0.3]},
        ),
    }
    if recipe.objective not in boxes:
        raise ValueError(f"objective must be one of {', '.join(boxes)} in this loop (got {recipe.objective!r})")
    name, proposals = boxes[recipe.objective]
    return getattr(processing, name)(
        search_area_factor=recipe.area_factor,
        output_sz=recipe.crop_size,
        center_jitter_factor={"train": 0, "test": recipe.center_jitter},
        scale_jitter_factor={"train": 0, "test": recipe.scale_jitter},
        mode="sequence",
        proposal_params=proposals,
        transform=transform,
        joint_transform=transforms.Transform(transforms.ToGrayscale(probability=recipe.gray)),
    )


def checkpoints_of(settings: Any) -> AbstractContextManager[Any]:
    """Lets torch read their trainer's checkpoints, which hold its settings and statistics: since 2.6 it refuses
    classes that nobody named."""
    safe_globals = getattr(torch.serialization, "safe_globals", None)
    if safe_globals is None:  # before torch 2.5, which reads anything
        return nullcontext()
    from ltr.admin import stats

    return safe_globals([type(settings), type(settings.env), stats.AverageMeter, stats.StatValue])


def _write_network(network: EnergyNetwork, recipe: LoopRecipe, settings: Any) -> Path:
    folder = Path(settings.env.workspace_dir).expanduser() / "checkpoints" / settings.project_path
    path = folder / "network.safetensors"
    network.eval()
    moved = network.batch_norm is BatchNormMode.TRAIN  # then the backbone is no longer ImageNet's
    if moved:  # files hold backbones with their norms folded away
        network.set_batch_norm(BatchNormMode.EVAL)
        fold_batch_norms(network.backbone)
    provenance = {"recipe": asdict(recipe), "module": "ebm_tracker.ltr_settings", "loop": "pytracking"}
    digest = save_network(network.cpu(), path, provenance, include_backbone=moved)
    print(f"{path.absolute()}\nSHA-256 {digest}")
    return path
