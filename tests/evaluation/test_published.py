"""The table of published figures: every row can be read, and its figures are those of its flavour."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ebm_tracker.evaluation import published
from ebm_tracker.evaluation.published import published_rows
from ebm_tracker.evaluation.scoring import FLAVOURS, flavour

TABLE = Path(published.__file__).with_name("published.csv")
DATASETS = ("otb", "nfs", "uav", "lasot", "trackingnet", "got10k_test", "vot", "avist")


def figure(dataset: str, source: str, tracker: str, name: str) -> float:
    (row,) = (r for r in published_rows(dataset) if r.source.startswith(source) and r.tracker == tracker)
    return row.figures[name]


def test_every_row_is_of_a_data_set_and_a_flavour() -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = [row for dataset in DATASETS for row in published_rows(dataset)]
    assert len(rows) == len(lines) == 72
    assert len({(row.source, row.dataset, row.tracker) for row in rows}) == len(rows)
    for row in rows:
        assert row.figures and row.source and row.tracker
        if row.metrics == "vot":
            assert list(row.figures) == ["EAO"] and 0 < row.figures["EAO"] < 1
        else:
            assert row.metrics in FLAVOURS
            assert set(row.figures) <= set(flavour(row.metrics, row.dataset).figures)
            assert all(20 < value < 90 for value in row.figures.values())


def test_the_papers_table() -> None:
    paper = "paper, Table 2"
    ours = "Energy-based (the paper)"
    assert [figure("trackingnet", paper, ours, name) for name in ("Precision", "Norm. Precision", "Success")] == [
        69.7,
        80.1,
        74.5,
    ]
    assert [figure("uav", paper, ours, name) for name in ("OP50", "OP75", "AUC")] == [80.8, 60.2, 67.2]
    assert [figure("uav", paper, "ATOM*", name) for name in ("OP50", "OP75", "AUC")] == [79.0, 56.5, 64.9]
    assert figure("trackingnet", paper, "ATOM", "Success") == 70.3
    assert len([row for row in published_rows("uav") if row.source == paper]) == 8  # none of SiamFC
    (read_off,) = (row for row in published_rows("uav") if row.tracker == "SiamRPN++")
    assert "read off a plot" in read_off.note and read_off.figures == {"AUC": 61.3, "OP50": 75, "OP75": 56}


@pytest.mark.parametrize(
    ("dataset", "tracker", "name", "value"),
    [
        ("vot", "KYS", "EAO", 0.462),
        ("otb", "DiMP-50", "AUC", 68.4),
        ("nfs", "PrDiMP-18", "AUC", 63.3),
        ("uav", "ATOM", "AUC", 64.2),
        ("lasot", "SuperDiMP", "AUC", 63.1),
        ("trackingnet", "PrDiMP-50", "Success", 75.8),
        ("got10k_test", "DiMP-18", "AO", 57.9),
        ("avist", "ATOM", "AUC", 38.6),
    ],
)
def test_the_model_zoo(dataset: str, tracker: str, name: str, value: float) -> None:
    assert figure(dataset, "pytracking MODEL_ZOO", tracker, name) == value


def test_nothing_is_published_of_your_own_folder() -> None:
    assert published_rows("folder") == ()
