"""Plots: what is on the axes, and how the files are made."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.evaluation.report import plots
from ebm_tracker.evaluation.report.curves import section_plots
from ebm_tracker.evaluation.report.plots import Axes, Line, PlotError, SpeedPoint
from ebm_tracker.evaluation.report.styles import styles_of

pytest.importorskip("matplotlib", reason="plots need matplotlib")
THRESHOLDS = np.linspace(0, 1, 21)
AXES = Axes("Success on Tiny", "Overlap threshold", "Overlap precision [%]", THRESHOLDS)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is drawn, as matplotlib's object."""
    drawn: list[Any] = []
    render = plots.rendered

    def keep(figure: Any) -> plots.Picture:
        drawn.append(figure)
        return render(figure)

    monkeypatch.setattr(plots, "rendered", keep)
    return drawn


def lines() -> list[Line]:
    return [
        Line("low $x$", 0.2 * (1 - THRESHOLDS), 10.0),
        Line("_high", 1 - THRESHOLDS, 50.0, "6 of 123"),
        Line("unknown", 0 * THRESHOLDS, None),
    ]


def test_the_curve_is_in_percent_and_the_legend_is_sorted_by_score(figures: list[Any]) -> None:
    names = [line.name for line in lines()]
    plots.curve_plot(lines(), AXES, styles_of(names))
    (axes,) = figures[0].axes
    drawn = {line.get_color(): line for line in axes.get_lines()}
    high = drawn[styles_of(names)["_high"].color]
    np.testing.assert_allclose(high.get_xdata(), THRESHOLDS)
    np.testing.assert_allclose(high.get_ydata(), 100 * (1 - THRESHOLDS))
    labels = [text.get_text().strip() for text in axes.get_legend().get_texts()]
    assert labels == ["_high [50.0] (6 of 123)", "low $x$ [10.0]", "unknown"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Overlap threshold", "Overlap precision [%]")
    assert axes.get_title() == "Success on Tiny"


def test_styles_differ_in_colour_and_dash_and_stay_with_the_tracker() -> None:
    names = [f"tracker {i}" for i in range(45)]
    styles = styles_of(names)
    assert len({(style.color, style.dash) for style in styles.values()}) == 45
    assert len({style.color for style in list(styles.values())[:9]}) == 9
    assert styles_of(names[:3]) == {name: styles[name] for name in names[:3]}


def test_the_files_are_a_png_and_a_pdf_with_truetype_fonts(tmp_path: Path) -> None:
    picture = plots.curve_plot(lines(), AXES, styles_of([line.name for line in lines()]))
    png, pdf = picture.write(tmp_path / "success")
    assert (png.name, pdf.name) == ("success.png", "success.pdf")
    with Image.open(png) as image:
        assert image.size == (832, 640)
    content = pdf.read_bytes()
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", content, re.S):
        try:
            content += zlib.decompress(stream)
        except zlib.error:
            continue
    assert b"/Type3" not in content and b"/FontFile2" in content
    again = plots.curve_plot(lines(), AXES, styles_of([line.name for line in lines()]))
    assert again == picture


def test_pyplot_is_not_touched() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from ebm_tracker.evaluation.report.plots import *; import numpy as np\n"
        "from ebm_tracker.evaluation.report.styles import styles_of\n"
        "curve_plot([Line('a', np.ones(3), 1.0)], Axes('t', 'x', 'y', np.arange(3.)), styles_of(['a']))\n"
        "import matplotlib; print('matplotlib.pyplot' in sys.modules, matplotlib.rcParams['pdf.fonttype'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "3"]  # and the user's own settings are as they were


def test_a_speed_of_unknown_origin_is_hollow(figures: list[Any]) -> None:
    points = [SpeedPoint("sure", 20.0, 60.0, True), SpeedPoint("unsure", 200.0, 50.0, False)]
    plots.speed_plot("Speed", "AUC", points, styles_of(["sure", "unsure"]))
    (axes,) = figures[0].axes
    sure, unsure = axes.collections
    assert len(sure.get_facecolor()) == 1 and len(unsure.get_facecolor()) == 0
    assert unsure.get_offsets().tolist() == [[200.0, 50.0]]
    assert axes.get_xscale() == "log" and "hollow" in axes.get_xlabel()


def test_differences_are_sorted_with_the_interval_below(figures: list[Any]) -> None:
    plots.difference_plot("b minus a", "AUC", {"x": -1.0, "y": 2.0, "z": 0.5}, 0.5, (-0.5, 1.5))
    (axes,) = figures[0].axes
    assert [bar.get_width() for bar in axes.patches] == [2.0, 0.5, -1.0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["y", "z", "x", "mean, 95 % interval"]
    assert list(axes.get_lines()[0].get_xdata()) == [-0.5, 1.5]


def test_a_report_draws_what_its_flavour_has(tiny: Any, figures: list[Any]) -> None:
    report = tiny.report("plain", "pytracking")
    stems = [plot.stem for plot in section_plots(report, report.sections[0], "_plain")]
    assert stems == ["success_plain", "precision_plain", "attributes_plain", "speed_plain"]
    stems = [plot.stem for plot in section_plots(report, report.sections[1])]
    assert stems == ["success", "precision", "normalized_precision", "attributes", "speed"]
    success = figures[0].axes[0]
    labels = [text.get_text() for text in success.get_legend().get_texts()]
    assert labels == ["ours exact [95.2]", "ours half [47.6] (2 of 3)"]
    dots = figures[2].axes[0].collections
    assert [len(dot.get_offsets()) for dot in dots] == [2, 2]


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(PlotError, match=r"pip install 'ebm-tracker\[eval\]'"):
        plots.curve_plot(lines(), AXES, styles_of([line.name for line in lines()]))
