"""The networks of the 1-D illustration, a few hundred parameters each."""

from __future__ import annotations

from torch import Tensor, nn

from ebm_tracker.adapters.regression import GaussianHead, RegressionEnergy, mlp
from ebm_tracker.adapters.regression.networks import on_columns

WIDTH = 10
ENERGIES = ("paper", "paper_tanh", "repo")
"""Names for :func:`energy_network`."""


def features_network() -> nn.Sequential:
    """x (B, 1) -> features (B, 10), ReLU after both layers: of the energy network and of the Gaussian one."""
    return mlp((1, WIDTH, WIDTH), last=True)


def gaussian_head() -> GaussianHead:
    """Mean and log-variance, each 10 -> 10 -> 10 -> 1 (Appendix A)."""
    return GaussianHead(WIDTH, 1, hidden=(WIDTH, WIDTH))


def energy_network(name: str = "paper") -> RegressionEnergy:
    """f from features (B, 10) and y (B, M, 1).

    "paper": y 1 -> 10 -> 10, joint 20 -> 10 -> 10 -> 1 (Appendix A), ReLU throughout; "paper_tanh": the same layers
    with tanh, which the paper leaves open; "repo": that of the authors' later code (:class:`RepoEnergy`).
    Raises ValueError for another name.
    """
    if name not in ENERGIES:
        raise ValueError(f"the network must be one of {', '.join(ENERGIES)} (got {name!r})")
    if name == "repo":
        return RepoEnergy()
    activation = "tanh" if name == "paper_tanh" else "relu"
    return RegressionEnergy(
        WIDTH,
        1,
        branch=(WIDTH, WIDTH),
        joint=(WIDTH, WIDTH),
        branch_activation=activation,
        joint_activation=activation,
    )


class RepoEnergy(RegressionEnergy):
    """The layers of fregu856/ebms_regression: y 1 -> 10, joint 20 -> 10 -> 10 -> 10 -> 1, tanh, the second and third
    joint layers added to their input."""

    def __init__(self) -> None:
        super().__init__(WIDTH, 1, branch=(WIDTH,), joint=(WIDTH,), branch_activation="tanh", joint_activation="tanh")
        first, activation, last = self.joint
        self.joint = nn.Sequential(first, activation, _Residual(), _Residual(), last)


class _Residual(nn.Module):
    """Acts on columns (10, N), as the energy's layers do."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + on_columns((self.layer,), hidden).tanh()
