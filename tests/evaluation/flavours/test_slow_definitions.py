"""Every flavour against its definition written out frame by frame, on random boxes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from ebm_tracker.evaluation.scoring import SequenceScores, flavour
from ebm_tracker.evaluation.sequences import TrackingSequence

Make = Callable[..., TrackingSequence]
RandomBoxes = Callable[..., tuple[np.ndarray, np.ndarray]]
Row = list[float]
Values = list[float | None]

T21 = [0.05 * i for i in range(20)] + [1.0]
T51 = list(range(51))
N51 = [i / 100 for i in range(51)]


@dataclass
class Frame:
    """What one frame counts with; None where it is in no curve."""

    overlap: float | None
    error: float | None
    relative: float | None


def iou(a: Row, b: Row) -> float:
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return shared / union if union > 0 else math.nan


def error(a: Row, b: Row, wide: float = 1, high: float = 1) -> float:
    across = (a[0] + a[2] / 2) - (b[0] + b[2] / 2)
    down = (a[1] + a[3] / 2) - (b[1] + b[3] / 2)
    return math.hypot(across / wide, down / high) if wide and high else math.nan


def is_nan(row: Row) -> bool:
    return any(math.isnan(value) for value in row)


def pytracking_frames(predicted: list[Row], truth: list[Row], visible: list[bool] | None, uav: bool) -> list[Frame]:
    rows = [list(row) for row in predicted]
    for i in range(1, min(len(rows), len(truth))):
        if (rows[i][2] == 0 or rows[i][3] == 0) and not is_nan(truth[i]):
            rows[i] = rows[i - 1]
    rows = rows[: len(truth)] + [[0.0] * 4] * (len(truth) - len(rows))
    rows[0] = truth[0]
    frames = []
    for i, (p, g) in enumerate(zip(rows, truth, strict=True)):
        seen = visible is None or visible[i]
        if seen and all(value > 0 for value in g):
            frames.append(Frame(iou(p, g), error(p, g), error(p, g, g[2], g[3])))
        elif not seen:  # flags, as LaSOT has them: a miss three times
            frames.append(Frame(-1, math.inf, math.inf))
        else:
            frames.append(Frame(-1, -1 if uav else math.inf, -1))
    return frames


def lasot_frames(predicted: list[Row], truth: list[Row], visible: list[bool]) -> list[Frame]:
    rows = [list(row) for row in predicted[: len(truth)]]
    for i in range(1, len(rows)):
        if is_nan(rows[i]) or rows[i][2] <= 0 or rows[i][3] <= 0:
            rows[i] = rows[i - 1]
    rows[0] = truth[0]
    frames = []
    for p, g, seen in zip(rows, truth, visible, strict=True):
        if not seen:
            frames.append(Frame(None, None, None))
        elif all(value > 0 for value in g):
            frames.append(Frame(iou(p, g), error(p, g), error(p, g, g[2], g[3])))
        else:
            frames.append(Frame(-1, -1, -1))
    return frames


def trackingnet_frames(predicted: list[Row], truth: list[Row]) -> list[Frame]:
    frames = []
    for i, exact in enumerate(truth):
        g = [float(round(value)) for value in exact]  # Python rounds halves to even too
        p = predicted[i] if i < len(predicted) else [math.nan] * 4
        p = g if i == 0 else p if is_nan(p) else [float(round(value)) for value in p]
        if is_nan(p):
            frames.append(Frame(None, None, None))
        else:
            relative = error(p, g, g[2], g[3])
            frames.append(Frame(iou(p, g), error(p, g), relative))
    return frames


def got10k_otb_frames(predicted: list[Row], truth: list[Row]) -> list[Frame]:
    frames = []
    for i, (p, g) in enumerate(zip(predicted, truth, strict=False)):
        if is_nan(g):
            continue
        p = g if i == 0 else p
        overlap = 0.0 if is_nan(p) else iou(p, g)
        relative = error(p, g, max(1, g[2]), max(1, g[3]))
        frames.append(Frame(0.0 if math.isnan(overlap) else overlap, error(p, g), relative))
    return frames


def counted(values: Values, thresholds: list[float], compare: Callable[[float, float], bool]) -> list[float]:
    """Shares of all frames; None counts nowhere. NaN compares False with everything."""
    return [sum(v is not None and compare(v, t) for v in values) / len(values) for t in thresholds]


def above(a: float, b: float) -> bool:
    return a > b


def at_least(a: float, b: float) -> bool:
    return a >= b


def up_to(a: float, b: float) -> bool:
    return a <= b


def assert_curves(ours: SequenceScores, frames: list[Frame], normalized: bool = True) -> None:
    overlaps, errors, relatives = zip(*((f.overlap, f.error, f.relative) for f in frames), strict=True)
    assert ours.frames == len(frames)
    np.testing.assert_allclose(ours.curves.success, counted(overlaps, T21, above), atol=1e-12)
    np.testing.assert_allclose(ours.curves.precision, counted(errors, T51, up_to), atol=1e-12)
    if normalized:
        relative = counted(relatives, N51, up_to)
        np.testing.assert_allclose(ours.curves.normalized_precision, relative, atol=1e-12)
        assert ours.figures["Norm. Precision"] == pytest.approx(100 * relative[20])
    success, precision = counted(overlaps, T21, above), counted(errors, T51, up_to)
    assert ours.figures["AUC"] == pytest.approx(100 * sum(success) / 21)
    assert ours.figures["OP50"] == pytest.approx(100 * success[10])
    assert ours.figures["OP75"] == pytest.approx(100 * success[15])
    assert ours.figures["Precision"] == pytest.approx(100 * precision[20])


def cut(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """As it is, shorter or longer."""
    kind = rng.integers(3)
    if kind == 0:
        return boxes
    return boxes[: rng.integers(2, len(boxes))] if kind == 1 else np.concatenate([boxes, boxes[-3:]])


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("benchmark", ["uav", "otb", "lasot"])
def test_pytracking(benchmark: str, integers: bool, with_truth: Make, random_boxes: RandomBoxes) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        n = int(rng.integers(5, 80))
        truth, predicted = random_boxes(rng, n, nan=benchmark == "uav", integers=integers)
        visible = (rng.random(n) > 0.1) if benchmark == "lasot" else None
        if benchmark != "lasot":
            predicted = cut(rng, predicted)
        ours = flavour("pytracking", benchmark).judge(predicted, with_truth(truth, visible))
        flags = None if visible is None else visible.tolist()
        assert_curves(ours, pytracking_frames(predicted.tolist(), truth.tolist(), flags, benchmark == "uav"))
        judged = ~np.isnan(ours.overlaps)
        assert judged.sum() == ((truth > 0).all(axis=1) & (True if visible is None else visible)).sum()


def test_lasot(with_truth: Make, random_boxes: RandomBoxes) -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        n = int(rng.integers(5, 80))
        truth, predicted = random_boxes(rng, n)
        visible = rng.random(n) > 0.1
        predicted[1:][rng.random(n - 1) < 0.1] = np.nan
        predicted[rng.random(n) < 0.05, 3] = -4
        if rng.random() < 0.5:
            predicted = np.concatenate([predicted, predicted[:2]])
        ours = flavour("lasot").judge(predicted, with_truth(truth, visible))
        assert_curves(ours, lasot_frames(predicted.tolist(), truth.tolist(), visible.tolist()))


@pytest.mark.parametrize("benchmark", ["otb", "uav", "lasot", "folder"])
def test_got10k_on_otb_and_its_like(benchmark: str, with_truth: Make, random_boxes: RandomBoxes) -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        n = int(rng.integers(5, 80))
        truth, predicted = random_boxes(rng, n, nan=benchmark == "uav")
        predicted[1:][rng.random(n - 1) < 0.1] = np.nan
        predicted = cut(rng, predicted)
        ours = flavour("got10k", benchmark).judge(predicted, with_truth(truth))
        frames = got10k_otb_frames(predicted.tolist(), truth.tolist())
        assert_curves(ours, frames, normalized=False)
        if benchmark == "lasot":
            thresholds = [0.01 * i for i in range(50)] + [0.5]
            curve = counted([f.relative for f in frames], thresholds, up_to)
            np.testing.assert_allclose(ours.curves.normalized_precision, curve, atol=1e-12)
            assert ours.figures["Norm. Precision"] == pytest.approx(100 * sum(curve) / 51)
        else:
            assert ours.curves.normalized_precision is None


def test_trackingnet(with_truth: Make, random_boxes: RandomBoxes) -> None:
    rng = np.random.default_rng(4)
    thresholds = (T21, [2.5 * i for i in range(21)], [0.025 * i for i in range(21)])
    names = ("Success", "Precision", "Norm. Precision")
    for _ in range(40):
        n = int(rng.integers(5, 80))
        truth, predicted = random_boxes(rng, n)
        predicted[1:][rng.random(n - 1) < 0.1] = np.nan
        predicted = cut(rng, predicted)
        ours = flavour("trackingnet").judge(predicted, with_truth(truth))
        frames = trackingnet_frames(predicted.tolist(), truth.tolist())
        columns = zip(*((f.overlap, f.error, f.relative) for f in frames), strict=True)
        ours_curves = (ours.curves.success, ours.curves.precision, ours.curves.normalized_precision)
        compares = (at_least, up_to, up_to)
        for name, curve, values, points, compare in zip(
            names, ours_curves, columns, thresholds, compares, strict=True
        ):
            expected = counted(list(values), points, compare)
            np.testing.assert_allclose(curve, expected, atol=1e-12, err_msg=name)
            area = sum(0.05 * (a + b) / 2 for a, b in zip(expected, expected[1:], strict=False))
            assert ours.figures[name] == pytest.approx(100 * area), name


def test_got10k_on_its_own_set(with_truth: Make, random_boxes: RandomBoxes) -> None:
    rng = np.random.default_rng(5)
    rules = flavour("got10k", "got10k_val")
    wide, high = 180, 150
    scores, pooled = [], []
    for _ in range(20):
        n = int(rng.integers(5, 80))
        truth, predicted = random_boxes(rng, n)
        visible = rng.random(n) > 0.2
        visible[1] = True
        predicted[1:][rng.random(n - 1) < 0.1] = np.nan
        predicted[:, 0] -= 5
        for p, g, seen in list(zip(predicted.tolist(), truth.tolist(), visible, strict=True))[1:]:
            if not seen:
                continue
            clipped = []
            for x, y, w, h in (p, g):
                x, y = min(max(x, 0), wide), min(max(y, 0), high)
                clipped.append([x, y, min(max(w, 0), wide - x), min(max(h, 0), high - y)])
            overlap = 0.0 if is_nan(p) else iou(*clipped)
            pooled.append(0.0 if math.isnan(overlap) else overlap)
        scores.append(rules.judge(predicted, with_truth(truth, visible, (wide, high))))
    total, curves = rules.summarize(scores)
    assert sum(score.frames for score in scores) == len(pooled)
    assert total["AO"] == pytest.approx(100 * sum(pooled) / len(pooled))
    assert total["SR50"] == pytest.approx(100 * sum(v > 0.5 for v in pooled) / len(pooled))
    assert total["SR75"] == pytest.approx(100 * sum(v > 0.75 for v in pooled) / len(pooled))
    thresholds = np.linspace(0, 1, 101).tolist()
    np.testing.assert_allclose(curves.success, counted(list(pooled), thresholds, above), atol=1e-12)
