"""Regression with an energy network f(x, y): no images and no tracker in here.

Sign convention: f is the *logarithm of an unnormalised density*, p(y | x) = exp f(x, y) / Z(x). Larger is
better, and prediction climbs f. (Physicists' energy is -f; the paper and the field call f the energy network.)

Targets y have any dimension D and are batched: one row of centres (B, D), M samples of each (B, M, D).
"""

from ebm_tracker.energy.importance import importance_nll, log_partition
from ebm_tracker.energy.iou import iou_mse
from ebm_tracker.energy.kl import importance_kl
from ebm_tracker.energy.nce import nce
from ebm_tracker.energy.proposals import GaussianMixture
from ebm_tracker.energy.refine import (
    Acceptance,
    Refinement,
    ValueAndGrad,
    ascend,
    ascend_until_flat,
    autograd_value_and_grad,
)

__all__ = [
    "Acceptance",
    "GaussianMixture",
    "Refinement",
    "ValueAndGrad",
    "ascend",
    "ascend_until_flat",
    "autograd_value_and_grad",
    "importance_kl",
    "importance_nll",
    "iou_mse",
    "log_partition",
    "nce",
]
