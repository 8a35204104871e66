"""What each flavour makes of boxes that are NaN, turned over, without area, too few or too many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ebm_tracker.evaluation.scoring import FLAVOURS, ScoringError, SequenceScores, flavour
from ebm_tracker.evaluation.sequences import TrackingSequence

Make = Callable[..., TrackingSequence]
BOX = (10.0, 10.0, 20.0, 20.0)
NAN = (np.nan,) * 4
N = 10


@pytest.fixture
def judge(with_truth: Make) -> Callable[..., SequenceScores]:
    def judge(metrics: str, benchmark: str, bad: dict[int, tuple[float, ...]], rows: int = N) -> SequenceScores:
        """A perfect result of N frames but for the bad rows, cut or repeated to ``rows``."""
        predicted = np.array([BOX] * rows)
        for row, box in bad.items():
            predicted[row] = box
        return flavour(metrics, benchmark).judge(predicted, with_truth([BOX] * N, size_wh=(640, 480)))

    return judge


ALL = [
    ("pytracking", "otb"),
    ("pytracking", "uav"),
    ("pytracking", "lasot"),
    ("got10k", "otb"),
    ("got10k", "got10k_val"),
    ("trackingnet", "trackingnet"),
    ("lasot", "lasot"),
    ("plain", "folder"),
]
HIT, MISS = 100.0, 90.0


def main_figure(scores: SequenceScores) -> float:
    """The main figure with its upper bound as 100."""
    name, value = next(iter(scores.figures.items()))
    return value * 21 / 20 if name == "AUC" else value


@pytest.mark.parametrize(("metrics", "benchmark"), ALL)
def test_nan(metrics: str, benchmark: str, judge: Callable[..., SequenceScores]) -> None:
    for bad in (NAN, (10, np.inf, 20, 20)):
        if metrics == "pytracking":
            with pytest.raises(ScoringError, match=r"^row 5 is not four numbers, .* \(1 of 10 rows\)$"):
                judge(metrics, benchmark, {4: bad})
            continue
        scores = judge(metrics, benchmark, {4: bad})
        if metrics == "lasot":
            assert main_figure(scores) == pytest.approx(HIT)
        else:
            judged = N - 1 if benchmark in ("got10k_val", "folder") else N
            assert main_figure(scores) == pytest.approx(100 * (judged - 1) / judged)
        assert scores.notes[0].startswith("1 of 10 rows are not numbers, the first is row 5: they ")
        assert all(np.isfinite(list(scores.figures.values())))


@pytest.mark.parametrize(("metrics", "benchmark"), ALL)
def test_a_negative_side(metrics: str, benchmark: str, judge: Callable[..., SequenceScores]) -> None:
    turned = (30.0, 10.0, -15.0, 20.0)
    if metrics == "pytracking":
        with pytest.raises(ScoringError, match=r"^row 5 has a negative side, .* \(1 of 10 rows\)$"):
            judge(metrics, benchmark, {4: turned})
        return
    score = main_figure(judge(metrics, benchmark, {4: turned}))
    if metrics == "lasot":
        assert score == pytest.approx(HIT)  # the row before
    elif metrics == "trackingnet":
        assert score == pytest.approx(MISS + 100 * 0.025 / 10)  # overlap 0 reaches the threshold 0
    else:
        judged = N - 1 if benchmark in ("got10k_val", "folder") else N
        assert score == pytest.approx(100 * (judged - 1) / judged)


@pytest.mark.parametrize(("metrics", "benchmark"), ALL)
@pytest.mark.parametrize("flat", [(10.0, 10.0, 0.0, 20.0), (10.0, 10.0, 20.0, 0.0)])
def test_a_side_of_zero(
    metrics: str, benchmark: str, flat: tuple[float, ...], judge: Callable[..., SequenceScores]
) -> None:
    score = main_figure(judge(metrics, benchmark, {4: flat, 5: flat}))
    if metrics in ("pytracking", "lasot"):
        assert score == pytest.approx(HIT)  # the last row before that has an area
    elif metrics == "trackingnet":
        assert score == pytest.approx(80 + 2 * 100 * 0.025 / 10)
    else:
        judged = N - 1 if benchmark in ("got10k_val", "folder") else N
        assert score == pytest.approx(100 * (judged - 2) / judged)


@pytest.mark.parametrize(("metrics", "benchmark"), ALL)
def test_too_few(metrics: str, benchmark: str, judge: Callable[..., SequenceScores]) -> None:
    if metrics == "lasot" or benchmark in ("lasot", "got10k_val"):
        with pytest.raises(ScoringError, match="^8 boxes for 10 true ones: "):
            judge(metrics, benchmark, {}, rows=8)
        return
    scores = judge(metrics, benchmark, {}, rows=8)
    counts_as_miss = metrics in ("pytracking", "trackingnet")
    assert main_figure(scores) == pytest.approx(80 if counts_as_miss else HIT)
    (note,) = scores.notes
    assert note.startswith("8 boxes for 10 true ones: ") and ("misses" in note) == counts_as_miss
    assert len(scores.overlaps) == N


@pytest.mark.parametrize(("metrics", "benchmark"), ALL)
def test_too_many(metrics: str, benchmark: str, judge: Callable[..., SequenceScores]) -> None:
    if benchmark == "got10k_val":
        with pytest.raises(ScoringError, match="^13 boxes for 10 true ones: "):
            judge(metrics, benchmark, {}, rows=13)
        return
    scores = judge(metrics, benchmark, {}, rows=13)
    assert main_figure(scores) == pytest.approx(HIT)
    assert scores.notes == ("13 boxes for 10 true ones: the rest is not used",)
    assert len(scores.overlaps) == N


@pytest.mark.parametrize("metrics", FLAVOURS)
def test_nothing_to_judge(metrics: str, with_truth: Make) -> None:
    rules = FLAVOURS[metrics]
    with pytest.raises(ScoringError, match="no box"):
        rules.judge(np.zeros((0, 4)), with_truth([BOX] * 3))
    with pytest.raises(ScoringError, match="true boxes of secret are not known beyond the first frame"):
        rules.judge(np.array([BOX] * 3), with_truth([BOX], name="secret"))
    with pytest.raises(ScoringError, match="no sequence to average over"):
        rules.summarize([])
    with pytest.raises(ScoringError, match="no sequence to average over"):
        flavour(metrics, "got10k_val").summarize([])


@pytest.mark.parametrize("metrics", FLAVOURS)
def test_arguments_are_not_changed(metrics: str, with_truth: Make) -> None:
    truth = np.array([BOX] * 4)
    truth[2] = (0, 0, 0, 0)
    predicted = np.array([(-3.5, -4.5, 20, 20), (1, 1, 0, 5), BOX, (900, 5, 7, 8)])
    sequence = with_truth(truth, size_wh=(100, 100))
    for benchmark in ("otb", "got10k_val"):
        before = predicted.copy()
        flavour(metrics, benchmark).judge(predicted, sequence)
        np.testing.assert_array_equal(predicted, before)
        np.testing.assert_array_equal(sequence.truth_xywh, truth)


def test_pytracking_refuses_nan_in_the_truth_but_on_uav123(with_truth: Make) -> None:
    sequence = with_truth([BOX, NAN, BOX], name="odd")
    with pytest.raises(ScoringError, match="true boxes of odd hold NaN"):
        flavour("pytracking", "otb").judge(np.array([BOX] * 3), sequence)
    assert flavour("pytracking", "uav").judge(np.array([BOX] * 3), sequence).frames == 3


def test_pytracking_keeps_a_flat_box_where_the_truth_is_nan(with_truth: Make) -> None:
    # Row 2 keeps its zeros, as nothing is known there; row 3 takes them over from it.
    predicted = np.array([BOX, BOX, (0, 0, 0, 0), (5, 5, 0, 5), BOX])
    scores = flavour("pytracking", "uav").judge(predicted, with_truth([BOX, BOX, NAN, BOX, BOX]))
    np.testing.assert_array_equal(scores.overlaps, [1, 1, np.nan, 0, 1])


def test_pytracking_fills_after_it_replaces(with_truth: Make) -> None:
    scores = flavour("pytracking", "otb").judge(np.array([BOX, BOX]), with_truth([BOX] * 4))
    assert scores.overlaps.tolist() == [1, 1, 0, 0]


def test_pytracking_does_not_read_the_labels_of_got10k(with_truth: Make) -> None:
    sequence = with_truth([BOX] * 4, visible=[True, True, False, False])
    boxes = np.array([BOX] * 4)
    assert flavour("pytracking", "got10k_val").judge(boxes, sequence).figures["OP50"] == 100
    assert flavour("pytracking", "lasot_train").judge(boxes, sequence).figures["OP50"] == 50


@pytest.mark.parametrize(
    ("metrics", "benchmark"), [("pytracking", "lasot"), ("lasot", "lasot"), ("got10k", "got10k_val")]
)
def test_too_few_flags(metrics: str, benchmark: str, with_truth: Make) -> None:
    sequence = with_truth([BOX] * 4, visible=[True] * 3, name="odd")
    with pytest.raises(ScoringError, match="odd has 4 true boxes but 3 flags"):
        flavour(metrics, benchmark).judge(np.array([BOX] * 4), sequence)


def test_plain_equals_score_boxes(with_truth: Make, random_boxes: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    from ebm_tracker.evaluation.metrics import score_boxes

    rng = np.random.default_rng(0)
    for _ in range(30):
        truth, predicted = random_boxes(rng, 40, nan=True)
        predicted[rng.random(40) < 0.1] = np.nan
        predicted = predicted[: rng.integers(20, 41)]
        expected = score_boxes(predicted, truth)
        scores = flavour("plain").judge(predicted, with_truth(truth))
        assert scores.figures == pytest.approx(
            {
                "AUC": 100 * expected.auc,
                "OP50": 100 * expected.op50,
                "OP75": 100 * expected.op75,
                "Precision": 100 * expected.precision,
            }
        )
        assert scores.frames == expected.frames == (~np.isnan(scores.overlaps)).sum()


def test_unknown_name() -> None:
    with pytest.raises(ScoringError, match="no metrics 'otb', only pytracking, got10k, trackingnet, lasot, plain"):
        flavour("otb", "otb")


@pytest.mark.parametrize("benchmark", ["", "uav", "lasot", "got10k_val"])
@pytest.mark.parametrize("metrics", FLAVOURS)
def test_facts(metrics: str, benchmark: str) -> None:
    rules = flavour(metrics, benchmark)
    assert rules.name == metrics and rules.title
    assert rules.rules.count(". ") == 1 and rules.rules.endswith(".")
    assert rules.success_thresholds[[0, -1]].tolist() == [0, 1]
    assert (0.5 in rules.success_thresholds) and (0.75 in rules.success_thresholds)
    assert rules.pools_frames == (metrics == "got10k" and benchmark == "got10k_val")
    assert rules.missing_is_zeros == (metrics == "trackingnet")
