"""The paper's one-dimensional illustration (Figure 2, Appendix A): a Gaussian and energy models, the truth known."""

from ebm_tracker.adapters.toy.data import TRUTHS, Truth
from ebm_tracker.adapters.toy.divergence import divergence_from, kl_divergence, log_density_on_grid
from ebm_tracker.adapters.toy.networks import ENERGIES, energy_network, features_network, gaussian_head
from ebm_tracker.adapters.toy.study import MODELS, ToyModel, ToySettings, ToyStudy

__all__ = [
    "ENERGIES",
    "MODELS",
    "TRUTHS",
    "ToyModel",
    "ToySettings",
    "ToyStudy",
    "Truth",
    "divergence_from",
    "energy_network",
    "features_network",
    "gaussian_head",
    "kl_divergence",
    "log_density_on_grid",
]
