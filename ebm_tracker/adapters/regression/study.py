"""A study: heads and one energy network trained several times, and each head's predictions refined by the energy.

    study = Study(data, StudySettings(sigmas=(0.1, 20), refine=RefineSettings(step=3.0), ...), Path("runs/age"))
    result = study.run()                    # trains what is not trained yet
    result.errors("gaussian"), result.errors("gaussian", refined=True)        # (R, D) mean absolute errors

In the folder: ``run-0/gaussian``, ``run-0/energy`` (one training each, see ``fit``) and ``run-0/result.json``. A study
that was stopped goes on where it was; other training settings in the same folder are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import default_collate

from ebm_tracker.adapters.regression.data import EpochDataset, Example, Transform
from ebm_tracker.adapters.regression.density import energies
from ebm_tracker.adapters.regression.fitting import FitSettings, fit, seeded
from ebm_tracker.adapters.regression.heads import (
    HEADS,
    DirectHead,
    GaussianHead,
    Hidden,
    JointLaplaceHead,
    LaplaceHead,
)
from ebm_tracker.adapters.regression.networks import Energy, RegressionEnergy
from ebm_tracker.adapters.regression.refinement import RefineSettings, refine
from ebm_tracker.adapters.regression.steps import EnergyStep, HeadStep
from ebm_tracker.adapters.regression.study_progress import Progress, open_progress, work_off
from ebm_tracker.energy import GaussianMixture
from ebm_tracker.files import write_text_atomic

ENERGY = "energy"
"""Name of the energy network among the trainings of a run."""
MODE, MEAN = "mode", "mean"
DIGITS = 4
"""Of the predictions that are kept, in years or degrees."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StudyData:
    """What a study learns from and is measured on.

    Attributes:
        train_x, train_y: as EpochDataset takes them: N items, and targets (N, D).
        test_x, test_y: n items, and targets (n, D).
        feature_size: F, of what ``extractor`` gives.
        fingerprint: what decides the data, by name (which files, which split, which features).
        transform: augmentation of a training item, or the choice of one of its cached views.
        extractor: makes the feature extractor of one training: items of x, collated -> (B, F). One whose parameters
            require gradients is trained along. nn.Identity where x are features already.
        candidates: (K, D) targets spread evenly over what is possible: the energy's own prediction looks for its
            highest value and its mean among them.

    With several ``workers`` all of it must be picklable (functions of a module, no lambdas).
    """

    train_x: Tensor | Sequence[Any]
    train_y: Tensor
    test_x: Tensor | Sequence[Any]
    test_y: Tensor
    feature_size: int
    fingerprint: Mapping[str, Any]
    candidates: Tensor
    transform: Transform | None = None
    extractor: Callable[[], nn.Module] = nn.Identity

    def __post_init__(self) -> None:
        if len(self.test_x) != len(self.test_y) or not len(self.test_y):
            lengths = f"{len(self.test_x)} and {len(self.test_y)}"
            raise ValueError(f"test_x and test_y must have one length >= 1 (got {lengths})")
        if not self.train_y.shape[1:] == self.test_y.shape[1:] == self.candidates.shape[1:]:
            shapes = [tuple(y.shape) for y in (self.train_y, self.test_y, self.candidates)]
            raise ValueError(f"train_y, test_y and candidates must have rows of one length D (got {shapes})")


@dataclass(frozen=True)
class StudySettings:
    """The paper's defaults; ``sigmas``, ``refine`` and ``classes`` (of the softmax heads) belong to the problem.

    Attributes:
        sigmas: of the proposal q, in the units of y.
        refine: Algorithm S1.
        heads: names in HEADS.
        runs: trainings of everything; number r draws from seed ``seed`` + r.
        hidden: of the heads.
        branch, joint, scale: of the energy network.
        samples: M, draws from q for each example.
        centred: heads that predict y directly start at the mean (and spread) of train_y instead of at about 0, which a
            short training would spend much of its time to leave. The paper does not say how they start.
        head_fit, energy_fit: the schedules; their own ``seed`` is replaced by the run's.
    """

    sigmas: tuple[float, ...]
    refine: RefineSettings
    classes: tuple[float, ...] = ()
    heads: tuple[str, ...] = tuple(HEADS)
    runs: int = 5
    seed: int = 0
    hidden: Hidden = 2048
    branch: tuple[int, ...] = (16, 32, 64, 128)
    joint: tuple[int, ...] = (2048,)
    scale: float | None = None
    samples: int = 1024
    centred: bool = False
    head_fit: FitSettings = field(default_factory=lambda: FitSettings(weight_decay=1e-3))
    energy_fit: FitSettings = field(default_factory=lambda: FitSettings(weight_decay=1e-3))

    def __post_init__(self) -> None:
        unknown = [name for name in self.heads if name not in HEADS]
        if unknown or not self.heads:
            raise ValueError(f"heads must be some of {', '.join(HEADS)} (got {', '.join(unknown) or 'none'})")
        if self.runs < 1:
            raise ValueError(f"runs must be at least 1 (got {self.runs})")
        if not self.classes and any(name.startswith("softmax") for name in self.heads):
            raise ValueError("classes must be given for the softmax heads (got none)")

    def fit_of(self, name: str, run: int) -> FitSettings:
        """The schedule of one training."""
        chosen = self.energy_fit if name == ENERGY else self.head_fit
        return replace(chosen, seed=self.seed + run)

    def deciding(self, name: str) -> dict[str, Any]:
        """What decides the weights of one training, besides its schedule and the data."""
        if name == ENERGY:
            keys: tuple[str, ...] = ("sigmas", "branch", "joint", "scale", "samples")
        else:
            keys = ("hidden", "classes") if name.startswith("softmax") else ("hidden", "centred")
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True)
class StudyResult:
    """Predictions of all runs, in the units of y.

    Attributes:
        truth: (n, D).
        before, after: of each head, (R, n, D): its own predictions, and those refined.
        alone: the energy's own predictions (R, n, D), by "mode" (its highest value) and "mean" (of its density).
    """

    truth: Floats
    before: Mapping[str, Floats]
    after: Mapping[str, Floats]
    alone: Mapping[str, Floats]

    @property
    def heads(self) -> tuple[str, ...]:
        """Their names, in the order of the table."""
        return tuple(self.before)

    def errors(self, head: str, *, refined: bool = False) -> Floats:
        """Mean absolute errors (R, D) over the test items."""
        return self._errors((self.after if refined else self.before)[head])

    def errors_alone(self, kind: str) -> Floats:
        """Those of the energy alone; ``kind`` is "mode" or "mean"."""
        return self._errors(self.alone[kind])

    def _errors(self, predictions: Floats) -> Floats:
        return cast(Floats, np.abs(predictions - self.truth).mean(1))


class Study:
    """Trains R times each head and one energy network on ``data``, and refines what each head predicts.

    ``folder`` holds the trainings and what they predict. ``workers``: trainings side by side, each in a process with
    one thread (the CPU only). ``quiet``: shows nothing.
    """

    def __init__(
        self,
        data: StudyData,
        settings: StudySettings,
        folder: Path,
        *,
        device: torch.device = torch.device("cpu"),  # noqa: B008  # cannot change
        workers: int = 1,
        quiet: bool = False,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1 (got {workers})")
        if workers > 1 and device.type != "cpu":
            raise ValueError(f"workers must be 1 on a {device.type} device (got {workers})")
        self.data, self.settings, self.folder = data, settings, folder
        self.device, self.workers, self.quiet = device, workers, quiet

    def run(self) -> StudyResult:
        """Trains what is not trained yet, then predicts and refines. Ctrl-C stops after the step under way.

        Raises ValueError when the folder was begun with other settings.
        """
        jobs = [(run, name) for run in range(self.settings.runs) for name in (*self.settings.heads, ENERGY)]
        total = sum(self.steps(name) for _, name in jobs)
        with open_progress(total, quiet=self.quiet) as progress:
            if self.workers == 1:
                for run, name in jobs:
                    self.train(run, name, progress.part(f"run {run + 1}, {name}"))
            else:
                work_off(self, jobs, self.workers, progress)
        return self.result()

    def result(self) -> StudyResult:
        """Predictions of all trainings, which are made first where they are missing; those that a file keeps are read
        from it."""
        runs = [self._predictions(run) for run in range(self.settings.runs)]
        return StudyResult(
            self.data.test_y.double().numpy(),
            *({name: np.stack([one[part][name] for one in runs]) for name in runs[0][part]} for part in _PARTS),
        )

    def energy(self, run: int) -> EnergyStep:
        """The trained energy network of a run, with its extractor, in eval mode."""
        return cast(EnergyStep, self.train(run, ENERGY))

    def head(self, run: int, name: str) -> HeadStep:
        """A trained head of a run, with its extractor, in eval mode."""
        return cast(HeadStep, self.train(run, name))

    # One training ----------------------------------------------------------------------------------------------------

    def steps(self, name: str) -> int:
        """Steps of one training."""
        return self.settings.fit_of(name, 0).loop(len(self.data.train_y)).steps

    def train(self, run: int, name: str, progress: Progress | None = None) -> EnergyStep | HeadStep:
        """Trains it, goes on with it, or loads it."""
        fit_settings = self.settings.fit_of(name, run)
        step = self._build(run, name)
        dataset = EpochDataset(
            self.data.train_x, self.data.train_y, fit_settings.epochs, fit_settings.seed, self.data.transform
        )
        part = Progress() if progress is None else progress
        fit(
            step,
            dataset,
            fit_settings,
            self.folder / f"run-{run}" / name,
            fingerprint={"data": self.data.fingerprint, "network": self.settings.deciding(name)},
            display=part,
            device=self.device,
        )
        part.finish(self.steps(name))
        return step

    def _build(self, run: int, name: str) -> EnergyStep | HeadStep:
        settings, data = self.settings, self.data
        targets = data.train_y.shape[1]
        # Every training its own first weights: a pair that starts alike would err alike.
        order = (*HEADS, ENERGY).index(name)
        with seeded(1000 * (settings.seed + run) + order):
            extractor = data.extractor()
            if name != ENERGY:
                head = HEADS[name](data.feature_size, targets, settings.hidden, settings.classes)
                if settings.centred:
                    start_at_spread(head, data.train_y)
                return HeadStep(extractor, head)
            energy = RegressionEnergy(
                data.feature_size, targets, branch=settings.branch, joint=settings.joint, scale=settings.scale
            )
            return EnergyStep(extractor, energy, GaussianMixture(settings.sigmas), settings.samples)

    # Predictions -----------------------------------------------------------------------------------------------------

    def _predictions(self, run: int) -> dict[str, dict[str, Floats]]:
        path = self.folder / f"run-{run}" / "result.json"
        decides = json.loads(json.dumps(self._decides(run)))
        if path.is_file():
            kept = json.loads(path.read_text())
            if kept["settings"] == decides:
                return {part: {k: np.array(v) for k, v in kept[part].items()} for part in _PARTS}
        made = self._predict(run)
        rounded = {part: {k: np.round(v, DIGITS) for k, v in rows.items()} for part, rows in made.items()}
        text = {part: {k: v.tolist() for k, v in rows.items()} for part, rows in rounded.items()}
        write_text_atomic(path, json.dumps({"settings": decides, **text}) + "\n")
        return rounded

    def _decides(self, run: int) -> dict[str, Any]:
        names = (*self.settings.heads, ENERGY)
        trained = {name: self.settings.deciding(name) | asdict(self.settings.fit_of(name, run)) for name in names}
        return {"data": dict(self.data.fingerprint), "refine": asdict(self.settings.refine), "trained": trained}

    def _predict(self, run: int) -> dict[str, dict[str, Floats]]:
        energy = self.energy(run)
        heads = {name: self.head(run, name) for name in self.settings.heads}
        made: dict[str, dict[str, list[Tensor]]] = {part: {} for part in _PARTS}

        def note(part: str, name: str, values: Tensor) -> None:
            made[part].setdefault(name, []).append(values.double().cpu())

        with torch.no_grad():
            for examples in self._test_batches():
                features = energy.features(examples)
                for name, head in heads.items():
                    start = head.head.point(head.head(head.features(examples)))
                    note("before", name, start)
                    note("after", name, refine(energy.energy, features, start, self.settings.refine).y)
                mode, mean = own_predictions(energy.energy, features, self.data.candidates.to(features))
                note("alone", MODE, mode)
                note("alone", MEAN, mean)
        return {part: {name: torch.cat(v).numpy() for name, v in rows.items()} for part, rows in made.items()}

    def _test_batches(self, size: int = 64) -> Iterator[Example]:
        count = len(self.data.test_y)
        for start in range(0, count, size):
            rows = range(start, min(start + size, count))
            x = default_collate([self.data.test_x[row] for row in rows])
            numbers = torch.arange(start, rows.stop)
            yield Example(numbers, x.to(self.device), self.data.test_y[start : rows.stop].to(self.device))


_PARTS = ("before", "after", "alone")


def start_at_spread(head: nn.Module, y: Tensor) -> None:
    """Sets the last biases of a head, in place, so that it begins with the density of its kind that fits all y (N, D)
    best, whatever x is. A softmax head, which begins with all classes alike, stays as it is."""
    mean, variance = y.mean(0), y.var(0)
    if isinstance(head, DirectHead):
        starts = [mean]
    elif isinstance(head, GaussianHead):
        starts = [mean, variance.log()]
    elif isinstance(head, JointLaplaceHead):
        # E sqrt(sum d^2 / beta) = 2 D at the best common factor of the betas.
        spread = ((y - mean).square() / variance).sum(1).sqrt().mean()
        starts = [mean, variance.log() + 2 * (spread / (2 * y.shape[1])).log()]
    elif isinstance(head, LaplaceHead):
        starts = [y.median(0).values, (y - y.median(0).values).abs().mean(0).log()]
    else:
        return
    with torch.no_grad():
        for stack, start in zip(head.stacks, starts, strict=True):
            cast(nn.Linear, cast(nn.Sequential, stack)[-1]).bias.copy_(start)


def own_predictions(energy: Energy, features: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """What the energy predicts by itself: its highest candidate and the mean of its density over them, (B, D) both.

    ``candidates`` (K, D) lie evenly in the space of y, so that exp f needs no other weight.
    """
    f = energies(energy, features, candidates.expand(len(features), -1, -1))
    return candidates[f.argmax(1)], f.softmax(1) @ candidates

