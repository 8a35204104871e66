"""Which of two trackers is better, and how sure that is."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest

from ebm_tracker.evaluation.report import plots
from ebm_tracker.evaluation.report.comparison import (
    Comparison,
    ComparisonError,
    compare,
    difference_table,
    remarks,
    summary_table,
    verdict,
    write_comparison,
)
from ebm_tracker.evaluation.report.content import gather_report
from ebm_tracker.evaluation.report.tables import cell_text


def compared(tiny: Any, *order: int) -> Comparison:
    report = gather_report(tiny.benchmark, [tiny.results[i] for i in order or (0, 1)], ("plain",))
    return compare(report, report.sections[0], resamples=200)


def test_the_better_one_is_named_whichever_comes_first(tiny: Any) -> None:
    # 95.238 - 47.619 on both sequences: the resamples cannot differ.
    sentence = "ours exact is better than ours half by 47.6 AUC points, 95 % interval [47.6, 47.6], on 2 sequences"
    assert verdict(compared(tiny, 1, 0)) == verdict(compared(tiny, 0, 1)) == sentence


def test_a_difference_within_chance_is_none(tiny: Any, write_result: Callable[..., None]) -> None:
    exact, half = (results.folders[0] for results in tiny.results)
    write_result(half, "car #1", (10.0, 10.0, 20.0, 20.0))
    write_result(exact, "car #1", (10.0, 10.0, 20.0, 10.0))
    text = verdict(compared(tiny))
    assert text.startswith("ours exact and ours half cannot be told apart on 2 sequences: the second has +0.0 AUC")


def test_one_sequence_decides_nothing(tiny: Any) -> None:
    (tiny.results[1].folders[0] / "dog.txt").unlink()
    assert "cannot be told apart on 1 sequence:" in verdict(compared(tiny))


def test_tables_hold_the_common_sequences(tiny: Any, write_result: Callable[..., None]) -> None:
    write_result(tiny.results[1].folders[0], "dog", (40.0, 40.0, 20.0, 20.0))
    comparison = compared(tiny)
    table = difference_table(comparison)
    rows = [[cell_text(c, col) for c, col in zip(r.cells, table.columns, strict=True)] for r in table.rows]
    assert rows == [["dog", "4", "95.2", "0.0", "-95.2"], ["car #1", "4", "95.2", "47.6", "-47.6"]]
    summary = summary_table(comparison)
    first = [cell_text(c, col) for c, col in zip(summary.rows[0].cells, summary.columns, strict=True)]
    assert first[:4] == ["AUC", "95.2", "23.8", "-71.43"] and first[-1] == "0"
    assert [row.cells[0] for row in summary.rows] == ["AUC", "OP50", "OP75", "Precision"]
    assert "plain rules" in summary.notes[0]
    assert any("ours exact has 3 sequences, of which 2 are compared" in remark for remark in remarks(comparison))


def test_nothing_in_common_is_refused(tiny: Any, write_result: Callable[..., None]) -> None:
    exact = tiny.results[0].folders[0]
    for name in ("car #1", "dog"):
        (exact / f"{name}.txt").unlink()
    with pytest.raises(ComparisonError, match="ours exact and ours half have no sequence of Tiny<1> in common"):
        compared(tiny)
    (exact / "kite.txt").unlink()
    with pytest.raises(ComparisonError, match="ours exact"):
        compared(tiny)


def test_files(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    out = tiny.root / "compared"
    written = write_comparison(compared(tiny), out)
    assert [path.name for path in written.files] == [
        "differences.csv",
        "comparison.csv",
        "differences.png",
        "differences.pdf",
    ]
    rows = list(csv.DictReader((out / "differences.csv").open()))
    assert [(row["Sequence"], row["Difference"]) for row in rows] == [("car #1", "-47.619"), ("dog", "-47.619")]
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    written = write_comparison(compared(tiny), tiny.root / "plain", "_plain")
    assert [path.name for path in written.files] == ["differences_plain.csv", "comparison_plain.csv"]
    assert "pip install 'ebm-tracker[eval]'" in written.left_out[0]
