"""Cases small enough to be worked out by hand; the numbers are those of the benchmarks' description."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ebm_tracker.evaluation.result_tree import BoxFormat, boxes_text
from ebm_tracker.evaluation.scoring import flavour
from ebm_tracker.evaluation.sequences import TrackingSequence

Make = Callable[..., TrackingSequence]
BOX = (10.0, 10.0, 20.0, 20.0)
NAN = (np.nan,) * 4
PERFECT = 100 * 20 / 21  # no overlap is larger than 1


def figures(metrics: str, benchmark: str, predicted: object, sequence: TrackingSequence) -> dict[str, float]:
    rules = flavour(metrics, benchmark)
    scores = rules.judge(np.array(predicted, np.float64), sequence)
    assert tuple(scores.figures) == rules.figures
    total, curves = rules.summarize([scores])
    assert total == pytest.approx(scores.figures)
    for curve, thresholds in (
        (curves.success, rules.success_thresholds),
        (curves.precision, rules.precision_thresholds),
        (curves.normalized_precision, rules.normalized_thresholds),
    ):
        assert (curve is None) == (thresholds is None)
        assert curve is None or thresholds is None or curve.shape == thresholds.shape
    return dict(total)


def near(**expected: float) -> Any:
    return pytest.approx({name.replace("_", ". "): value for name, value in expected.items()}, abs=5e-4)


@pytest.mark.parametrize("benchmark", ["otb", "uav", "lasot", "trackingnet", "got10k_val", "folder"])
def test_1_perfect(benchmark: str, with_truth: Make) -> None:
    # Fractions whose overlap rounding alone would put above 1.
    truth = [(7.7, 3.3, 10.1, 0.7)] * 5 + [(10.1, 1.1, 2.2, 5.3)] * 4
    assert all((x + w) - x > w and (y + h) - y > h for x, y, w, h in truth)
    sequence = with_truth(truth, visible=[True] * 9 if benchmark == "lasot" else None, size_wh=(640, 480))
    hits = {"OP50": 100, "OP75": 100, "Precision": 100}
    assert figures("pytracking", benchmark, truth, sequence) == near(AUC=PERFECT, **hits, Norm_Precision=100)
    assert figures("lasot", benchmark, truth, sequence) == near(AUC=PERFECT, **hits, Norm_Precision=100)
    # Our own judge, which the plain rules equal, keeps what rounding gives.
    assert figures("plain", benchmark, [BOX] * 9, with_truth([BOX] * 9)) == near(AUC=PERFECT, **hits)
    assert figures("trackingnet", benchmark, truth, sequence) == near(Success=100, Precision=100, Norm_Precision=100)
    if benchmark == "got10k_val":
        assert figures("got10k", benchmark, truth, sequence) == near(AO=100, SR50=100, SR75=100)
    elif benchmark == "lasot":
        assert figures("got10k", benchmark, truth, sequence) == near(AUC=PERFECT, **hits, Norm_Precision=100)
    else:
        assert figures("got10k", benchmark, truth, sequence) == near(AUC=PERFECT, **hits)


def test_2_overlap_of_exactly_one_half(with_truth: Make) -> None:
    sequence = with_truth([BOX] * 5, size_wh=(640, 480))
    predicted = [BOX] + [(10, 10, 20, 10)] * 4
    ours = figures("pytracking", "otb", predicted, sequence)
    assert ours["OP50"] == pytest.approx(20) and ours["AUC"] == pytest.approx(100 * 12 / 21)
    assert ours["AUC"] == pytest.approx(57.143, abs=5e-4)
    assert figures("trackingnet", "trackingnet", predicted, sequence)["Success"] == pytest.approx(62)
    assert figures("got10k", "got10k_val", predicted, sequence) == near(AO=50, SR50=0, SR75=0)


def test_3_a_true_box_at_the_border(with_truth: Make) -> None:
    truth = [BOX, (0, 10, 20, 20)]
    sequence = with_truth(truth)
    assert figures("pytracking", "otb", truth, sequence)["AUC"] == pytest.approx(PERFECT / 2)
    scores = flavour("pytracking", "otb").judge(np.array(truth, float), sequence)
    assert scores.overlaps[0] == 1 and np.isnan(scores.overlaps[1]) and scores.frames == 2
    assert figures("got10k", "otb", truth, sequence)["AUC"] == pytest.approx(PERFECT)
    assert flavour("got10k", "otb").judge(np.array(truth, float), sequence).overlaps.tolist() == [1, 1]


def test_4_absent_on_uav123(with_truth: Make) -> None:
    truth = np.array([BOX] * 10)
    truth[[3, 7]] = np.nan
    predicted = [BOX] * 10
    ours = figures("pytracking", "uav", predicted, with_truth(truth))
    assert ours["AUC"] == pytest.approx(76.190, abs=5e-4) and ours["Precision"] == pytest.approx(100)
    assert figures("got10k", "uav", predicted, with_truth(truth))["AUC"] == pytest.approx(95.238, abs=5e-4)


@pytest.mark.parametrize("absent", [BOX, (0, 0, 0, 0)])
def test_5_absent_on_lasot(absent: tuple[float, ...], with_truth: Make) -> None:
    truth = np.array([BOX] * 10)
    truth[[3, 7]] = absent
    visible = np.ones(10, bool)
    visible[[3, 7]] = False
    ours = figures("pytracking", "lasot", [BOX] * 10, with_truth(truth, visible))
    assert ours == near(AUC=76.190, OP50=80, OP75=80, Precision=80, Norm_Precision=80)


def test_6_a_shift_of_25_pixels(with_truth: Make) -> None:
    sequence = with_truth([BOX] * 11)
    predicted = [BOX] + [(35, 10, 20, 20)] * 10
    assert figures("pytracking", "otb", predicted, sequence)["Precision"] == pytest.approx(100 / 11)
    server = figures("trackingnet", "trackingnet", predicted, sequence)["Precision"]
    assert server == pytest.approx(100 * 0.05 * (10 / 11 + 11 - (1 / 11 + 1) / 2))
    assert server == pytest.approx(56.82, abs=5e-3)


def test_7_never_on_the_target(with_truth: Make) -> None:
    n = 20
    sequence = with_truth([BOX] * n)
    predicted = [(300, 300, 20, 20)] * n
    server = figures("trackingnet", "trackingnet", predicted, sequence)["Success"]
    # The threshold 0 is reached by all frames, the others by the first alone.
    assert server == pytest.approx(100 * (1 / n + 0.05 * (1 - 1 / n) / 2))
    assert server >= 2.5
    assert figures("pytracking", "otb", predicted, sequence)["AUC"] == pytest.approx(PERFECT / n)


def test_8_written_towards_zero() -> None:
    assert boxes_text(np.array([[10.9, -0.4, 5.6, 7.99]]), BoxFormat.PYTRACKING) == "10\t0\t5\t7\n"


def test_9_got10k_leaves_out_the_first_frame_and_what_is_covered(with_truth: Make) -> None:
    predicted = np.array([BOX] + [(10, 10, 20, 8)] * 4, float)
    sequence = with_truth([BOX] * 5, size_wh=(640, 480))
    assert figures("got10k", "got10k_val", predicted, sequence) == near(AO=40, SR50=0, SR75=0)
    predicted[2] = BOX
    covered = with_truth([BOX] * 5, visible=[True, True, False, True, True], size_wh=(640, 480))
    assert figures("got10k", "got10k_val", predicted, covered)["AO"] == pytest.approx(40)
    scores = flavour("got10k", "got10k_val").judge(predicted, covered)
    np.testing.assert_allclose(scores.overlaps, [np.nan, 0.4, np.nan, 0.4, 0.4])
    assert scores.frames == 3 and scores.mean_overlap == pytest.approx(40)


def test_10_got10k_clips_the_corner_and_not_the_side(with_truth: Make) -> None:
    sequence = with_truth([BOX, (0, 10, 10, 20)], size_wh=(640, 480))
    predicted = [BOX, (-5, 10, 15, 20)]
    assert figures("got10k", "got10k_val", predicted, sequence)["AO"] == pytest.approx(100 * 10 / 15)
    unknown = with_truth([BOX, (0, 10, 10, 20)])
    scores = flavour("got10k", "got10k_val").judge(np.array(predicted, float), unknown)
    assert scores.figures["AO"] == pytest.approx(100 * 10 / 15)  # 10 of 15 as well
    assert "size of the frames" in scores.notes[0]


def test_got10k_clips_at_the_far_side(with_truth: Make) -> None:
    sequence = with_truth([BOX, (90, 10, 10, 20)], size_wh=(100, 50))
    assert figures("got10k", "got10k_val", [BOX, (90, 10, 40, 20)], sequence)["AO"] == pytest.approx(100)


def test_got10k_pools_frames(with_truth: Make) -> None:
    rules = flavour("got10k", "got10k_val")
    short = rules.judge(np.array([BOX] * 3), with_truth([BOX] * 3, size_wh=(99, 99)))
    far = np.array([BOX] + [(60, 60, 9, 9)] * 6)
    long = rules.judge(far, with_truth([BOX] * 7, size_wh=(99, 99)))
    total, curves = rules.summarize([short, long])
    assert total == near(AO=25, SR50=25, SR75=25)  # two frames of eight
    assert curves.success[:100] == pytest.approx(0.25)


def test_trackingnet_rounds_halves_to_even(with_truth: Make) -> None:
    truth = [BOX, (10.5, 10, 20, 20), (11.5, 10, 20, 20)]
    rounded = [BOX, (10, 10, 20, 20), (12, 10, 20, 20)]
    assert figures("trackingnet", "trackingnet", rounded, with_truth(truth))["Success"] == pytest.approx(100)


def test_trackingnet_missing_is_zeros_and_short_is_not(with_truth: Make) -> None:
    sequence = with_truth([BOX] * 4)
    zeros = figures("trackingnet", "trackingnet", np.zeros((4, 4)), sequence)
    short = figures("trackingnet", "trackingnet", [BOX], sequence)
    nan = figures("trackingnet", "trackingnet", [BOX, NAN, NAN, NAN], sequence)
    assert zeros["Success"] == pytest.approx(100 * (1 / 4 + 0.05 * (3 / 4) / 2))
    assert short["Success"] == nan["Success"] == pytest.approx(25)
    # Zeros have a centre, 28.3 pixels and a whole side off: a hit from 30 pixels on.
    assert short["Precision"] == pytest.approx(25) and zeros["Precision"] > 25
    assert short["Norm. Precision"] == zeros["Norm. Precision"] == pytest.approx(25)


def test_normalised_error_of_got10k_on_lasot_is_the_mean(with_truth: Make) -> None:
    # 4 of 20 pixels off: 0.2 of the side, reached by 31 of the 51 thresholds.
    sequence = with_truth([BOX] * 5)
    got = figures("got10k", "lasot", [BOX] + [(14, 10, 20, 20)] * 4, sequence)
    assert got["Norm. Precision"] == pytest.approx(100 * (1 + 4 * 31 / 51) / 5)
    # A side of half a pixel counts as one.
    thin = with_truth([BOX] + [(10, 10, 0.5, 20)] * 4)
    got = figures("got10k", "lasot", [BOX] + [(10.25, 10, 0.5, 20)] * 4, thin)
    assert got["Norm. Precision"] == pytest.approx(100 * (1 + 4 * 26 / 51) / 5)


def test_lasot_toolkit_keeps_absent_frames_in_the_divisor_only(with_truth: Make) -> None:
    truth = np.array([BOX] * 10)
    truth[5] = (10, 10, 0, 20)  # flagged visible, not valid: misses in overlap, its centre hits
    visible = np.ones(10, bool)
    visible[[3, 7]] = False
    got = figures("lasot", "lasot", [BOX] * 10, with_truth(truth, visible))
    assert got == near(AUC=0.7 * PERFECT, OP50=70, OP75=70, Precision=80, Norm_Precision=80)


def test_lasot_toolkit_leaves_out_curves_of_zeros(with_truth: Make) -> None:
    rules = flavour("lasot")
    seen = rules.judge(np.array([BOX] * 4), with_truth([BOX] * 4))
    unseen = rules.judge(np.array([BOX] * 4), with_truth([BOX] * 4, visible=[False] * 4))
    assert unseen.figures["AUC"] == 0
    assert rules.summarize([seen, unseen])[0] == pytest.approx(seen.figures)
    assert rules.summarize([unseen, unseen])[0]["AUC"] == 0
    assert flavour("pytracking", "lasot").summarize([seen, unseen])[0]["AUC"] == pytest.approx(PERFECT / 2)
