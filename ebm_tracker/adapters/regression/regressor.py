"""What the regressors share: training on a user's arrays, their units, and the file of a trained one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from ebm_tracker.adapters.regression.arrays import Array, Standard, digest, read_array, read_targets
from ebm_tracker.adapters.regression.data import EpochDataset, Example
from ebm_tracker.adapters.regression.fitting import FitSettings, fit, seeded
from ebm_tracker.adapters.regression.inputs import Inputs, learns
from ebm_tracker.adapters.regression.networks import mlp
from ebm_tracker.adapters.regression.steps import EnergyStep, HeadStep
from ebm_tracker.errors import WeightsError
from ebm_tracker.training.batches import to_device
from ebm_tracker.training.checkpoint import load_state, save_state
from ebm_tracker.training.display import Silence

SETTINGS = FitSettings(epochs=100, weight_decay=1e-3, average_decay=0.99)
"""How the regressors train where nothing else is said: the averaged weights of the best epoch."""
HIDDEN = 64
"""Units of a layer where nothing else is said."""
ROWS = 1024
"""That go through the network in front at a time."""

HELD_OUT = 0.15
"""Share of the rows that choose the epoch where nothing else is said."""

OfClass = TypeVar("OfClass", bound="Regressor")


@dataclass(frozen=True)
class Plan:
    """What decides a regressor's network. ``columns``: F of the x that go through two layers of ``hidden``; None where
    an extractor of the user's learns instead."""

    feature_size: int
    target_size: int
    hidden: int
    columns: int | None

    def build(self, front: nn.Module) -> HeadStep | EnergyStep:
        """The training step, on the features (B, feature_size) of ``front``."""
        raise NotImplementedError


@dataclass(frozen=True)
class TrainingOptions:
    """How a regressor trains; ``EnergyRegressor.fit`` says what each of them means."""

    settings: FitSettings = SETTINGS
    held_out: float | tuple[Any, Any] = HELD_OUT
    folder: Path | None = None
    progress: bool = False
    device: str | torch.device = "cpu"

    def __post_init__(self) -> None:
        if not isinstance(self.held_out, tuple) and not 0 <= self.held_out < 1:
            raise ValueError(f"held_out must be at least 0 and below 1, or a pair (x, y) (got {self.held_out})")


@dataclass(frozen=True)
class Problem:
    """A user's data as a network sees them. ``rows`` (N, ...) and ``targets`` (N, D) are standardised; ``extractor``:
    one that learns."""

    inputs: Inputs
    standard: Standard
    rows: Tensor
    targets: Tensor
    is_flat: bool
    extractor: nn.Module | None

    @classmethod
    def read(cls, x: Any, y: Any, extractor: nn.Module | None) -> Problem:
        """Raises ValueError for arrays that do not fit together or are not finite."""
        raw = read_array("x", x)
        targets = read_targets("y", y, len(raw))
        inputs, rows = Inputs.of(raw, extractor)
        standard = Standard.of(targets)
        learner = extractor if extractor is not None and learns(extractor) else None
        is_flat = read_array("y", y).ndim == 1
        return cls(inputs, standard, rows, standard.apply(targets), is_flat, learner)

    def front(self, hidden: int) -> tuple[nn.Module, int, int | None]:
        """The network in front of f or of a head: itself, its feature size, and the F columns of x that it takes (None
        for a user's own, which is copied)."""
        if self.extractor is None:
            columns = self.rows.shape[1]
            return front_layers(columns, hidden), hidden, columns
        own = deepcopy(self.extractor).eval()
        with torch.no_grad():
            features = own(self.rows[:2])
        if not isinstance(features, Tensor) or features.ndim != 2:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(f"extractor must give features (B, F) (got {shape} for {tuple(self.rows[:2].shape)})")
        return own, features.shape[1], None

    def train(self, plan: Plan, step: HeadStep | EnergyStep, how: TrainingOptions) -> None:
        """As ``how`` says; then ``step`` has the final weights, on the CPU."""
        settings, device = how.settings, torch.device(how.device)
        (rows, targets), unseen = self._divided(how.held_out, settings.seed)
        numbers = torch.arange(len(unseen[0]))
        examples = [
            to_device(Example(*few), device)
            for few in zip(*(part.split(ROWS) for part in (numbers, *unseen)), strict=True)
        ]

        def evaluate() -> dict[str, float]:
            with torch.no_grad(), seeded(settings.seed):
                return {"score": -float(torch.cat([step(example) for example in examples]).mean())}

        with _given_or_temporary(how.folder) as place:
            fit(
                step,
                EpochDataset(rows, targets, settings.epochs, settings.seed),
                settings,
                place,
                fingerprint={
                    "data": digest(rows, targets),
                    "held_out": digest(*unseen),
                    "network": asdict(plan),
                },
                display=None if how.progress else Silence(),
                device=device,
                evaluate=evaluate if len(numbers) else None,
                best="score" if len(numbers) else "",
            )
        step.to("cpu")

    def _divided(
        self, held_out: float | tuple[Any, Any], seed: int
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """What is learned from, and what chooses the epoch: rows and targets of each."""
        if isinstance(held_out, tuple):
            rows = self.inputs(held_out[0])
            targets = read_targets("the y of held_out", held_out[1], len(rows), self.targets.shape[1])
            return (self.rows, self.targets), (rows, self.standard.apply(targets))
        held = round(held_out * len(self.rows))
        order = torch.from_numpy(np.random.default_rng((seed, 0)).permutation(len(self.rows)))
        parts = order[held:], order[:held]
        seen, unseen = ((self.rows[part], self.targets[part]) for part in parts)
        return seen, unseen


def front_layers(columns: int, hidden: int) -> nn.Module:
    """Two layers of ``hidden``, an activation after each."""
    return mlp((columns, hidden, hidden), last=True)


class Regressor:
    """A trained network between a user's x and y."""

    PLAN: ClassVar[Callable[..., Plan]]

    def __init__(
        self, plan: Plan, inputs: Inputs, standard: Standard, is_flat: bool, step: HeadStep | EnergyStep
    ) -> None:
        self._plan, self._inputs, self._standard, self._is_flat, self._step = plan, inputs, standard, is_flat, step

    @property
    def target_size(self) -> int:
        """D."""
        return self._plan.target_size

    def save(self, path: str | Path) -> None:
        """Writes the network and its units to a file, all but an extractor of your own that does not learn."""
        state = {
            "module": self._step.state_dict(),
            "settings": {"kind": type(self).__name__, **asdict(self._plan)},
            "steps": 0,
            "is_flat": self._is_flat,
            "y": _pair(self._standard),
            "x": None if self._inputs.standard is None else _pair(self._inputs.standard),
            "needs_extractor": self._inputs.fixed is not None or self._plan.columns is None,
        }
        save_state(Path(path), state)

    @classmethod
    def load(cls: type[OfClass], path: str | Path, extractor: nn.Module | None = None) -> OfClass:
        """Reads what ``save`` wrote. ``extractor``: your own, of the same shape, where the regressor was trained with
        one. Raises WeightsError for another file."""
        state = load_state(Path(path))
        settings = dict(state["settings"])
        kind = settings.pop("kind", "a checkpoint of a training run")
        if kind != cls.__name__:
            raise WeightsError(f"{Path(path).absolute()} must hold a {cls.__name__} (got {kind})")
        if state["needs_extractor"] != (extractor is not None):
            with_or_without = "with" if state["needs_extractor"] else "without"
            raise ValueError(f"extractor: {Path(path).absolute()} was trained {with_or_without} one of the user's")
        plan = cls.PLAN(**settings)
        fixed = extractor if plan.columns is not None else None
        front = front_layers(plan.columns, plan.hidden) if plan.columns is not None else deepcopy(extractor)
        assert front is not None
        step = plan.build(front)
        step.load_state_dict(state["module"])
        inputs = Inputs(fixed, None if state["x"] is None else Standard(*state["x"]))
        return cls(plan, inputs, Standard(*state["y"]), state["is_flat"], step.eval())

    def _features(self, x: Any) -> Tensor:
        rows = self._inputs(x)
        with torch.no_grad():
            return torch.cat([cast(Tensor, self._step.extractor(few)) for few in rows.split(ROWS)])

    def _targets(self, y: Any, features: Tensor) -> Tensor:
        """(N, D), in the user's units."""
        return read_targets("y", y, len(features), self.target_size)

    def _out(self, values: Tensor) -> Array:
        """(N, D, ...) in the form that y had."""
        return (values[:, 0] if self._is_flat else values).numpy()


@contextmanager
def _given_or_temporary(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield Path(folder)
        return
    with TemporaryDirectory(prefix="ebm-regression-") as name:
        yield Path(name)


def _pair(standard: Standard) -> list[Tensor]:
    return [standard.center, standard.scale]
