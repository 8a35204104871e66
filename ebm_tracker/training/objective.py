"""Objectives: what training makes of the energies of candidate boxes. One name in a recipe chooses one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ebm_tracker.boxes import iou_xywh, xywh_to_relative
from ebm_tracker.energy import GaussianMixture, importance_kl, importance_nll, iou_mse, nce
from ebm_tracker.models.energy_head import EnergyMaps
from ebm_tracker.models.network import BatchNormMode, EnergyNetwork
from ebm_tracker.training.candidates import AtomCandidates, Candidates, CandidateScheme, First, MixtureCandidates
from ebm_tracker.training.pairs import Pair
from ebm_tracker.training.sample import Sample

Loss = Callable[[Tensor, Candidates, Tensor], Tensor]
"""(energies (B, N), their candidates as a batch, true boxes (B, 4) xywh) -> losses (B,)."""

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Objective:
    """``scheme`` draws the candidates of a pair, ``loss`` judges their energies."""

    name: str
    scheme: CandidateScheme
    loss: Loss


@dataclass(frozen=True)
class LabelKL:
    """KL from a Gaussian label density around the true box, ``sigma`` wide in relative coordinates."""

    sigma: float

    def __call__(self, f: Tensor, candidates: Candidates, truth_xywh: Tensor) -> Tensor:
        ref_wh = truth_xywh[:, 2:]
        boxes_rel = xywh_to_relative(candidates.boxes_xywh, ref_wh[:, None])
        truth_rel = xywh_to_relative(truth_xywh, ref_wh)
        log_label = GaussianMixture((self.sigma,)).log_density(boxes_rel, truth_rel)
        return importance_kl(f, candidates.log_q, log_label)


def nll_loss(f: Tensor, candidates: Candidates, truth_xywh: Tensor) -> Tensor:
    """Eq 4 of the paper; entry 0 is the true box, which is not one of the M samples."""
    return importance_nll(f[:, 1:], candidates.log_q[:, 1:], f[:, 0])


def iou_loss(f: Tensor, candidates: Candidates, truth_xywh: Tensor) -> Tensor:
    """Squared error of f against 2 IoU - 1."""
    return iou_mse(f, iou_xywh(candidates.boxes_xywh, truth_xywh[:, None]))


def nce_loss(f: Tensor, candidates: Candidates, truth_xywh: Tensor) -> Tensor:
    """Entry 0, the (noisy) true box, against the samples."""
    return nce(f, candidates.log_q)


OBJECTIVES = ("nll", "iou_mse", "iou_mse_atom", "kl", "nce", "nce_plus")
"""The paper's; ATOM*; ATOM; and what came after it: PrDiMP's and the two of "How to Train Your EBM"."""


def build_objective(
    name: str,
    *,
    sigmas: Sequence[float] | Sequence[Sequence[float]] = (0.05, 0.5),
    samples: int = 128,
    label_sigma: float = 0.05,
    beta: float = 0.1,
) -> Objective:
    """The objective called ``name`` (PROTOCOL 4.3).

    ======================  ======================================================  ==========
    ``nll``                 maximum likelihood: the true box and M samples           M + 1 boxes
    ``iou_mse``             ATOM*: 2 IoU - 1 of M samples                            M
    ``iou_mse_atom``        ATOM: 2 IoU - 1 of ATOM's own candidates                 16
    ``kl``                  KL from a Gaussian of ``label_sigma`` at the true box    M
    ``nce``                 the true box against M samples                           M + 1
    ``nce_plus``            the true box moved by noise of ``beta`` times sigmas     M + 1
    ======================  ======================================================  ==========

    M = ``samples``, drawn from the mixture of ``sigmas`` around the true box. Raises ValueError for an unknown name,
    listing the known ones, and for values that make no objective.
    """
    if not label_sigma > 0:
        raise ValueError(f"label_sigma must be > 0 (got {label_sigma})")

    def mixture(first: First) -> MixtureCandidates:
        return MixtureCandidates(sigmas, samples, first, beta)

    objectives: dict[str, Callable[[], tuple[CandidateScheme, Loss]]] = {
        "nll": lambda: (mixture(First.TRUTH), nll_loss),
        "iou_mse": lambda: (mixture(First.NONE), iou_loss),
        "iou_mse_atom": lambda: (AtomCandidates(), iou_loss),
        "kl": lambda: (mixture(First.NONE), LabelKL(label_sigma)),
        "nce": lambda: (mixture(First.TRUTH), nce_loss),
        "nce_plus": lambda: (mixture(First.NOISY_TRUTH), nce_loss),
    }
    if name not in objectives:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)} (got {name!r})")
    return Objective(name, *objectives[name]())


def score_pairs(network: EnergyNetwork, pair: Pair, boxes_xywh: Tensor, precision: str = "float32") -> Tensor:
    """Energies (B, N) float32 of boxes (B, N, 4) in the test images of a batch of pairs.

    ``precision``: type that the convolutions over images and maps run in, a key of ``PRECISIONS``. Pooling and what
    follows it stay in float32: with eight bits an energy of 20 is known to 0.1, and box edges to a hundredth of a
    cell. Raises ValueError for an unknown precision.
    """
    dtype = PRECISIONS.get(precision)
    if dtype is None:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)} (got {precision!r})")
    batch, head = len(pair.test_box), network.head
    narrow = dtype is not torch.float32
    with torch.autocast(boxes_xywh.device.type, dtype) if narrow else nullcontext():
        features8, features16 = network.features(torch.cat((pair.reference_image, pair.test_image)))
        reference8, reference16 = head.reference_maps((features8[:batch], features16[:batch]))
        maps = head.maps((features8[batch:], features16[batch:]))
    modulation = head.modulation_of((reference8.float(), reference16.float()), pair.reference_box)
    return head.energies(EnergyMaps(maps.stride8.float(), maps.stride16.float()), modulation, boxes_xywh)


def sample_losses(network: EnergyNetwork, objective: Objective, sample: Sample, precision: str = "float32") -> Tensor:
    """The objective's losses (B,) on a batch of samples, in whatever mode the network is."""
    f = score_pairs(network, sample.pair, sample.candidates.boxes_xywh, precision)
    return objective.loss(f, sample.candidates, sample.pair.test_box)


class TrainingStep(nn.Module):
    """Batch of samples -> losses (B,): what the loop calls and what DistributedDataParallel wraps.

    Only the head's parameters require gradients, and every one of them gets one in every step. ``batch_norm`` is set on
    the network: see :class:`BatchNormMode`. ``trained`` is the part of the network that training changes, hence what
    a checkpoint must hold: the head, or with BatchNormMode.TRAIN the whole network, because the running statistics
    of the backbone move as well.
    """

    def __init__(
        self,
        network: EnergyNetwork,
        objective: Objective,
        precision: str = "float32",
        batch_norm: BatchNormMode = BatchNormMode.EVAL,
    ) -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)} (got {precision!r})")
        self.network, self.objective, self.precision = network, objective, precision
        network.set_batch_norm(batch_norm)

    @property
    def trained(self) -> nn.Module:
        """What training changes, as one module."""
        return self.network.head if self.network.batch_norm is BatchNormMode.EVAL else self.network

    def forward(self, sample: Sample) -> Tensor:
        """Losses (B,) of a batch of samples on the network's device."""
        return sample_losses(self.network, self.objective, sample, self.precision)
