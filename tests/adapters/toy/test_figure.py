from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ebm_tracker.adapters.regression import FitSettings
from ebm_tracker.adapters.toy import TRUTHS, ToySettings, ToyStudy
from ebm_tracker.adapters.toy.divergence import x_centers, y_grid
from ebm_tracker.adapters.toy.figure import FigureRow, Panel, draw, figure_row

pytest.importorskip("matplotlib")


def test_row_holds_truth_data_and_both_models(tmp_path: Path) -> None:
    study = ToyStudy(
        ToySettings(runs=1, pairs=32, samples=4, fit=FitSettings(epochs=1, batch_size=32)),
        tmp_path,
        data_sets=("wave",),
        models=("gaussian", "nll", "nce"),
        quiet=True,
    )
    kl = {model.model: values[0] for model, values in study.run().items()}
    row = figure_row(study, "wave")
    assert [panel.title for panel in row.models] == [f"Gaussian, KL {kl['gaussian']:.3f}", f"EBM, KL {kl['nll']:.3f}"]
    assert row.title == "Data set 2" and len(row.x) == 32
    x, y = x_centers()[100], y_grid()[700]
    assert float(row.truth.log_density[100, 700]) == pytest.approx(float(TRUTHS["wave"].log_density(x, y)))


def test_dark_is_where_the_density_is() -> None:
    """A density at y = 1 makes the upper part of its panel dark, and white stays where there is none."""
    log_density = torch.distributions.Normal(1.0, 0.2).log_prob(y_grid()).expand(512, -1)
    truth = Panel("Truth", log_density)
    picture = draw([FigureRow("Data set 1", torch.zeros(1, 1), torch.zeros(1, 1), truth, [truth])])
    gray = np.asarray(Image.open(io.BytesIO(picture.png)).convert("L"), dtype=float)
    height, width = gray.shape
    column = gray[:, int(width * 0.75) : int(width * 0.77)].mean(1)
    dark = np.flatnonzero(column < 120)
    assert 0.15 * height < dark.mean() < 0.45 * height
    assert column[int(0.6 * height) : int(0.7 * height)].min() == 255
