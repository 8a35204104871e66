"""The figure of densities and calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.adapters.tabular.data import TableData
from ebm_tracker.adapters.tabular.figure import CASES, LEVELS, central_coverage, draw, figure_row
from ebm_tracker.adapters.tabular.study import MODELS, TabularSettings, TabularStudy


def test_coverage_of_central_intervals() -> None:
    shares = central_coverage(np.array([0.5, 0.3, 0.9, 0.02]))  # inside from the levels 0, 0.4, 0.8 and 0.96 on
    assert [shares[round(100 * level)] for level in (0, 0.39, 0.41, 0.79, 0.81, 0.95, 0.97)] == [
        0.25,
        0.25,
        0.5,
        0.5,
        0.75,
        0.75,
        1.0,
    ]
    even = np.linspace(0, 1, 2001)
    assert central_coverage(even) == pytest.approx(LEVELS, abs=1e-3)


def test_a_row_of_the_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    data = TableData("made", "made up", "y in metres", ("a", "b"), x, x[:, 0] + 5)
    settings = TabularSettings(folds=2, repeats=1, decays=(0.0,), hidden=4, epochs=2, samples=8)
    study = TabularStudy(data, settings, tmp_path, quiet=True)
    row = figure_row(study, study.run())
    assert len(row.cases) == len(CASES) and row.covered.keys() == MODELS.keys()
    for case in row.cases:
        assert case.truth in data.y[study.splits[0].test]
        for density in case.densities.values():
            assert 0 < np.trapezoid(density, case.y) < 1.01  # a part may lie beyond what is shown
    assert draw([row, row]).png.startswith(b"\x89PNG")
