"""What an energy network says about a pose by itself: its own predictions, and the density of one angle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from ebm_tracker.adapters.pose.raster import Floats
from ebm_tracker.adapters.regression.density import energies
from ebm_tracker.adapters.regression.networks import Energy, given
from ebm_tracker.adapters.regression.steps import Example
from ebm_tracker.adapters.regression.study import MEAN, MODE, Study, StudyResult
from ebm_tracker.energy import ascend, autograd_value_and_grad

_CLIMB_STEPS, _CLIMB_LENGTH, _CLIMB_DECAY = 60, 10.0, 0.5
_YAW_REACH, _YAW_STEP = 40.0, 0.5
_OTHER_REACH, _OTHER_STEP = 27.0, 3.0


def own_poses(study: Study, result: StudyResult) -> dict[str, Floats]:
    """Predictions of the energy networks alone, (R, n, 3) each: "highest value of f" and "mean of p".

    The highest value is climbed to by Algorithm 1, from the best of the study's coarse candidates.
    """
    climbed = []
    for run, starts in enumerate(result.alone[MODE]):
        energy = study.energy(run)
        poses = []
        for first in range(0, len(starts), 256):
            rows = range(first, min(first + 256, len(starts)))
            start = torch.from_numpy(starts[rows.start : rows.stop]).float().to(study.device)
            features = _features(study, run, rows)
            poses.append(_top(energy.energy, features, start).double().cpu().numpy())
        climbed.append(np.concatenate(poses))
    return {"highest value of f": np.stack(climbed), "mean of p": result.alone[MEAN]}


def _top(energy: Energy, features: Tensor, start: Tensor) -> Tensor:
    """The top of f that lies up the hill from ``start`` (B, 3)."""
    of_y = given(energy, features)
    value_and_grad = autograd_value_and_grad(lambda y: of_y(y[:, None])[:, 0])
    return ascend(value_and_grad, start, step_length=_CLIMB_LENGTH, steps=_CLIMB_STEPS, decay=_CLIMB_DECAY).y


def local_marginal(study: Study, run: int, rows: Sequence[int], around: Floats) -> tuple[Floats, Floats]:
    """Density of yaw of some test heads, by the energy network of a run: yaws (n, P) and p(yaw | x) (n, P).

    f is summed over a grid of pitch and roll about the poses ``around`` (n, 3) and normalised on the grid of yaw there.
    """
    features = _features(study, run, rows)
    other = torch.arange(-_OTHER_REACH, _OTHER_REACH + 1e-6, _OTHER_STEP)
    yaw = torch.arange(-_YAW_REACH, _YAW_REACH + 1e-6, _YAW_STEP)
    offsets = torch.cartesian_prod(yaw, other, other).to(features)
    centers = torch.from_numpy(around).float().to(study.device)
    energy = study.energy(run).energy
    grids, heights = [], []
    for row in range(len(rows)):
        f = energies(energy, features[row : row + 1], (centers[row] + offsets)[None])
        log_mass = f.view(len(yaw), -1).logsumexp(-1)
        heights.append((log_mass.softmax(0) / _YAW_STEP).double().cpu().numpy())
        grids.append(around[row, 0] + yaw.double().numpy())
    return np.stack(grids), np.stack(heights)


def _features(study: Study, run: int, rows: Sequence[int]) -> Tensor:
    """Features of test heads, as the energy network of a run sees them."""
    energy = study.energy(run)
    x = default_collate([study.data.test_x[row] for row in rows]).to(study.device)
    numbers, y = torch.arange(len(rows)), study.data.test_y[torch.as_tensor(list(rows))]
    with torch.no_grad():
        return energy.features(Example(numbers, x, y))
