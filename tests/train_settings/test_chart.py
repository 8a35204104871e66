from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.train_settings.chart import GRID, Chart

RED, BLUE = (200, 0, 0), (0, 0, 200)


@pytest.fixture
def chart() -> Chart:
    return Chart((220, 130), (10, 20, 10, 10))  # axes of 200 x 100


def pixels(chart: Chart, folder: Path) -> np.ndarray:
    chart.save(folder / "chart.png")
    assert [path.name for path in folder.iterdir()] == ["chart.png"]
    return np.asarray(Image.open(folder / "chart.png"))


def test_corners(chart: Chart) -> None:
    assert [chart.at(x, y) for x, y in ((0, 0), (1, 1), (0.5, 0.25))] == [(10, 120), (210, 20), (110, 95)]


def test_lines_lie_where_they_should(chart: Chart, tmp_path: Path) -> None:
    chart.line([(0.25, 0.5), (0.75, 0.5)], RED, 1)
    image = pixels(chart, tmp_path)
    rows, columns = np.nonzero((image == RED).all(2))
    assert set(rows) == {70} and (columns.min(), columns.max()) == (60, 160)
    assert (image == 255).all(2).sum() == 220 * 130 - 101


def test_grid_lines_are_evenly_spaced(chart: Chart, tmp_path: Path) -> None:
    chart.rows(["", "", ""])
    chart.columns(["", "", "", "", ""])
    gray = (pixels(chart, tmp_path) == GRID).all(2)
    assert np.flatnonzero(gray.sum(1) > 100).tolist() == [20, 70, 120]
    assert np.flatnonzero(gray.sum(0) > 50).tolist() == [10, 60, 110, 160, 210]


def test_band_is_the_area_between_two_lines(chart: Chart, tmp_path: Path) -> None:
    chart.band([(0, 0.2), (1, 0.2)], [(0, 0.4), (1, 0.8)], BLUE)
    shaded = (pixels(chart, tmp_path) != 255).any(2)
    assert [int(shaded[:, 10 + x].sum()) for x in (0, 100, 200)] == pytest.approx([21, 41, 61], abs=1)
    assert shaded[100, 110] and not shaded[101, 110] and not shaded[59, 110]


def test_text_stands_outside_of_the_axes(tmp_path: Path) -> None:
    chart = Chart((220, 160), (40, 30, 40, 50))
    chart.titles([("one", RED), ("two", BLUE)])
    chart.rows(["0", "1"], RED)
    chart.rows(["2", "3"], BLUE, on_right=True)
    chart.caption("step")
    image = pixels(chart, tmp_path).astype(int)
    red, blue = image[..., 0] - image[..., 2] > 100, image[..., 2] - image[..., 0] > 100
    assert red[:, :40].any() and not red[31:109, 40:].any()
    assert blue[:, 181:].any() and not blue[31:109, :181].any()
    first, second = (np.flatnonzero(color[:30, 40:180].any(0)) for color in (red, blue))
    assert first.max() < second.min()
    assert (image[130:].sum(2) < 300).any()  # the caption
