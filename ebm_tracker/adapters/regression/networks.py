"""Energy networks f(x, y) on features of x: fully connected, with the paper's layers as defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice, pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),  # after a linear layer, which does not need its own output again
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
}

Energy = Callable[[Tensor, Tensor], Tensor]
"""(features (B, F), y (B, M, D)) -> f (B, M)."""


def mlp(sizes: Sequence[int], *, activation: str = "relu", last: bool = False) -> nn.Sequential:
    """Fully connected layers sizes[0] -> sizes[1] -> ..., an activation between them and, with ``last``, after them.

    ``activation``: "relu", "tanh" or "silu". Raises ValueError for another one and for fewer than one size.
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)} (got {activation!r})")
    if not sizes or min(sizes) < 1:
        raise ValueError(f"sizes must be one or more whole numbers >= 1 (got {tuple(sizes)})")
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*(layers if last else layers[:-1]))


class RegressionEnergy(nn.Module):
    """f(x, y) from features of x and the target y (Appendices A, D.1 and E.1 of the paper).

    y goes through the ``branch`` layers, an activation after each; its output is concatenated to the features and goes
    through the ``joint`` layers to one number, with nothing after the last layer: f is any real number, the logarithm
    of an unnormalised density. The defaults are the paper's for age and head pose (2,048 features there).

    ``scale`` (a number or ``target_size`` of them) divides y on its way in. None leaves y as it is: the paper's years
    and degrees. ``feature_size`` F may be 0: a density of y alone.
    """

    def __init__(
        self,
        feature_size: int,
        target_size: int,
        *,
        branch: Sequence[int] = (16, 32, 64, 128),
        joint: Sequence[int] = (2048,),
        branch_activation: str = "relu",
        joint_activation: str = "relu",
        scale: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if feature_size < 0 or target_size < 1:
            raise ValueError(f"feature_size must be >= 0 and target_size >= 1 (got {feature_size} and {target_size})")
        self.feature_size, self.target_size = feature_size, target_size
        sizes = (target_size, *branch)
        self.branch = mlp(sizes, activation=branch_activation, last=True)
        self.joint = mlp((feature_size + sizes[-1], *joint, 1), activation=joint_activation)
        scales = torch.as_tensor(1.0 if scale is None else scale, dtype=torch.get_default_dtype())
        if scales.shape not in ((), (target_size,)) or not bool(((scales > 0) & scales.isfinite()).all()):
            raise ValueError(f"scale must be a positive number or {target_size} of them (got {scale!r})")
        self.scale: Tensor | None
        self.register_buffer("scale", None if scale is None else scales)

    def forward(self, features: Tensor, y: Tensor) -> Tensor:
        """f (B, M) at M targets of each x: ``features`` (B, F), ``y`` (B, M, D)."""
        return self.given(features)(y)

    def given(self, features: Tensor) -> Callable[[Tensor], Tensor]:
        """y (B, M, D) -> f (B, M) for these features (B, F), whose share of the first joint layer is computed once.

        That layer acts on a concatenation, W [x; b] + c = W_x x + W_b b + c, so M targets of one x share W_x x + c.
        """
        if features.ndim != 2 or features.shape[1] != self.feature_size:
            raise ValueError(f"features must be (B, {self.feature_size}) (got {tuple(features.shape)})")
        first = cast(nn.Linear, self.joint[0])
        weight_x, weight_y = first.weight.split((self.feature_size, first.in_features - self.feature_size), dim=1)
        shift = functional.linear(features, weight_x, first.bias).t()  # (H, B)

        def energy(y: Tensor) -> Tensor:
            if y.ndim != 3 or y.shape[0] != features.shape[0] or y.shape[2] != self.target_size:
                expected = f"({features.shape[0]}, M, {self.target_size})"
                raise ValueError(f"y must be {expected} (got {tuple(y.shape)})")
            targets = (y if self.scale is None else y / self.scale).reshape(-1, self.target_size).t()  # (D, B M)
            shifts = shift[:, :, None].expand(-1, -1, y.shape[1]).flatten(1)  # (H, B M)
            hidden = torch.addmm(shifts, weight_y, on_columns(self.branch, targets))
            return on_columns(islice(self.joint, 1, None), hidden).view(y.shape[:2])

        return energy


def on_columns(layers: Iterable[nn.Module], columns: Tensor) -> Tensor:
    """Linear layers and elementwise ones on vectors that are columns: (inputs, N) -> (outputs, N).

    The same numbers as rows give, at a third of the time where N is large and the layers are narrow.
    """
    for layer in layers:
        if isinstance(layer, nn.Linear):
            columns = torch.addmm(layer.bias[:, None], layer.weight, columns)
        else:
            columns = layer(columns)
    return columns


def given(energy: Energy, features: Tensor) -> Callable[[Tensor], Tensor]:
    """y (B, M, D) -> f (B, M) for fixed features, with what depends on them alone computed once by an energy that has
    a method ``given`` for it."""
    own: Callable[[Tensor], Callable[[Tensor], Tensor]] | None = getattr(energy, "given", None)
    return own(features) if own is not None else lambda y: energy(features, y)
