"""Energy network against Gaussian and Laplace heads on one table, by repeated cross-validation.

All three have layers of the same size in front, the same schedule and the same choices: in every split the validation
rows choose the epoch of each training and, among trainings with different weight decay, the one that is tested. The
test rows are looked at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ebm_tracker.adapters.regression import EnergyRegressor, FitSettings, HeadRegressor
from ebm_tracker.adapters.regression.arrays import digest
from ebm_tracker.adapters.regression.study_progress import Progress, open_progress, work_off
from ebm_tracker.adapters.tabular.data import TableData
from ebm_tracker.adapters.tabular.splits import Split, make_splits
from ebm_tracker.evaluation.regression import DensityScores
from ebm_tracker.files import write_text_atomic

Array = NDArray[np.float64]
Model = EnergyRegressor | HeadRegressor

MODELS: Mapping[str, str] = {"ebm": "EBM", "gaussian": "Gaussian", "laplace": "Laplace"}
"""Name -> how tables call it."""
COST: Mapping[str, int] = {"ebm": 3, "gaussian": 1, "laplace": 1}
"""About how long a training takes, for the progress."""
DIGITS = 6
CLEAR = 0.8


@dataclass(frozen=True)
class TabularSettings:
    """What a study is made with.

    Attributes:
        folds, repeats: of the cross-validation: folds x repeats splits.
        seed: of the splits; split number r trains from seed ``seed`` + r.
        decays: weight decays to choose from.
        hidden: units of every layer.
        epochs, batch_size, learning_rate, schedule: of every training (Adam).
        samples: M, draws for each example of the energy network.
        sigmas: spreads of its proposal in standard deviations of y.
        level: of the intervals whose coverage is counted.
    """

    folds: int = 5
    repeats: int = 2
    seed: int = 0
    decays: tuple[float, ...] = (1e-3, 1e-2)
    hidden: int = 32
    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    samples: int = 64
    sigmas: tuple[float, ...] = (0.1, 1.0)
    level: float = 0.9

    def __post_init__(self) -> None:
        if not self.decays:
            raise ValueError("decays must hold at least one weight decay (got none)")

    def fit(self, run: int, decay: float) -> FitSettings:
        """The schedule of one training."""
        return FitSettings(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=decay,
            schedule=self.schedule,
            seed=self.seed + run,
            checkpoint_epochs=self.epochs,
        )

    def deciding(self) -> dict[str, Any]:
        """What decides one training's result."""
        kept = asdict(self)
        del kept["decays"]
        return kept


@dataclass(frozen=True)
class Scores:
    """Of one training.

    Attributes:
        validation_nll: mean of -log p(y | x) over the validation rows.
        nll: the same over the n test rows, nats in the unit of y.
        coverage: share of the test rows within their interval.
        width: mean length of the interval.
        mae: mean absolute error of the median, unit of y.
        pit: (n,) probability of a value of at most the true one.
    """

    validation_nll: float
    nll: float
    coverage: float
    width: float
    mae: float
    pit: Array


def measure(model: Model, x: Array, y: Array, level: float) -> dict[str, Any]:
    """A trained model's scores on rows x (N, F) and y (N,): all of Scores but the validation's."""
    intervals = model.interval(x, level)
    medians = model.predict(x, "median") if isinstance(model, EnergyRegressor) else model.predict(x)
    return {
        "nll": -float(model.log_prob(x, y).mean()),
        "coverage": float(((y >= intervals[:, 0]) & (y <= intervals[:, 1])).mean()),
        "width": float((intervals[:, 1] - intervals[:, 0]).mean()),
        "mae": float(np.abs(medians - y).mean()),
        "pit": model.cdf(x, y),
    }


def _cost(name: str) -> int:
    return COST[name.split("-")[0]]


class TabularStudy:
    """Trains and tests every model on every split of ``data``. ``folder`` keeps the trainings and their scores; a study
    that was stopped goes on where it was, and other settings in the same folder raise ValueError.

    ``workers``: trainings side by side, each in a process with one thread. ``quiet``: shows nothing.
    """

    def __init__(
        self,
        data: TableData,
        settings: TabularSettings,
        folder: Path,
        *,
        workers: int = 1,
        quiet: bool = False,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1 (got {workers})")
        self.data, self.settings, self.folder = data, settings, folder
        self.workers, self.quiet = workers, quiet
        self.splits: Sequence[Split] = make_splits(
            len(data.y), settings.folds, settings.repeats, settings.seed, data.groups
        )
        self._digest = digest(*(torch.from_numpy(values.astype(np.float32)) for values in (data.x, data.y)))

    def run(self) -> TabularResult:
        """Trains what is not trained yet. Ctrl-C stops after the step under way."""
        names = [f"{model}-{decay:g}" for model in MODELS for decay in self.settings.decays]
        jobs = [(run, name) for run in range(len(self.splits)) for name in names]
        missing = [job for job in jobs if self._kept(*job) is None]
        with open_progress(sum(_cost(name) for _, name in missing), quiet=self.quiet or not missing) as progress:
            if self.workers > 1 and len(missing) > 1:
                work_off(self, missing, self.workers, progress)
            else:
                for run, name in missing:
                    self.train(run, name, progress.part(f"{self.data.name}: split {run + 1}, {name}"))
        return self.result()

    def train(self, run: int, name: str, progress: Progress | None = None) -> Scores:
        """Scores of one training, which is done now unless it is kept."""
        scores = self._kept(run, name)
        if scores is None:
            scores = self._measured(run, name)
            kept = {**asdict(scores), "pit": scores.pit.round(DIGITS).tolist()}
            text = json.dumps({"settings": self._decides(run, name), "scores": kept})
            write_text_atomic(self._place(run, name) / "scores.json", text + "\n")
        if progress is not None:
            progress.finish(_cost(name))
        return scores

    def result(self) -> TabularResult:
        """Of all trainings, which are done."""
        chosen: dict[str, list[Scores]] = {model: [] for model in MODELS}
        for run in range(len(self.splits)):
            for model, found in chosen.items():
                found.append(self.train(run, self.chosen(run, model)))
        return TabularResult(self.data, {model: tuple(found) for model, found in chosen.items()})

    def chosen(self, run: int, model: str) -> str:
        """Name of the training that the validation rows of the split prefer."""
        names = [f"{model}-{decay:g}" for decay in self.settings.decays]
        return min(names, key=lambda name: self.train(run, name).validation_nll)

    def model(self, run: int, name: str) -> Model:
        """The trained model; a finished training is only loaded."""
        data, split, settings = self.data, self.splits[run], self.settings
        model, decay = name.split("-", 1)
        x, y = data.x[split.train], data.y[split.train]
        common: dict[str, Any] = {
            "settings": settings.fit(run, float(decay)),
            "held_out": (data.x[split.validation], data.y[split.validation]),
            "hidden": settings.hidden,
            "folder": self._place(run, name),
        }
        if model != "ebm":
            return HeadRegressor.fit(x, y, head=model, **common)
        sigmas = [sigma * float(y.std()) for sigma in settings.sigmas]
        return EnergyRegressor.fit(x, y, sigmas=sigmas, samples=settings.samples, **common)

    def _measured(self, run: int, name: str) -> Scores:
        model, split = self.model(run, name), self.splits[run]
        validation, test = (
            measure(model, self.data.x[rows], self.data.y[rows], self.settings.level)
            for rows in (split.validation, split.test)
        )
        return Scores(validation["nll"], **test)

    def _place(self, run: int, name: str) -> Path:
        return self.folder / f"split-{run}" / name

    def _decides(self, run: int, name: str) -> dict[str, Any]:
        decides = {"data": self._digest, "split": run, "training": name, **self.settings.deciding()}
        found: dict[str, Any] = json.loads(json.dumps(decides))
        return found

    def _kept(self, run: int, name: str) -> Scores | None:
        path = self._place(run, name) / "scores.json"
        if not path.is_file():
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        now = self._decides(run, name)
        then = kept["settings"]
        changes = [f"{key} {then.get(key)} (now {now[key]})" for key in now if then.get(key) != now[key]]
        if changes:
            raise ValueError(
                f"{path.parent.absolute()} holds a training with other settings: {', '.join(changes)}; give those or "
                "choose another folder"
            )
        return Scores(**{**kept["scores"], "pit": np.array(kept["scores"]["pit"])})


@dataclass(frozen=True)
class TabularResult:
    """``scores``: model -> the chosen training's scores for each split."""

    data: TableData
    scores: Mapping[str, tuple[Scores, ...]]

    def table_rows(self) -> list[DensityScores]:
        """For ``density_table``."""
        return [
            DensityScores(
                self.data.name,
                MODELS[model],
                *(np.array([getattr(one, name) for one in found]) for name in ("nll", "coverage", "width", "mae")),
            )
            for model, found in self.scores.items()
        ]

    def pit(self, model: str) -> Array:
        """PIT values of the test rows of all splits."""
        return np.concatenate([one.pit for one in self.scores[model]])

    def verdict(self, level: float) -> str:
        """One sentence: against whom the EBM has the lower NLL, and how far its intervals are off. A mean difference
        counts when at least CLEAR of the splits agree with it."""
        nll = {model: np.array([one.nll for one in found]) for model, found in self.scores.items()}
        kinds: dict[str, list[str]] = {"lower NLL than": [], "higher NLL than": [], "no clearly different NLL from": []}
        lower, higher, neither = kinds.values()
        for model in ("gaussian", "laplace"):
            above = nll[model] - nll["ebm"]
            wins, count = int((above > 0).sum()), len(above)
            place = neither
            if above.mean() > 0 and wins >= CLEAR * count:
                place = lower
            elif above.mean() < 0 and count - wins >= CLEAR * count:
                place = higher
            place.append(f"{MODELS[model]} (lower in {wins} of {count} splits)")
        said = ", ".join(f"{kind} {' and '.join(names)}" for kind, names in kinds.items() if names)
        off = 100 * (float(np.mean([one.coverage for one in self.scores["ebm"]])) - level)
        held = f"holds {abs(off):.1f} points {'more' if off > 0 else 'less'} than that"
        return f"{self.data.name}: the EBM has {said}; its {level:.0%} interval {held}."
