"""Tables of detection against the paper's printed figures and arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ebm_tracker.evaluation.detection import MethodScores, detection_table, gain_table, published_detection
from ebm_tracker.evaluation.report.tables import Figure, Table, cell_text


def scores(name: str, ap: list[float], ap75: list[float]) -> MethodScores:
    return MethodScores(name, {"AP": np.array(ap), "AP75": np.array(ap75)})


def texts_of(table: Table) -> list[list[str]]:
    return [
        [cell_text(cell, column) for cell, column in zip(row.cells, table.columns, strict=True)] for row in table.rows
    ]


METHODS = [
    scores("direct", [40.0], [38.0]),
    scores("iou_net", [42.0, 41.0, 43.0], [40.0, 41.0, 42.0]),
    scores("ours", [43.0, 43.0, 43.0], [44.0, 40.0, 45.0]),
]


def test_published_figures_are_those_of_table_1() -> None:
    rows = {row.name: row for row in published_detection()}
    assert list(rows) == ["direct", "gaussian", "laplace", "iou_net", "iou_net_star", "ours"]
    assert [rows[name].figures["AP"] for name in rows] == [37.2, 36.7, 37.1, 38.3, 38.2, 39.1]
    assert [rows[name].figures["AP50"] for name in rows] == [59.2, 58.7, 59.1, 58.3, 58.4, 58.5]
    assert [rows[name].figures["AP75"] for name in rows] == [40.3, 39.6, 40.2, 41.4, 41.4, 41.8]


def test_means_and_spreads_beside_the_papers() -> None:
    table = detection_table("Title", METHODS, notes=("A note.",))
    headings = ["Method", "AP", "AP75", "Paper AP", "Paper AP50", "Paper AP75"]
    assert [column.heading for column in table.columns] == headings
    assert texts_of(table) == [
        ["Direct (Faster R-CNN)", "40.00", "38.00", "37.2", "59.2", "40.3"],
        ["IoU-Net", "42.00 ± 1.00", "41.00 ± 1.00", "38.3", "58.3", "41.4"],
        ["Ours", "43.00 ± 0.00", "43.00 ± 2.65", "39.1", "58.5", "41.8"],
    ]
    best = [[isinstance(cell, Figure) and cell.best for cell in row.cells] for row in table.rows]
    assert best == [[False] * 4 + [True, False], [False] * 6, [False, True, True, True, False, True]]
    assert table.notes[0] == "A note." and "over 3 trainings on one frozen detector" in table.notes[1]
    assert "Table 1" in table.notes[2]


def test_without_the_paper_and_with_one_training() -> None:
    table = detection_table("Title", [scores("direct", [40.0], [38.0])], published=False)
    assert [column.heading for column in table.columns] == ["Method", "AP", "AP75"]
    assert table.notes == ("One training of each: no spread.",)


def test_gains_are_taken_within_each_training() -> None:
    table = gain_table("Gains", METHODS)
    assert texts_of(table) == [
        ["Direct (Faster R-CNN)", "+3.00 ± 0.00", "3 of 3", "+5.00 ± 2.65", "3 of 3"],
        # AP: 1, 2, 0; AP75: 4, -1, 3
        ["IoU-Net", "+1.00 ± 1.00", "2 of 3", "+2.00 ± 2.65", "2 of 3"],
    ]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least one method"):
        detection_table("Title", [])
    with pytest.raises(ValueError, match=r"methods must be some of direct, .* \(got mine\)"):
        detection_table("Title", [scores("mine", [1.0], [1.0])])
    with pytest.raises(ValueError, match=r"of must be one of direct \(got 'ours'\)"):
        gain_table("Title", METHODS[:1])
