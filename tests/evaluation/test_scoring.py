"""Result files in, scores out: runs, repetitions, speed, and files with something wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.result_tree import TrackerResults, find_results
from ebm_tracker.evaluation.scoring import ScoringError, TrackerScores, average_runs, flavour, score_tracker
from ebm_tracker.evaluation.sequences import TrackingSequence

BOX = (10.0, 10.0, 20.0, 20.0)
HALF = (10.0, 10.0, 20.0, 10.0)  # overlap 0.5
FAR = (300.0, 300.0, 20.0, 20.0)
BOUND = 100 * 20 / 21
NAMES = ("bike1", "boat2", "car3")
N = 10


class NoFrames:
    """Scores need none."""

    name = "made"
    frames_per_second = 25.0
    frame_count: int | None = None
    bad_frames = 0

    def __iter__(self) -> Iterator[np.ndarray | None]:
        raise AssertionError("scoring reads no frames")


def sequence(name: str, frames: int = N, visible: object = None) -> TrackingSequence:
    flags = None if visible is None else np.array(visible, dtype=bool)
    return TrackingSequence(name, NoFrames(), BOX, np.array([BOX] * frames), flags, (640, 480))


def benchmark(name: str = "otb", *sequences: TrackingSequence) -> Benchmark:
    return Benchmark(name, name.upper(), sequences or tuple(map(sequence, NAMES)), None, 1, "pytracking")


def rows(*boxes: tuple[float, ...], tail: tuple[float, ...] = BOX, frames: int = N) -> str:
    """A result that ends with ``tail`` repeated."""
    boxes = (*boxes, *(tail,) * (frames - len(boxes)))
    return "".join(",".join(map(str, box)) + "\n" for box in boxes)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(texts: dict[str, str], run: str = "default") -> Path:
        folder = tmp_path / "results" / "ebm" / run
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / f"{name}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path / "results" / "ebm" / "default"

    return write


def score(
    path: Path, metrics: str = "pytracking", of: Benchmark | None = None, truncate: bool = False
) -> TrackerScores:
    of = of or benchmark()
    return score_tracker(find_results(path), of, flavour(metrics, of.name), truncate=truncate)


def test_one_run(write: Write) -> None:
    path = write({"bike1": rows(), "boat2": rows(BOX, tail=HALF), "car3": rows(*[BOX] * 5, tail=FAR)})
    scores = score(path)
    assert (scores.name, scores.runs, scores.sequence_count) == ("ebm default", 1, 3)
    assert list(scores.sequences) == list(NAMES)
    assert scores.sequences["bike1"].figures["AUC"] == pytest.approx(BOUND)
    assert scores.sequences["boat2"].figures["OP50"] == pytest.approx(10)
    assert scores.sequences["car3"].figures["AUC"] == pytest.approx(BOUND / 2)
    assert scores.figures["OP50"] == pytest.approx((100 + 10 + 50) / 3)
    assert scores.run_figures == (pytest.approx(scores.figures),)
    np.testing.assert_allclose(
        scores.curves.success, np.mean([s.curves.success for s in scores.sequences.values()], axis=0)
    )
    assert scores.missing == scores.problems == () and scores.frames_per_second is None
    assert not scores.pools_frames


def test_runs_are_averaged_by_sequence(write: Write) -> None:
    write({name: rows() for name in NAMES}, "default_000")
    write({"bike1": rows(), "boat2": rows(BOX, tail=HALF), "car3": rows(BOX, tail=FAR)}, "default_001")
    path = write({"bike1": rows(), "boat2": rows(), "car3": rows()}, "default_002")
    scores = score(path)
    assert scores.runs == len(scores.run_figures) == 3
    assert [run["OP50"] for run in scores.run_figures] == pytest.approx([100, 40, 100])
    assert scores.sequences["car3"].figures["OP50"] == pytest.approx((100 + 10 + 100) / 3)
    assert scores.sequences["car3"].overlaps[1:] == pytest.approx(2 / 3)
    assert scores.figures["OP50"] == pytest.approx(80)
    assert scores.figures["AUC"] == pytest.approx(100 * scores.curves.success.mean())


def test_a_run_that_lacks_a_sequence(write: Write) -> None:
    write({name: rows() for name in NAMES}, "default_000")
    path = write({"bike1": rows(BOX, tail=FAR)}, "default_001")
    scores = score(path)
    assert scores.sequences["bike1"].figures["OP50"] == pytest.approx(55)
    assert scores.sequences["car3"].figures["OP50"] == pytest.approx(100)
    assert [run["OP50"] for run in scores.run_figures] == pytest.approx([100, 10])
    assert scores.missing == ()
    (problem,) = scores.problems
    assert problem == f"{path}_001 has no result of 2 of 3 sequences: boat2, car3"


def test_repetitions_in_one_folder_are_runs(write: Write) -> None:
    texts = {f"{name}/{name}_{run:03d}": rows(BOX, tail=BOX if run == 1 else FAR) for name in NAMES for run in (1, 2)}
    scores = score(write(texts), "got10k", benchmark("got10k_val"))
    assert scores.runs == 2 and scores.pools_frames
    assert [run["AO"] for run in scores.run_figures] == pytest.approx([100, 0])
    assert scores.figures["AO"] == pytest.approx(50)


def test_got10k_pools_frames(write: Write) -> None:
    of = benchmark("got10k_val", sequence("bike1", 3), sequence("boat2", 9, [True] * 7 + [False] * 2))
    path = write({"bike1": rows(frames=3), "boat2": rows(BOX, tail=HALF, frames=9)})
    assert score(path, "got10k", of).figures["AO"] == pytest.approx((2 * 100 + 6 * 50) / 8)


def test_missing_sequences_are_left_out(write: Write) -> None:
    scores = score(write({"boat2": rows(BOX, tail=HALF)}))
    assert scores.missing == ("bike1", "car3") and list(scores.sequences) == ["boat2"]
    assert scores.figures["OP50"] == pytest.approx(10) and scores.sequence_count == 3
    assert len(scores.problems) == 1


def test_missing_sequences_are_zeros_for_trackingnet(write: Write) -> None:
    scores = score(write({"boat2": rows()}), "trackingnet", benchmark("trackingnet"))
    assert scores.missing == ("bike1", "car3") and list(scores.sequences) == list(NAMES)
    zeros = 100 * (1 / N + 0.05 * (1 - 1 / N) / 2)
    assert scores.figures["Success"] == pytest.approx((100 + 2 * zeros) / 3)
    (problem,) = scores.problems
    assert "no result of 2 of 3 sequences, which count as boxes of zeros: bike1, car3" in problem


def test_a_broken_file_is_zeros_for_trackingnet(write: Write) -> None:
    whole = score(write({"boat2": rows()}), "trackingnet", benchmark("trackingnet"))
    scores = score(write({"bike1": "1,2,x,4\n"}), "trackingnet", benchmark("trackingnet"))
    assert scores.figures == pytest.approx(whole.figures) and scores.missing == ("bike1", "car3")
    assert any("bike1.txt, line 1: not only numbers" in problem for problem in scores.problems)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (rows(BOX, (1, 2, float("nan"), 4)), "bike1.txt: row 2 is not four numbers, which pytracking refuses (1 of 10"),
        (rows(BOX, (1, 2, -3, 4)), "bike1.txt: row 2 has a negative side, which pytracking refuses (1 of 10 rows)"),
        ("10,10,20,20\n10,10,twenty,20\n", "bike1.txt, line 2: not only numbers (got '10,10,twenty,20')"),
        ("10,10,20\n" * N, "bike1.txt, line 1: needs 4 numbers"),
        ("", "bike1.txt holds no box"),
    ],
)
def test_a_bad_file_is_one_sentence_and_the_rest_goes_on(text: str, problem: str, write: Write) -> None:
    scores = score(write({"bike1": text, "boat2": rows(), "car3": rows()}))
    assert scores.missing == ("bike1",) and list(scores.sequences) == ["boat2", "car3"]
    assert scores.figures["AUC"] == pytest.approx(BOUND)
    (found,) = scores.problems
    assert problem in found and "\n" not in found


def test_odd_but_usable_files_are_named(write: Write) -> None:
    path = write({"bike1": rows(frames=8), "boat2": rows(frames=12), "car3": rows()})
    scores = score(path)
    assert scores.missing == ()
    assert scores.problems == (
        f"{path / 'bike1.txt'}: 8 boxes for 10 true ones: the missing ones count as misses",
        f"{path / 'boat2.txt'}: 12 boxes for 10 true ones: the rest is not used",
    )
    assert scores.sequences["bike1"].figures["OP50"] == pytest.approx(80)


def test_tabs_and_integers_of_pytracking(write: Write) -> None:
    text = "10\t10\t20\t20\n" * N
    assert score(write(dict.fromkeys(NAMES, text))).figures["AUC"] == pytest.approx(BOUND)


def test_truncate(write: Write) -> None:
    # Cut towards zero the box is the true one; as it is, it overlaps by less.
    path = write({name: rows(BOX, tail=(10.9, 10.9, 20.9, 20.9)) for name in NAMES})
    assert score(path, truncate=True).figures["AUC"] == pytest.approx(BOUND)
    assert score(path).figures["AUC"] < 90
    # -0.9 becomes 0 and not -1.
    of = benchmark("otb", TrackingSequence("bike1", NoFrames(), BOX, np.array([BOX, (0, 10, 20, 20)])))
    cut = score(write({"bike1": rows(BOX, (-0.9, 10, 20, 20), frames=2)}), "got10k", of, truncate=True)
    assert cut.sequences["bike1"].overlaps.tolist() == [1, 1]


def test_speed_is_of_the_median_frame_after_the_first(write: Write) -> None:
    times = "9.0\n" + "0.05\n" * 5 + "0.1\n" * 3 + "7.0\n"
    path = write({**{name: rows() for name in NAMES}, "bike1_time": times, "boat2_time": times})
    assert score(path).frames_per_second == pytest.approx(20)


def test_times_at_the_resolution_of_the_file_are_no_speed(write: Write) -> None:
    path = write({**{name: rows() for name in NAMES}, "bike1_time": "0.1\n" + "0.000001\n" * 9})
    assert score(path).frames_per_second is None


def test_speed_over_all_runs(write: Write) -> None:
    for run, seconds in enumerate((0.1, 0.2, 0.4)):
        texts = {**{name: rows() for name in NAMES}, "bike1_time": "5\n" + f"{seconds}\n" * 9}
        path = write(texts, f"default_{run:03d}")
    assert score(path).frames_per_second == pytest.approx(5)


def test_unusable_times_are_named(write: Write) -> None:
    scores = score(write({**{name: rows() for name in NAMES}, "bike1_time": "soon\n"}))
    assert scores.frames_per_second is None
    assert "bike1_time.txt" in scores.problems[0]


def test_nothing_usable(write: Write) -> None:
    with pytest.raises(ScoringError, match=r"^ebm default has no usable result of OTB \(.* has no result of 3 of 3"):
        score(write({}))
    with pytest.raises(ScoringError, match="no usable result"):
        score(write({}), "trackingnet", benchmark("trackingnet"))


def test_secret_truth(write: Write) -> None:
    of = benchmark("got10k_test", sequence("bike1", 1))
    with pytest.raises(ScoringError, match="GOT10K_TEST are not known beyond the first frame"):
        score(write({"bike1": rows()}), "got10k", of)


def test_a_sequence_without_truth_is_left_out(write: Write) -> None:
    of = benchmark("folder", sequence("bike1"), TrackingSequence("boat2", NoFrames(), BOX))
    scores = score(write({"bike1": rows(), "boat2": rows()}), "plain", of)
    assert scores.missing == ("boat2",)
    assert "true boxes of boat2 are not known" in scores.problems[0]


def test_many_missing_are_not_all_named(write: Write) -> None:
    of = benchmark("otb", *(sequence(f"s{number}") for number in range(9)))
    (problem,) = score(write({"s0": rows()}), of=of).problems
    assert problem.endswith("no result of 8 of 9 sequences: s1, s2, s3, s4, s5, and 3 more")


def test_average_of_runs_that_judge_other_frames(write: Write) -> None:
    rules = flavour("got10k", "otb")
    boxes = np.array([BOX] * N)
    whole, short = rules.judge(boxes, sequence("a")), rules.judge(boxes[:4], sequence("a"))
    mean = average_runs([whole, short])
    assert mean.frames == N and mean.notes == short.notes
    assert mean.overlaps.tolist() == [1] * N
    assert average_runs([whole]) is whole
    far = rules.judge(np.array([BOX] + [FAR] * 3), sequence("a"))
    assert average_runs([whole, far]).overlaps.tolist() == [1] + [0.5] * 3 + [1] * 6


def test_results_of_no_folder() -> None:
    with pytest.raises(ScoringError, match="nobody has no usable result"):
        score_tracker(TrackerResults("nobody", ()), benchmark(), flavour("plain"))
