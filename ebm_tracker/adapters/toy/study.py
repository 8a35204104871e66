"""The 1-D illustration as a study: every model trained several times on each data set.

In the folder: ``mixture/nll/00`` and so on, one training each (see ``fit``) with its ``divergence.json``. A study that
was stopped goes on where it was; other settings in the same folder are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebm_tracker.adapters.regression import EnergyStep, EpochDataset, FitSettings, HeadStep, fit, seeded
from ebm_tracker.adapters.regression.study_progress import Progress, open_progress, work_off
from ebm_tracker.adapters.toy.data import PAIRS, TRUTHS
from ebm_tracker.adapters.toy.divergence import divergence_from
from ebm_tracker.adapters.toy.networks import ENERGIES, energy_network, features_network, gaussian_head
from ebm_tracker.energy import GaussianMixture
from ebm_tracker.errors import EbmError
from ebm_tracker.files import write_text_atomic

GAUSSIAN = "gaussian"
MODELS: Mapping[str, str] = {
    GAUSSIAN: "Gaussian",
    "nll": "EBM",
    "kl": "EBM, KL",
    "nce": "EBM, NCE",
    "nce+": "EBM, NCE+",
}
"""Name -> title. Those after the first are one network with different objectives (``EnergyStep``); "nll" is the paper's
maximum likelihood."""
RESULT = "divergence.json"


@dataclass(frozen=True)
class ToySettings:
    """The paper's (Appendix A).

    Attributes:
        runs: trainings of everything; number r draws its first weights, order and samples from seed ``seed`` + r.
        pairs, data_seed: of the training data, which is the same in all runs.
        network: of the energy models, a name of ``toy.networks``.
        sigmas, samples: of the proposal.
        label_sigma: of the label's Gaussian in the objective "kl".
        fit: the schedule; its own ``seed`` is replaced by the run's.
    """

    runs: int = 20
    seed: int = 0
    pairs: int = PAIRS
    data_seed: int = 0
    network: str = "paper"
    sigmas: tuple[float, ...] = (0.1, 0.8)
    samples: int = 1024
    label_sigma: float = 0.025
    fit: FitSettings = field(default_factory=lambda: FitSettings(checkpoint_epochs=15))

    def __post_init__(self) -> None:
        for name in ("runs", "pairs", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 (got {getattr(self, name)})")
        if self.network not in ENERGIES:
            raise ValueError(f"network must be one of {', '.join(ENERGIES)} (got {self.network!r})")


@dataclass(frozen=True)
class ToyModel:
    """One of the study's models: ``data_set`` a name of TRUTHS, ``model`` one of MODELS."""

    data_set: str
    model: str

    @property
    def name(self) -> str:
        """``mixture/nll``: also its folder."""
        return f"{self.data_set}/{self.model}"


class ToyStudy:
    """Trains every model R times on each data set, and measures each training.

    ``folder`` holds the trainings. ``workers``: trainings side by side, each in a process with one thread.
    ``data_sets`` and ``models``: names of TRUTHS and MODELS. ``quiet``: shows nothing.
    """

    def __init__(
        self,
        settings: ToySettings,
        folder: Path,
        *,
        workers: int = 1,
        data_sets: tuple[str, ...] = tuple(TRUTHS),
        models: tuple[str, ...] = tuple(MODELS),
        quiet: bool = False,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1 (got {workers})")
        for what, names, known in (("data_sets", data_sets, TRUTHS), ("models", models, MODELS)):
            unknown = [name for name in names if name not in known]
            if unknown or not names:
                raise ValueError(f"{what} must be some of {', '.join(known)} (got {', '.join(unknown) or 'none'})")
        self.settings, self.folder, self.workers, self.quiet = settings, folder, workers, quiet
        self.data_sets, self.models = data_sets, models

    def run(self) -> dict[ToyModel, NDArray[np.float64]]:
        """Trains what is not trained yet; returns KL(truth || model) of each training in nats, (R,) for each model.

        Raises EbmError or ValueError when the folder was begun with other settings. Ctrl-C stops after a step.
        """
        models = [ToyModel(data_set, model) for model in self.models for data_set in self.data_sets]
        jobs = [(run, model.name) for model in models for run in range(self.settings.runs)]
        left = [job for job in jobs if self._kept(*job) is None]
        with open_progress(len(left) * self.steps, quiet=self.quiet) as progress:
            if self.workers == 1:
                for run, name in left:
                    self.train(run, name, progress.part(f"run {run + 1}, {name}"))
            elif left:
                work_off(self, left, min(self.workers, len(left)), progress)
        return {
            model: self.divergences(model)
            for data_set in self.data_sets
            for model in models
            if model.data_set == data_set
        }

    @property
    def steps(self) -> int:
        """Of one training."""
        return self.settings.fit.loop(self.settings.pairs).steps

    def train(self, run: int, name: str, progress: Progress | None = None) -> HeadStep | EnergyStep:
        """Trains it, goes on with it, or loads it; measures it. Returns the model in eval mode."""
        data_set, model = name.split("/")
        settings, truth = self.settings, TRUTHS[data_set]
        schedule = replace(settings.fit, seed=settings.seed + run)
        step = self._build(run, model)
        part = Progress() if progress is None else progress
        fit(
            step,
            EpochDataset(*truth.pairs(settings.pairs, settings.data_seed), schedule.epochs, schedule.seed),
            schedule,
            self._place(run, name),
            fingerprint=self._deciding(name),
            display=part,
        )
        if self._kept(run, name) is None:
            kept = {"settings": self._decides(run, name), "kl": divergence_from(truth, step)}
            write_text_atomic(self._place(run, name) / RESULT, json.dumps(kept, indent=1) + "\n")
        part.finish(self.steps)
        return step

    def divergences(self, model: ToyModel) -> NDArray[np.float64]:
        """KL(truth || model) of its finished trainings, (R,). Raises EbmError where one is missing."""
        values = [self._kept(run, model.name) for run in range(self.settings.runs)]
        missing = [run for run, value in enumerate(values) if value is None]
        if missing:
            raise EbmError(f"training {missing[0]} of {model.name} in {self.folder.absolute()} is not finished")
        return np.array(values, dtype=np.float64)

    def median_run(self, model: ToyModel) -> int:
        """The training whose divergence is the median (the better one of two): the one to show."""
        values = self.divergences(model)
        return int(values.argsort(kind="stable")[(len(values) - 1) // 2])

    def _build(self, run: int, model: str) -> HeadStep | EnergyStep:
        settings = self.settings
        with seeded(settings.seed + run):
            features = features_network()
            if model == GAUSSIAN:
                return HeadStep(features, gaussian_head())
            energy = energy_network(settings.network)
            proposal = GaussianMixture(settings.sigmas)
            return EnergyStep(features, energy, proposal, settings.samples, model, label_sigma=settings.label_sigma)

    def _place(self, run: int, name: str) -> Path:
        return self.folder / name / f"{run:02d}"

    def _deciding(self, name: str) -> dict[str, Any]:
        keys = ["pairs", "data_seed"]
        keys += [] if name.endswith(GAUSSIAN) else ["network", "sigmas", "samples"]
        keys += ["label_sigma"] if name.endswith("/kl") else []
        return {"name": name, **{key: getattr(self.settings, key) for key in keys}}

    def _decides(self, run: int, name: str) -> dict[str, Any]:
        loop = replace(self.settings.fit, seed=self.settings.seed + run)
        return json.loads(json.dumps(self._deciding(name) | loop.loop(self.settings.pairs).deciding()))

    def _kept(self, run: int, name: str) -> float | None:
        path = self._place(run, name) / RESULT
        if not path.is_file():
            return None
        kept = json.loads(path.read_text())
        now = self._decides(run, name)
        changes = [key for key in {**kept["settings"], **now} if kept["settings"].get(key) != now.get(key)]
        if changes:
            changed = ", ".join(f"{key} {kept['settings'].get(key)!r} (now {now.get(key)!r})" for key in changes)
            raise EbmError(f"{path.parent.absolute()} was trained with {changed}; give those or another folder")
        return float(kept["kl"])
