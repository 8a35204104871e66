"""The flavour "got10k" against the toolkit itself, version 0.1.3: its own reports, from result files.

Where the definitions do not coincide, the toolkit's own is left out here: it refuses results whose length differs from
the truth's on OTB and its like (a later one cuts both, as we do), and a NaN in a result on GOT-10k makes its AO NaN
(here overlap 0). Without the toolkit its numbers come from got10k_numbers.json, which `python THIS_FILE` writes.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebm_tracker.evaluation.scoring import SequenceScores, flavour
from ebm_tracker.evaluation.sequences import TrackingSequence

NUMBERS = Path(__file__).with_name("got10k_numbers.json")
SIZE_WH = (180, 150)
BINS = {"nbins_iou": 21, "nbins_ce": 51}
KEYS = {"AUC": "success_score", "OP50": "success_rate", "Precision": "precision_score"}

Make = Callable[..., TrackingSequence]
RandomBoxes = Callable[..., tuple[np.ndarray, np.ndarray]]
Case = tuple[np.ndarray, np.ndarray]  # truth, predicted


class FakeData:
    """What the toolkit's experiments ask of a data set."""

    return_meta = False

    def __init__(self, truths: list[np.ndarray], covers: list[np.ndarray] | None = None) -> None:
        self.seq_names = [f"seq-{number}" for number in range(len(truths))]
        self.truths, self.covers = truths, covers

    def __len__(self) -> int:
        return len(self.truths)

    def __getitem__(self, index: int | str) -> tuple[Any, ...]:
        number = self.seq_names.index(index) if isinstance(index, str) else index
        if self.covers is None:
            return [], self.truths[number].copy()
        if number >= len(self):
            raise IndexError
        return [], self.truths[number].copy(), {"cover": self.covers[number], "resolution": str(SIZE_WH)}

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return (self[number] for number in range(len(self)))


def report(kind: str, data: FakeData, results: Path) -> dict[str, Any]:
    """The experiment's report on the tracker "ours" without plots."""
    try:
        from got10k import experiments
    except ImportError as error:
        pytest.skip(f"needs the got10k toolkit: {error}")
    experiment = object.__new__(getattr(experiments, kind))  # __init__ looks for the real data
    bins = {"nbins_iou": 101} if kind == "ExperimentGOT10k" else BINS
    for name, value in {**bins, "dataset": data, "subset": "val"}.items():
        setattr(experiment, name, value)
    experiment.result_dir, experiment.report_dir = str(results), str(results / "reports")
    experiment.plot_curves = lambda *_: None
    with contextlib.redirect_stdout(io.StringIO()):
        return dict(experiment.report(["ours"])["ours"])


def write_rows(path: Path, boxes: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, boxes, fmt="%.3f", delimiter=",")


def cases(make: RandomBoxes, seed: int, count: int, nan_truth: bool) -> list[Case]:
    """Truth with NaN or zeros, predictions with NaN, zero and negative sides."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        n = int(rng.integers(5, 60))
        truth, predicted = make(rng, n, nan=nan_truth)
        truth[1:][rng.random(n - 1) < 0.1] = 0
        predicted[1:][rng.random(n - 1) < 0.05] = np.nan
        predicted[rng.random(n) < 0.05, 2] = -3
        made.append((truth, predicted))
    return made


def one_pass_report(kind: str, made: list[Case], folder: Path) -> dict[str, Any]:
    for number, (_, predicted) in enumerate(made):
        write_rows(folder / "ours" / f"seq-{number}.txt", predicted)
    return report(kind, FakeData([truth for truth, _ in made]), folder)


def assert_one_pass(theirs: dict[str, Any], ours: list[SequenceScores]) -> None:
    total, curves = flavour("got10k", "uav").summarize(ours)
    overall = theirs["overall"]
    np.testing.assert_allclose(curves.success, overall["success_curve"], atol=1e-9)
    np.testing.assert_allclose(curves.precision, overall["precision_curve"], atol=1e-9)
    for ours_name, name in KEYS.items():
        assert total[ours_name] == pytest.approx(100 * overall[name], abs=1e-6)
        for number, score in enumerate(ours):
            assert score.figures[ours_name] == pytest.approx(100 * theirs["seq_wise"][f"seq-{number}"][name], abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "benchmark"), [("ExperimentUAV123", "uav"), ("ExperimentOTB", "otb"), ("ExperimentNfS", "nfs")]
)
def test_one_pass(kind: str, benchmark: str, tmp_path: Path, with_truth: Make, random_boxes: RandomBoxes) -> None:
    made = cases(random_boxes, 7, 25, nan_truth=benchmark == "uav")
    rules = flavour("got10k", benchmark)
    ours = [rules.judge(predicted, with_truth(truth)) for truth, predicted in made]
    assert_one_pass(one_pass_report(kind, made, tmp_path), ours)


def test_short_results_are_compared_as_far_as_they_go(
    tmp_path: Path, with_truth: Make, random_boxes: RandomBoxes
) -> None:
    made = [(truth, predicted[: max(2, len(truth) // 2)]) for truth, predicted in cases(random_boxes, 8, 10, True)]
    ours = [flavour("got10k", "uav").judge(predicted, with_truth(truth)) for truth, predicted in made]
    assert all("only those are compared" in score.notes[0] for score in ours)
    same_length = [(truth[: len(predicted)], predicted) for truth, predicted in made]
    assert_one_pass(one_pass_report("ExperimentUAV123", same_length, tmp_path), ours)


@pytest.mark.parametrize("with_nan", [False, True])
def test_got10k(with_nan: bool, tmp_path: Path, with_truth: Make, random_boxes: RandomBoxes) -> None:
    rng = np.random.default_rng(9)
    made = cases(random_boxes, 9, 20, nan_truth=False)
    if not with_nan:
        made = [(truth, np.nan_to_num(predicted, nan=20.0)) for truth, predicted in made]
    covers = [rng.integers(0, 9, len(truth)) for truth, _ in made]
    rules = flavour("got10k", "got10k_val")
    ours = []
    for number, ((truth, predicted), cover) in enumerate(zip(made, covers, strict=True)):
        cover[1] = 8
        shifted = predicted - [8, 8, 0, 0]  # some corners outside of the image
        home = tmp_path / "ours" / f"seq-{number}"
        write_rows(home / f"seq-{number}_001.txt", shifted)
        write_rows(home / f"seq-{number}_time.txt", np.full((len(truth), 1), 0.25))
        ours.append(rules.judge(shifted, with_truth(truth, cover > 0, SIZE_WH)))
    theirs = report("ExperimentGOT10k", FakeData([truth for truth, _ in made], covers), tmp_path)
    total, curves = rules.summarize(ours)
    np.testing.assert_allclose(curves.success, theirs["overall"]["succ_curve"], atol=1e-9)
    assert total["SR50"] == pytest.approx(100 * theirs["overall"]["sr"], abs=1e-6)
    if with_nan:
        assert np.isnan(theirs["overall"]["ao"]) and 0 < total["AO"] < 100
    else:
        assert total["AO"] == pytest.approx(100 * theirs["overall"]["ao"], abs=1e-6)
        for number, score in enumerate(ours):
            assert score.figures["AO"] == pytest.approx(100 * theirs["seq_wise"][f"seq-{number}"]["ao"], abs=1e-6)


def test_numbers_that_the_toolkit_gave(with_truth: Make) -> None:
    numbers = json.loads(NUMBERS.read_text())
    for benchmark in ("uav", "got10k_val"):
        rules = flavour("got10k", benchmark)
        ours = []
        for row in numbers[benchmark]["sequences"]:
            truth, predicted = (np.array(row[key], np.float64) for key in ("truth", "predicted"))
            cover = np.array(row["cover"]) if "cover" in row else None
            sequence = with_truth(truth, None if cover is None else cover > 0, SIZE_WH)
            ours.append(rules.judge(predicted, sequence))
        assert len(ours) == 4
        total, curves = rules.summarize(ours)
        for name, value in numbers[benchmark]["figures"].items():
            assert total[name] == pytest.approx(value, abs=1e-6), name
        np.testing.assert_allclose(curves.success, numbers[benchmark]["success"], atol=1e-9)


def write_numbers(make: RandomBoxes, folder: Path) -> None:
    """Four short sequences each and what the toolkit says of them."""
    rng = np.random.default_rng(0)
    uav = [(truth[:15], predicted[:15]) for truth, predicted in cases(make, 3, 4, nan_truth=True)]
    overall = one_pass_report("ExperimentUAV123", uav, folder / "uav")["overall"]
    got = [(t[:15], np.nan_to_num(p[:15], nan=20.0) - [8, 8, 0, 0]) for t, p in cases(make, 4, 4, nan_truth=False)]
    covers = [np.concatenate([[8, 8], rng.integers(0, 9, len(truth) - 2)]) for truth, _ in got]
    for number, (truth, predicted) in enumerate(got):
        home = folder / "got" / "ours" / f"seq-{number}"
        write_rows(home / f"seq-{number}_001.txt", predicted)
        write_rows(home / f"seq-{number}_time.txt", np.full((len(truth), 1), 0.25))
    pooled = report("ExperimentGOT10k", FakeData([truth for truth, _ in got], covers), folder / "got")["overall"]
    numbers = {
        "uav": {
            "figures": {ours: 100 * overall[name] for ours, name in KEYS.items()},
            "success": overall["success_curve"],
            "sequences": [{"truth": t.tolist(), "predicted": p.tolist()} for t, p in uav],
        },
        "got10k_val": {
            "figures": {"AO": 100 * pooled["ao"], "SR50": 100 * pooled["sr"]},
            "success": pooled["succ_curve"],
            "sequences": [
                {"truth": t.tolist(), "predicted": p.tolist(), "cover": c.tolist()}
                for (t, p), c in zip(got, covers, strict=True)
            ],
        },
    }
    text = json.dumps(numbers, separators=(",", ":"))
    for start in ('{"truth"', '"got10k_val"'):
        text = text.replace(start, f"\n{start}")
    NUMBERS.write_text(text + "\n")


if __name__ == "__main__":
    import tempfile

    sys.path.insert(0, str(Path(__file__).parent))
    import conftest  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as made:
        write_numbers(conftest.make_random_boxes, Path(made))
