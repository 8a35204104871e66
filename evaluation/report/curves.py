"""The plots of a report, drawn from its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ebm_tracker.evaluation.flavours.base import Values
from ebm_tracker.evaluation.report.content import Report, Section, coverage
from ebm_tracker.evaluation.report.page import PagePlot
from ebm_tracker.evaluation.report.plots import Axes, Line, SpeedPoint, attribute_plot, curve_plot, speed_plot
from ebm_tracker.evaluation.report.provenance import Timing
from ebm_tracker.evaluation.report.scoreboard import attribute_figures, attribute_names, timing_of
from ebm_tracker.evaluation.scoring import Curves

PRECISION, NORMALIZED = "Precision", "Norm. Precision"


def section_plots(report: Report, section: Section, suffix: str = "") -> Iterator[PagePlot]:
    """All plots of one flavour; those of curves that it has not are left out. ``suffix``: to the names of files."""
    title = report.benchmark.title
    flavour = section.flavour
    yield _curves(
        report,
        section,
        f"success{suffix}",
        Axes(f"Success on {title}", "Overlap threshold", "Overlap precision [%]", flavour.success_thresholds),
        section.main_figure,
        lambda curves: curves.success,
    )
    if flavour.precision_thresholds is not None:
        axes = Axes(
            f"Precision on {title}",
            "Location error threshold [pixels]",
            "Distance precision [%]",
            flavour.precision_thresholds,
        )
        yield _curves(report, section, f"precision{suffix}", axes, PRECISION, lambda curves: curves.precision)
    if flavour.normalized_thresholds is not None:
        axes = Axes(
            f"Normalised precision on {title}",
            "Location error threshold [sides of the true box]",
            "Distance precision [%]",
            flavour.normalized_thresholds,
        )
        yield _curves(
            report, section, f"normalized_precision{suffix}", axes, NORMALIZED, lambda c: c.normalized_precision
        )
    yield from _others(report, section, suffix)


def _curves(
    report: Report, section: Section, stem: str, axes: Axes, figure: str, of: Callable[[Curves], Values | None]
) -> PagePlot:
    lines = []
    for scores in section.trackers:
        values = of(scores.curves)
        covered = coverage(scores, report.benchmark)
        if values is not None and covered.scored:
            remark = f"{covered.scored} of {covered.total}" if covered.partial else ""
            lines.append(Line(scores.name, values, scores.figures.get(figure), remark))
    brackets = f"{figure} in brackets" if figure in section.flavour.figures else "curves only"
    caption = f"{axes.title} ({section.flavour.title}); {brackets}."
    return PagePlot(stem, caption, curve_plot(lines, axes, report.styles))


def _others(report: Report, section: Section, suffix: str) -> Iterator[PagePlot]:
    title, figure = report.benchmark.title, section.main_figure
    counts = attribute_names(report.benchmark)
    if counts:
        found = attribute_figures(report, section)
        labels = [f"{name} ({count})" for name, count in counts.items()]
        by_tracker = {name: [found[attribute][name] for attribute in counts] for name in report.names}
        picture = attribute_plot(f"{figure} by attribute on {title}", figure, labels, by_tracker, report.styles)
        yield PagePlot(f"attributes{suffix}", f"{figure} by attribute ({section.flavour.title}).", picture)
    points = [
        SpeedPoint(s.name, s.frames_per_second, s.figures[figure], timing_of(facts) is Timing.ALONE)
        for s, facts in zip(section.trackers, report.facts, strict=True)
        if s.frames_per_second and coverage(s, report.benchmark).scored
    ]
    if points:
        picture = speed_plot(f"Speed and {figure} on {title}", figure, points, report.styles)
        yield PagePlot(f"speed{suffix}", f"{figure} over speed ({section.flavour.title}).", picture)
