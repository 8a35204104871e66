"""Regression on your own arrays in a few lines: an energy network, or a head to compare it with.

    from ebm_tracker.adapters.regression import EnergyRegressor

    model = EnergyRegressor.fit(x_train, y_train)
    y = model.predict(x_test)                        # means
    low, high = model.interval(x_test, 0.9).T        # 90 % intervals
    nll = -model.log_prob(x_test, y_test).mean()
    density = model.density(x_test[:1])              # all of p(y | x), on a grid

x and y are numpy arrays, tensors or nested lists: x (N, F), or anything that an extractor of your own takes; y (N,) or
(N, D). What comes back are numpy arrays in the units of y, without the D where y came as (N,).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ebm_tracker.adapters.regression.arrays import Array, Standard
from ebm_tracker.adapters.regression.density import GridDensity, SampledDensity
from ebm_tracker.adapters.regression.fitting import FitSettings, seeded
from ebm_tracker.adapters.regression.heads import DirectHead, GaussianHead, LaplaceHead
from ebm_tracker.adapters.regression.networks import RegressionEnergy, given
from ebm_tracker.adapters.regression.regressor import (
    HELD_OUT,
    HIDDEN,
    SETTINGS,
    Plan,
    Problem,
    Regressor,
    TrainingOptions,
)
from ebm_tracker.adapters.regression.steps import EnergyStep, HeadStep
from ebm_tracker.energy import GaussianMixture, ascend, autograd_value_and_grad

SAMPLES = 128
SIGMAS = (0.1, 1.0)
"""Spreads of the proposal in standard deviations of y: a narrow one for the peak, a wide one for everything else."""
GRID_POINTS = 2048
MARGIN = 2.0
"""How far a grid reaches beyond the y of the training, in the widest spread of the proposal."""
ROUNDS = 3
"""Of importance sampling, each around the mean that the one before found."""
BLOCK = 512
"""Rows of which the densities are there at a time."""
POINTS = ("mean", "median", "mode")


@dataclass(frozen=True)
class EnergyPlan(Plan):
    """``sigmas``: rows of D, in standard deviations of y, as all that follows; ``low``, ``high``: of the grid."""

    sigmas: tuple[tuple[float, ...], ...]
    samples: int
    objective: str
    low: float
    high: float

    def build(self, front: nn.Module) -> EnergyStep:
        """See Plan."""
        layers = (self.hidden, self.hidden)
        energy = RegressionEnergy(self.feature_size, self.target_size, branch=layers, joint=layers)
        return EnergyStep(front, energy, GaussianMixture(self.sigmas), self.samples, self.objective)


class EnergyRegressor(Regressor):
    """p(y | x) = exp f(x, y) / Z(x) with a small network f, trained by maximum likelihood as in the paper.

    Made by :meth:`fit`. The density may have any shape: several peaks, skew, a spread that depends on x.
    """

    PLAN = EnergyPlan

    @classmethod
    def fit(
        cls,
        x: Any,
        y: Any,
        *,
        extractor: nn.Module | None = None,
        sigmas: Sequence[float] | Sequence[Sequence[float]] | None = None,
        samples: int = SAMPLES,
        hidden: int = HIDDEN,
        objective: str = "nll",
        settings: FitSettings = SETTINGS,
        held_out: float | tuple[Any, Any] = HELD_OUT,
        folder: Path | None = None,
        progress: bool = False,
        device: str | torch.device = "cpu",
    ) -> EnergyRegressor:
        """Trains on ``x`` (N, F) and ``y`` (N,) or (N, D).

        Args:
            extractor: a module from a batch of x to features (B, F), for images and the like. A copy of it learns along
                where its parameters require a gradient; otherwise it computes once, with two layers after it.
            sigmas: spreads of the proposal in the units of y: one number or a row of D for each component. None takes
                0.1 and 1 standard deviations of y.
            samples: M, draws from the proposal for each example of a step.
            hidden: size of all layers.
            objective: "nll", "kl", "nce" or "nce+".
            settings: epochs, batch size, learning rate, seed and more.
            held_out: share of the rows that are not learned from, or a pair (x, y) of others: the weights after the
                epoch that suits them best are kept. 0 learns from all and keeps the last weights, which fit small
                tables too closely.
            folder: keeps the training, which can then be stopped and goes on, and is only loaded when finished.
            progress: shows a bar, or lines where there is no terminal.
            device: where it trains; the regressor itself computes on the CPU.

        Raises ValueError naming the argument that does not fit.
        """
        problem = Problem.read(x, y, extractor)
        size = problem.targets.shape[1]
        table = [[sigma] * size for sigma in SIGMAS] if sigmas is None else _standardised(sigmas, problem.standard)
        reach = MARGIN * max(row[0] for row in table)
        first = problem.targets[:, 0]
        with seeded(settings.seed):
            front, features, columns = problem.front(hidden)
            plan = EnergyPlan(
                features,
                size,
                hidden,
                columns,
                sigmas=tuple(map(tuple, table)),
                samples=samples,
                objective=objective,
                low=float(first.min()) - reach,
                high=float(first.max()) + reach,
            )
            step = plan.build(front)
        problem.train(plan, step, TrainingOptions(settings, held_out, folder, progress, device))
        return cls(plan, problem.inputs, problem.standard, problem.is_flat, step)

    def density(self, x: Any, *, points: int = GRID_POINTS, seed: int = 0) -> GridDensity | SampledDensity:
        """All of p(y | x) for every row of x, in the units of y.

        One target: on a grid of ``points`` values that reaches two of the widest ``sigmas`` beyond the y of the
        training. Several: by ``points`` draws of importance sampling, from the generator ``seed``.
        """
        return self._density(self._features(x), points, seed)

    def predict(self, x: Any, point: str = "mean") -> Array:
        """(N,) or (N, D). ``point``: the "mean" of p(y | x) (for the least squared error), the "median" (for the least
        absolute error) or, with one target, the "mode" (where the density is highest)."""
        allowed = POINTS if self.target_size == 1 else POINTS[:2]
        if point not in allowed:
            raise ValueError(f"point must be one of {', '.join(allowed)} (got {point!r})")
        return self._out(self._gather(x, lambda density, _: cast(Tensor, getattr(density, point))))

    def log_prob(self, x: Any, y: Any) -> Array:
        """log p(y | x) (N,), per unit of y; -inf beyond the grid of :meth:`density`."""
        return self._gather(x, lambda density, targets: density.log_prob(targets), y)[:, 0].numpy()

    def cdf(self, x: Any, y: Any) -> Array:
        """Probability of a value of at most y, (N,) or (N, D): uniform in [0, 1] for a calibrated model (PIT)."""
        return self._out(self._gather(x, lambda density, targets: density.cdf(targets), y))

    def interval(self, x: Any, level: float = 0.9, kind: str = "central") -> Array:
        """(N, 2) or (N, D, 2): an interval that holds the probability ``level``. ``kind``: "central", or for one target
        also "shortest". ``density(x).region(level)`` is the smallest set, in pieces where there are several peaks."""
        if self.target_size == 1:
            return self._out(self._gather(x, lambda density, _: cast(GridDensity, density).interval(level, kind)))
        if kind != "central":
            raise ValueError(f"kind must be 'central' for several targets (got {kind!r})")
        return self._out(self._gather(x, lambda density, _: density.interval(level)))

    def refine(self, x: Any, y: Any, *, step: float = 0.01, steps: int = 10) -> Array:
        """Predictions ``y`` of any other model, moved uphill on p(y | x) (Algorithm 1 of the paper): in the form of y.

        ``step``: length, for y in standard deviations; it halves where the density would fall.
        """
        features = self._features(x)
        start = self._standard.apply(self._targets(y, features))
        of_y = given(cast(EnergyStep, self._step).energy, features)
        climb = autograd_value_and_grad(lambda targets: of_y(targets[:, None])[:, 0])
        return self._out(self._standard.undo(ascend(climb, start, step_length=step, steps=steps, decay=0.5).y))

    def _density(self, features: Tensor, points: int = GRID_POINTS, seed: int = 0) -> GridDensity | SampledDensity:
        plan = cast(EnergyPlan, self._plan)
        energy = _InUnits(cast(EnergyStep, self._step).energy, self._standard)
        if self.target_size == 1:
            low, high = self._standard.undo(torch.tensor([[plan.low], [plan.high]]))[:, 0].tolist()
            return GridDensity(energy, features, low, high, points)
        proposal = GaussianMixture((torch.tensor(plan.sigmas) * self._standard.scale).tolist())
        generator = torch.Generator().manual_seed(seed)
        center = self._standard.center.expand(len(features), -1)
        found = SampledDensity(energy, features, center, proposal.scaled(2), points, generator)
        for _ in range(ROUNDS - 1):
            found = SampledDensity(energy, features, found.mean, proposal, points, generator)
        return found

    def _gather(self, x: Any, of: Callable[[GridDensity | SampledDensity, Tensor], Tensor], y: Any = None) -> Tensor:
        """``of(density, y)`` of a block of rows at a time, for the memory: (N, D, ...), with D = 1 for one number."""
        features = self._features(x)
        targets = self._targets(y, features) if y is not None else torch.zeros(len(features), self.target_size)
        parts = []
        for few, wanted in zip(features.split(BLOCK), targets.split(BLOCK), strict=True):
            density = self._density(few)
            is_grid = isinstance(density, GridDensity)
            part = of(density, wanted[:, 0] if is_grid else wanted)
            parts.append(part[:, None] if is_grid or part.ndim == 1 else part)
        return torch.cat(parts)


@dataclass(frozen=True)
class HeadPlan(Plan):
    """``head``: a name in HEAD_CLASSES."""

    head: str

    def build(self, front: nn.Module) -> HeadStep:
        """See Plan."""
        return HeadStep(front, HEAD_CLASSES[self.head](self.feature_size, self.target_size, self.hidden))


HEAD_CLASSES: dict[str, Callable[[int, int, int], nn.Module]] = {
    "gaussian": GaussianHead,
    "laplace": LaplaceHead,
    "l2": DirectHead,
    "huber": lambda features, targets, hidden: DirectHead(features, targets, hidden, "huber"),
}


class HeadRegressor(Regressor):
    """A Gaussian or a Laplace density whose place and spread depend on x (one for each of several targets), or just a
    prediction: what an energy network is to be compared with. Made by :meth:`fit`."""

    PLAN = HeadPlan

    @classmethod
    def fit(
        cls,
        x: Any,
        y: Any,
        *,
        head: str = "gaussian",
        extractor: nn.Module | None = None,
        hidden: int = HIDDEN,
        settings: FitSettings = SETTINGS,
        held_out: float | tuple[Any, Any] = HELD_OUT,
        folder: Path | None = None,
        progress: bool = False,
        device: str | torch.device = "cpu",
    ) -> HeadRegressor:
        """Trains on ``x`` (N, F) and ``y`` (N,) or (N, D). ``head``: "gaussian", "laplace", "l2" or "huber";
        the rest as in :meth:`EnergyRegressor.fit`."""
        if head not in HEAD_CLASSES:
            raise ValueError(f"head must be one of {', '.join(HEAD_CLASSES)} (got {head!r})")
        problem = Problem.read(x, y, extractor)
        with seeded(settings.seed):
            front, features, columns = problem.front(hidden)
            plan = HeadPlan(features, problem.targets.shape[1], hidden, columns, head=head)
            step = plan.build(front)
        problem.train(plan, step, TrainingOptions(settings, held_out, folder, progress, device))
        return cls(plan, problem.inputs, problem.standard, problem.is_flat, step)

    def predict(self, x: Any) -> Array:
        """(N,) or (N, D)."""
        step = cast(HeadStep, self._step)
        with torch.no_grad():
            point = step.head.point(step.head(self._features(x)))
        return self._out(self._standard.undo(point))

    def log_prob(self, x: Any, y: Any) -> Array:
        """log p(y | x) (N,), per unit of y (and of every other target's unit)."""
        head, features = self._density_head(), self._features(x)
        targets = self._standard.apply(self._targets(y, features))
        with torch.no_grad():
            found = head.log_density(head(features), targets) - self._standard.scale.log().sum()
        return found.numpy()

    def cdf(self, x: Any, y: Any) -> Array:
        """Probability of a value of at most y, (N,) or (N, D)."""
        head, features = self._density_head(), self._features(x)
        targets = self._standard.apply(self._targets(y, features))
        with torch.no_grad():
            return self._out(head.marginal(head(features)).cdf(targets))

    def interval(self, x: Any, level: float = 0.9) -> Array:
        """(N, 2) or (N, D, 2): the central interval, which is the shortest too."""
        head = self._density_head()
        with torch.no_grad():
            found = head.interval(head(self._features(x)), level)  # (N, D, 2)
        return self._out(self._standard.undo(found.transpose(1, 2)).transpose(1, 2))

    def _density_head(self) -> GaussianHead | LaplaceHead:
        head = self._step.model
        if not isinstance(head, GaussianHead | LaplaceHead):
            raise ValueError(f"head must be gaussian or laplace for a density (got {cast(HeadPlan, self._plan).head})")
        return head


class _InUnits:
    """f of standardised targets as a function of targets in the user's units: its Z is then per unit of those."""

    def __init__(self, energy: nn.Module, standard: Standard) -> None:
        self._energy, self._standard = energy, standard

    def __call__(self, features: Tensor, y: Tensor) -> Tensor:
        return self.given(features)(y)

    def given(self, features: Tensor) -> Callable[[Tensor], Tensor]:
        of_y = given(self._energy, features)
        return lambda y: of_y(self._standard.apply(y))


def _standardised(sigmas: Sequence[float] | Sequence[Sequence[float]], standard: Standard) -> list[list[float]]:
    """Rows of D in standard deviations of y, checked as the proposal checks them."""
    table = GaussianMixture(sigmas).sigmas
    size = len(standard.scale)
    if table.shape[1] not in (1, size):
        raise ValueError(f"sigmas must be numbers or rows of {size} (got rows of {table.shape[1]})")
    return cast(list[list[float]], (table.expand(-1, size) / standard.scale).tolist())
