"""The tables of a report, against closed forms."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ebm_tracker.evaluation.published import published_rows
from ebm_tracker.evaluation.report.content import ReportError, common_sequences, coverage, gather_report
from ebm_tracker.evaluation.report.scoreboard import (
    attribute_table,
    common_table,
    score_table,
    sequence_rows,
    sequence_table,
    speed_table,
    worst_table,
)
from ebm_tracker.evaluation.report.tables import Figure, Table, cell_text
from ebm_tracker.evaluation.result_tree import find_results

PERFECT = 2000 / 21  # of 21 thresholds the last, 1, is never passed
HALF = 1000 / 21  # IoU 0.5 passes 0, 0.05, ..., 0.45


def texts(table: Table) -> list[list[str]]:
    return [[cell_text(c, column) for c, column in zip(r.cells, table.columns, strict=True)] for r in table.rows]


def test_scores_are_the_closed_forms_and_partial_ones_are_marked(tiny: Any) -> None:
    report = tiny.report()
    table = score_table(report, report.sections[0])
    assert [c.heading for c in table.columns] == ["Tracker", "AUC", "OP50", "OP75", "Precision", "Runs", "Sequences"]
    assert texts(table) == [
        ["ours exact", "95.2", "100.0", "100.0", "100.0", "1", "3"],
        ["ours half", "47.6", "0.0", "0.0", "100.0", "1", "2 of 3"],
    ]
    assert [row.partial for row in table.rows] == [False, True]
    auc = [row.cells[1] for row in table.rows]
    assert [cell.value for cell in auc if isinstance(cell, Figure)] == pytest.approx([PERFECT, HALF])


def test_the_rules_stand_under_every_table(tiny: Any) -> None:
    report = tiny.report("plain", "pytracking")
    assert [section.flavour.name for section in report.sections] == ["plain", "pytracking"]
    for section in report.sections:
        tables = [
            score_table(report, section),
            common_table(report, section),
            sequence_table(report, section),
            attribute_table(report, section),
            *(worst_table(report, section, scores) for scores in section.trackers),
        ]
        for table in tables:
            assert table is not None
            assert section.flavour.title in table.title or section.flavour.title in table.notes[0]
            assert section.flavour.rules in table.notes[0]


def test_truncation_is_said(tiny: Any) -> None:
    report = tiny.report(truncate=True)
    assert any("--truncate" in note for note in score_table(report, report.sections[0]).notes)
    plain = tiny.report()
    assert not any("--truncate" in note for note in score_table(plain, plain.sections[0]).notes)


def test_published_rows_are_of_the_same_flavour_only(tiny: Any) -> None:
    report = tiny.report("pytracking", "plain")
    with_rows, without = (score_table(report, section) for section in report.sections)
    published = [row for row in with_rows.rows if row.published]
    expected = [row for row in published_rows("uav") if row.metrics == "pytracking"]
    assert expected and [row.cells[0] for row in published] == [row.tracker for row in expected]
    assert all(str(row.cells[-1]).startswith("published: ") for row in published)
    assert [row.cells[-1] for row in with_rows.rows if not row.published] == ["measured", "measured"]
    assert not any(row.published for row in without.rows)
    hidden = tiny.report("pytracking", published=False)
    assert not any(row.published for row in score_table(hidden, hidden.sections[0]).rows)


def test_a_fair_table_over_the_common_sequences_comes_when_coverage_differs(tiny: Any) -> None:
    report = tiny.report()
    section = report.sections[0]
    assert common_sequences(section) == ("car #1", "dog")
    table = common_table(report, section)
    assert table is not None and "the 2 sequences that all trackers have" in table.title
    assert [row[:2] for row in texts(table)] == [["ours exact", "95.2"], ["ours half", "47.6"]]
    assert [row.cells[1].best for row in table.rows if isinstance(row.cells[1], Figure)] == [True, False]
    whole = replace(tiny, results=tiny.results[:1]).report()
    assert common_table(whole, whole.sections[0]) is None


def test_zeros_in_place_of_missing_results_are_no_common_sequences(tiny: Any) -> None:
    """The server of TrackingNet judges a missing file as zeros: it counts in the figures, but is still missing."""
    report = tiny.report("trackingnet")
    section = report.sections[0]
    assert set(section.trackers[1].sequences) == {"car #1", "dog", "kite"}
    assert common_sequences(section) == ("car #1", "dog")
    assert score_table(report, section).rows[1].cells[-1] == "2 of 3"
    turned = replace(tiny, results=tiny.results[::-1]).report("trackingnet")
    assert common_sequences(turned.sections[0]) == ("car #1", "dog")


def test_coverage_counts_against_the_official_number(tiny: Any) -> None:
    benchmark = replace(tiny.benchmark, official_count=123)
    report = gather_report(benchmark, tiny.results, ("plain",))
    covered = coverage(report.sections[0].trackers[0], benchmark)
    assert covered.partial and str(covered) == "3 of 123 sequences"


def test_sequences_are_listed_with_all_figures(tiny: Any) -> None:
    report = tiny.report()
    rows = texts(sequence_rows(report, report.sections[0]))
    assert rows[0] == ["plain", "ours exact", "car #1", "4", "OCC SV", "95.2", "100.0", "100.0", "100.0"]
    assert [row[1:3] for row in rows[3:]] == [["ours half", "car #1"], ["ours half", "dog"]]
    wide = sequence_table(report, report.sections[0])
    assert texts(wide) == [["car #1", "4", "95.2", "47.6"], ["dog", "4", "95.2", "47.6"], ["kite", "4", "95.2", "-"]]


def test_the_worst_come_first_with_what_others_reach(tiny: Any, write_result: Callable[..., None]) -> None:
    folder = tiny.results[1].folders[0]
    write_result(folder, "dog", (40.0, 40.0, 20.0, 20.0))  # no overlap, and the first frame is not judged
    report = tiny.report()
    table = worst_table(report, report.sections[0], report.sections[0].trackers[1])
    assert texts(table) == [
        ["dog", "4", "0.0", "0.0", "0.0", "0.0", "95.2", "ours exact"],
        ["car #1", "4", "47.6", "0.0", "0.0", "100.0", "95.2", "ours exact"],
    ]
    one = worst_table(report, report.sections[0], report.sections[0].trackers[1], count=1)
    assert len(one.rows) == 1 and one.title.startswith("ours half: worst 1 of 2 sequences")


def test_attributes_average_over_their_sequences(tiny: Any, write_result: Callable[..., None]) -> None:
    write_result(tiny.results[1].folders[0], "dog", (40.0, 40.0, 20.0, 20.0))
    report = tiny.report()
    table = attribute_table(report, report.sections[0])
    assert table is not None
    assert texts(table) == [["OCC", "2", "95.2", f"{HALF / 2:.1f}"], ["SV", "1", "95.2", "47.6"]]
    assert "Figures of ours half are over those" in table.notes[-1]
    assert not any(cell.best for row in table.rows for cell in row.cells if isinstance(cell, Figure))
    two = gather_report(tiny.benchmark.only(["car #1", "dog"]), tiny.results, ("plain",))
    both = attribute_table(replace(two, benchmark=replace(two.benchmark, official_count=None)), two.sections[0])
    assert both is not None and len(both.notes) == 1
    assert [cell.best for cell in both.rows[0].cells if isinstance(cell, Figure)] == [False, True, False]
    bare = replace(tiny.benchmark, sequences=tuple(replace(s, attributes=()) for s in tiny.benchmark.sequences))
    plain = gather_report(bare, tiny.results, ("plain",))
    assert attribute_table(plain, plain.sections[0]) is None


def session(workers_per_device: int, device: str = "cpu") -> dict[str, object]:
    return {
        "host": "h",
        "processor": "CPU x2",
        "device": device,
        "threads": 1,
        "workers": workers_per_device,
        "workers_per_device": workers_per_device,
        "versions": {"python": "3.12"},
        "alone": True,
    }


@pytest.mark.parametrize(
    ("workers", "said"), [(1, "one worker"), (2, "several workers side by side: slower than alone")]
)
def test_speed_says_how_the_times_were_taken(tiny: Any, workers: int, said: str) -> None:
    manifest = {"tracker": "ours", "parameter": "exact", "seed": 0, "box_format": "precise", "facts": {}}
    path = tiny.results[0].folders[0] / "ebm_run.json"
    path.write_text(json.dumps({**manifest, "sessions": [session(workers)]}))
    table = speed_table(tiny.report())
    assert table is not None
    assert texts(table) == [
        ["ours exact", "50.0", said, "CPU x2"],
        ["ours half", "-", "no times beside the results", "-"],
    ]


def test_speed_without_a_manifest_is_not_trusted(tiny: Any) -> None:
    table = speed_table(tiny.report())
    assert table is not None and texts(table)[0][2] == "not known how many workers"
    (tiny.results[0].folders[0] / "ebm_run.json").write_text("{")
    report = tiny.report()
    table = speed_table(report)
    assert table is not None and texts(table)[0][2] == "not known how many workers"
    assert any("ebm_run.json is damaged" in problem for problem in report.problems)


def test_runs_are_averaged_with_their_spread(tiny: Any, write_result: Callable[..., None]) -> None:
    root = tiny.root / "results" / "ours"
    for sequence in tiny.benchmark.sequences:
        write_result(root / "both_000", sequence.name, (10.0, 10.0, 20.0, 20.0))
        write_result(root / "both_001", sequence.name, (10.0, 10.0, 20.0, 10.0))
    report = gather_report(tiny.benchmark, [find_results(root / "both")], ("plain",))
    (row,) = score_table(report, report.sections[0]).rows
    auc = row.cells[1]
    assert isinstance(auc, Figure)
    assert auc.value == pytest.approx((PERFECT + HALF) / 2)
    assert auc.spread == pytest.approx(np.std([PERFECT, HALF], ddof=1))
    assert texts(score_table(report, report.sections[0]))[0][5] == "2"


def test_all_problems_are_listed_once_and_the_rest_goes_on(tiny: Any) -> None:
    folder = tiny.results[1].folders[0]
    (folder / "car #1.txt").write_text("1,2,3\n")
    benchmark = replace(tiny.benchmark, problems=("boat: no images",))
    report = gather_report(benchmark, tiny.results, ("plain", "pytracking"))
    assert len(report.problems) == len(set(report.problems)) == 3
    assert report.problems[0] == "boat: no images"
    assert any("car #1.txt, line 1" in problem for problem in report.problems)
    assert any("kite" in problem for problem in report.problems)
    assert texts(score_table(report, report.sections[0]))[1][-1] == "1 of 3"


def test_a_tracker_without_any_usable_result_is_left_out_with_a_sentence(tiny: Any) -> None:
    for path in tiny.results[1].folders[0].glob("*.txt"):
        path.unlink()
    report = tiny.report()
    assert report.names == ("ours exact",)
    assert report.problems[0].startswith("ours half")
    with pytest.raises(ReportError, match="ours half"):
        gather_report(tiny.benchmark, tiny.results[1:], ("plain",))


def test_what_cannot_be_reported_is_refused(tiny: Any) -> None:
    with pytest.raises(ReportError, match="--names"):
        gather_report(tiny.benchmark, [tiny.results[0], tiny.results[0]], ("plain",))
    secret = replace(
        tiny.benchmark,
        sequences=tuple(replace(s, truth_xywh=s.truth_xywh[:1]) for s in tiny.benchmark.sequences),
    )
    with pytest.raises(ReportError, match="server"):
        gather_report(secret, tiny.results, ("plain",))
