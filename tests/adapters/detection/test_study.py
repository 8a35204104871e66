from __future__ import annotations

import json
import math
import pickle
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import torch

from ebm_tracker.adapters import run_folder
from ebm_tracker.adapters.detection import (
    ConfidenceBranch,
    DetectionImages,
    Detections,
    EnergyDetector,
    FrozenDetector,
    GaussianBoxHead,
    LaplaceBoxHead,
    MixtureBoxes,
    RefineSettings,
    SmallSettings,
    TrainingImages,
    open_detection_images,
)
from ebm_tracker.adapters.detection import study as study_module
from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.evaluate import matched_ious, score_detections
from ebm_tracker.adapters.detection.kept import KeptFeatures, MapViews, RegionViews
from ebm_tracker.adapters.detection.results import read_results, results_of
from ebm_tracker.adapters.detection.small_base import SmallBase
from ebm_tracker.adapters.detection.study import DetectionStudy
from ebm_tracker.adapters.detection.variants import (
    DIRECT,
    MATCHED,
    TRAINED,
    DetectionData,
    DetectionResult,
    DetectionSettings,
    Scores,
)
from ebm_tracker.adapters.regression.study_progress import Progress
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.training.checkpoint import load_state
from ebm_tracker.training.display import Silence
from ebm_tracker.training.loop import LoopSettings
from tests.adapters.detection.rectangles import write_rectangles

LOOP = LoopSettings(steps=4, batch_size=2, learning_rate=1e-3, workers=0, tensorboard=False)
REFINE = {
    "iou_net": RefineSettings(0.02, 0.02, steps=2),
    "iou_net_star": RefineSettings(0.02, 0.04, steps=2),
    "ours": RefineSettings(0.02, 0.04, steps=3),
}
SETTINGS = DetectionSettings(
    head_loop=replace(LOOP, learning_rate=0.03), iou_loop=LOOP, nll_loop=LOOP, runs=2, samples=8, refine=REFINE
)
ONE = replace(SETTINGS, methods=("ours",), runs=1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the processes of a study: another number of threads changes the last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DetectionData:
    """With a base that finds most of the rectangles."""
    root = tmp_path_factory.mktemp("set")
    for split, count in (("train", 10), ("val", 5), ("test", 6)):
        write_rectangles(root, split, count)
    train = open_detection_images(root, "train", training=True)
    base = SmallBase(
        SmallSettings(channels=16, features=32, min_size=80, max_size=128, proposals=30, regions=32),
        replace(LOOP, steps=60, batch_size=4, learning_rate=3e-3, schedule="cosine", clip_norm=10),
        root / "base",
        3,
        WEIGHTS_FOLDER / "default.safetensors",
    )
    return DetectionData(
        train,
        open_detection_images(root, "test"),
        partial(base.train, train, Silence()),
        {"set": "rectangles", "base": {"steps": 60}},
        open_detection_images(root, "val"),
        root / "features",
    )


@dataclass(frozen=True)
class Finished:
    study: DetectionStudy
    result: DetectionResult


def run(study: DetectionStudy) -> DetectionResult:
    result = study.run()
    assert result is not None
    return result


@pytest.fixture(scope="module")
def finished(data: DetectionData, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    study = DetectionStudy(data, SETTINGS, tmp_path_factory.mktemp("study"), quiet=True)
    result = run(study)
    torch.set_num_threads(before)
    return Finished(study, result)


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Path:
    """Of the finished study's folder."""
    return Path(shutil.copytree(finished.study.folder, tmp_path / "copy"))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise AssertionError("a training began")

    monkeypatch.setattr(run_folder, "Training", refuse)


@pytest.fixture
def no_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise AssertionError("images were looked at")

    monkeypatch.setattr(DetectionStudy, "model", refuse)
    monkeypatch.setattr(DetectionStudy, "_search", refuse)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def equal(one: DetectionResult, other: DetectionResult) -> bool:
    """NaN equals NaN: no object of the set is large."""
    return repr(one) == repr(other)


def detected(study: DetectionStudy, run: int, name: str) -> list[Detections]:
    """The file's, of each test image; labels as the detector counts."""
    test = study.data.test
    label_of = dict(zip(test.classes.ids, test.classes.labels, strict=True))
    found = []
    for image in test.images:
        rows = [row for row in study.detections(run, name) if row["image_id"] == image.image_id]
        boxes = torch.tensor([row["bbox"] for row in rows]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([label_of[row["category_id"]] for row in rows], dtype=torch.int64)
        found.append(Detections(boxes, torch.tensor([row["score"] for row in rows]), labels))
    return found


def assert_same_detections(found: list[Detections], expected: list[Detections]) -> None:
    assert len(found) == len(expected) and sum(map(len, expected)) > 6
    for one, other in zip(found, expected, strict=True):
        # Three decimals of corner and side are in the file.
        torch.testing.assert_close(one.boxes_xyxy, other.boxes_xyxy, rtol=0, atol=1.1e-3)
        torch.testing.assert_close(one.scores, other.scores)
        assert torch.equal(one.labels, other.labels)


# What is in the folder ------------------------------------------------------------------------------------------------


def test_files_of_a_study(finished: Finished) -> None:
    folder = finished.study.folder
    assert names(folder) == {"run-0", "run-1"}
    assert names(folder / "run-0") == {DIRECT, *TRAINED} and names(folder / "run-1") == set(TRAINED)
    assert names(folder / "run-0" / DIRECT) == {"detections.json", "scores.json"}
    for number in (0, 1):
        for name in TRAINED:
            own = names(finished.study.folder_of(number, name))
            assert own == {"final.pt", "log.csv", "detections.json", "scores.json"}


def test_direct_is_what_the_detector_gives(finished: Finished) -> None:
    study = finished.study
    test = study.data.test
    images = [test.tensor(index) for index in range(len(test))]
    expected = [study.detector.detect([image])[0] for image in images]
    assert_same_detections(detected(study, 0, DIRECT), expected)
    rows = [
        row
        for image, few in zip(test.images, expected, strict=True)
        for row in results_of(image.image_id, few, test.classes)
    ]
    assert {row["category_id"] for row in rows} == {2, 7}
    rounded = [{**row, "bbox": [round(value, 3) for value in row["bbox"]]} for row in rows]
    assert study.detections(0, DIRECT) == rounded


@pytest.mark.parametrize(("name", "kind"), [("gaussian", GaussianBoxHead), ("laplace", LaplaceBoxHead)])
def test_a_head_gives_the_boxes(finished: Finished, name: str, kind: Any) -> None:
    study, detector = finished.study, finished.study.detector
    head = kind(detector.feature_size, detector.classes)
    head.load_state_dict(load_state(study.folder_of(1, name) / "final.pt")["module"])
    expected = []
    for index in range(len(study.data.test)):
        pyramid = detector.pyramid([study.data.test.tensor(index)])
        (regions,) = detector.regions(pyramid)
        offsets = head(regions.features).mean.detach()
        kept = detector.suppress(detector.decode(regions, pyramid.input_sizes[0], offsets))
        expected.append(Detections(pyramid.to_image(kept.boxes_xyxy, 0), kept.scores, kept.labels))
    assert_same_detections(detected(study, 1, name), expected)


@pytest.mark.parametrize("name", REFINE)
def test_a_branch_gives_the_boxes(finished: Finished, name: str) -> None:
    study, detector = finished.study, finished.study.detector
    branch = ConfidenceBranch.of_detector(detector)
    branch.load_state_dict(load_state(study.folder_of(1, name) / "final.pt")["module"])
    model = EnergyDetector(detector, branch, REFINE[name])
    images = [study.data.test.tensor(index) for index in range(len(study.data.test))]
    assert_same_detections(detected(study, 1, name), [model.detect([image])[0] for image in images])
    assert finished.result.scores[name][1].refine == REFINE[name]


def test_figures_are_those_of_the_files(finished: Finished) -> None:
    study, test = finished.study, finished.study.data.test
    for number, name in study.jobs:
        scores = finished.result.scores[name][number]
        expected = score_detections(test.file, study.detections(number, name)).figures
        own = {figure: value for figure, value in scores.figures.items() if figure != MATCHED}
        assert own == pytest.approx(expected, nan_ok=True, abs=1e-9)
        pairs = zip(test.objects, detected(study, number, name), strict=True)
        overlaps = torch.cat([matched_ious(objects, few) for objects, few in pairs])
        assert scores.matches == len(overlaps) > 0
        assert scores.figures[MATCHED] == pytest.approx(100 * float(overlaps.mean()), abs=0.02)
    assert finished.result.scores[DIRECT][0].figures["AP50"] > 40  # the base has learned something


def test_every_training_is_one_of_its_own(finished: Finished) -> None:
    result = finished.result
    assert list(result.scores) == [DIRECT, *TRAINED]
    assert [len(few) for few in result.scores.values()] == [1, 2, 2, 2, 2, 2]
    states = {
        (number, name): load_state(finished.study.folder_of(number, name) / "final.pt")
        for number in (0, 1)
        for name in TRAINED
    }
    for (number, name), state in states.items():
        settings = state["settings"]
        assert settings["loop.seed"] == str(number)
        assert ("samples" in settings) == (name in REFINE) and settings["kept"] == "True"
        assert settings["loop.learning_rate"] == ("0.001" if name in REFINE else "0.03")
    weights = [next(iter(state["module"].values())) for state in states.values()]
    assert len({tuple(weight.flatten().tolist()) for weight in weights}) == 10


def test_first_weights_and_losses_belong_to_the_name(finished: Finished, data: DetectionData, tmp_path: Path) -> None:
    """Without a step that changes much, each head has weights of its own in every run."""
    still = replace(LOOP, learning_rate=1e-12)
    settings = replace(SETTINGS, head_loop=still, iou_loop=still, nll_loop=still)
    study = DetectionStudy(data, settings, tmp_path, quiet=True)
    found = [
        study.fit(number, name).state_dict()["mean.weight"] for number in (0, 1) for name in ("gaussian", "laplace")
    ]
    found += [study.fit(0, name).state_dict()["readout.weight"] for name in REFINE]
    numbers = {round(float(weight.flatten()[0]), 7) for weight in found}
    assert len(numbers) == 7
    losses = {
        name: float((study.folder_of(0, name) / "log.csv").read_text().splitlines()[1].split(",")[1]) for name in REFINE
    }
    # f is 0: half the mean of u^2 for u = 2 IoU - 1, even over 0 to 1 or as the mixture has it; and no less than 0.
    assert losses["iou_net"] == pytest.approx(1 / 6, abs=0.03)
    drawn = MixtureBoxes(samples=20_000).draw(torch.tensor([[0.0, 0, 20, 20]]))
    assert losses["iou_net_star"] == pytest.approx(0.5 * float((2 * drawn.iou - 1).square().mean()), abs=0.03)
    assert losses["ours"] < 0


# A second start -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_training", "no_detection")
def test_a_finished_study_is_only_read(finished: Finished, data: DetectionData) -> None:
    again = DetectionStudy(data, SETTINGS, finished.study.folder, quiet=True)
    assert equal(run(again), finished.result)
    assert equal(again.result(), finished.result)


def test_one_method_alone_gives_the_same(finished: Finished, data: DetectionData, tmp_path: Path) -> None:
    result = run(DetectionStudy(data, ONE, tmp_path, quiet=True))
    assert list(result.scores) == [DIRECT, "ours"]
    assert repr(result.scores["ours"]) == repr(finished.result.scores["ours"][:1])
    assert repr(result.scores[DIRECT]) == repr(finished.result.scores[DIRECT])


@pytest.mark.usefixtures("no_training")
def test_other_steps_of_refinement_need_no_training(finished: Finished, data: DetectionData, copy: Path) -> None:
    other = RefineSettings(0.05, 0.1, steps=3)
    settings = replace(SETTINGS, refine={**REFINE, "ours": other})
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("detections.json")}
    study = DetectionStudy(data, settings, copy, quiet=True)
    result = run(study)
    changed = {(path.parts[-3], path.parts[-2]) for path, was in before.items() if path.stat().st_mtime_ns != was}
    assert changed == {("run-0", "ours"), ("run-1", "ours")}
    assert [scores.refine for scores in result.scores["ours"]] == [other, other]
    assert study.detections(0, "ours") != finished.study.detections(0, "ours")


def test_other_test_images_are_looked_at(data: DetectionData, copy: Path) -> None:
    test = data.test.part([1, 4])
    study = DetectionStudy(replace(data, test=test), replace(ONE, methods=()), copy, quiet=True)
    (scores,) = run(study).scores[DIRECT]
    rows = study.detections(0, DIRECT)
    assert {row["image_id"] for row in rows} == {2, 5} and 0 < scores.matches <= 4
    assert scores.figures["AP"] == pytest.approx(score_detections(test.file, rows, [2, 5]).figures["AP"])
    path = copy / "run-0" / DIRECT / "scores.json"
    was = path.stat().st_mtime_ns
    facts = {**data.fingerprint, "set": "circles"}  # other images, as many
    run(DetectionStudy(replace(study.data, fingerprint=facts, kept=None), study.settings, copy, quiet=True))
    assert path.stat().st_mtime_ns > was


@pytest.mark.parametrize("kept", [True, False])
def test_draws_of_a_training(data: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(study_module, "train_or_load", lambda *args, **more: seen.append(args[2]))
    study = DetectionStudy(data if kept else replace(data, kept=None), SETTINGS, tmp_path, quiet=True)
    for number in (0, 1):
        for name in ("laplace", "ours"):
            study.fit(number, name)
            dataset = seen[-1]
            assert (len(dataset), dataset.seed) == (LOOP.steps * LOOP.batch_size, number)
            assert type(dataset) is ((RegionViews if name == "laplace" else MapViews) if kept else TrainingImages)
            assert (dataset.kept.images if kept else dataset.images) is data.train


def test_other_candidates_are_another_study(data: DetectionData, copy: Path) -> None:
    with pytest.raises(ValueError, match=r"samples 8 \(now 9\)"):
        run(DetectionStudy(data, replace(SETTINGS, samples=9), copy, quiet=True))
    with pytest.raises(ValueError, match=r"loop.steps 4 \(now 5\)"):
        run(DetectionStudy(data, replace(SETTINGS, nll_loop=replace(LOOP, steps=5)), copy, quiet=True))
    with pytest.raises(ValueError, match=r"kept True \(now False\)"):
        run(DetectionStudy(replace(data, kept=None), SETTINGS, copy, quiet=True))
    other = replace(data, fingerprint={"set": "circles"})
    with pytest.raises(DetectionDataError, match="keeps features with another data"):
        run(DetectionStudy(other, SETTINGS, copy, quiet=True))
    with pytest.raises(ValueError, match=r"data.set 'rectangles' \(now 'circles'\)"):
        run(DetectionStudy(replace(other, kept=None), SETTINGS, copy, quiet=True))


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_stopped_study_goes_on(finished: Finished, data: DetectionData, tmp_path: Path, stop: int) -> None:
    """Ctrl-C in a training (four steps), or while images are looked at."""

    class Stop(Progress):
        def finish(self, steps: int) -> None:
            super().finish(steps)
            if steps == stop:
                raise KeyboardInterrupt

    study = DetectionStudy(data, ONE, tmp_path, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        study.train(0, "ours", Stop())
    own = study.folder_of(0, "ours")
    assert not (own / "scores.json").exists()
    assert (own / "last.pt").exists() == (stop < 4) and (own / "final.pt").exists() == (stop > 4)
    result = run(study)
    assert repr(result.scores["ours"]) == repr(finished.result.scores["ours"][:1])


def test_a_damaged_file_of_scores_is_named(data: DetectionData, copy: Path) -> None:
    path = copy / "run-0" / "ours" / "scores.json"
    settings = json.dumps({"settings": json.loads(path.read_text())["settings"]})
    for text in ("[1]", "null", settings):
        path.write_text(text)
        with pytest.raises(DetectionDataError, match=r"scores.json is damaged \(it lacks what a study writes\)"):
            run(DetectionStudy(data, SETTINGS, copy, quiet=True))
    path.write_text(settings[:40])
    with pytest.raises(DetectionDataError, match=r"run-0/ours/scores.json is damaged \(.*\); remove it"):
        run(DetectionStudy(data, ONE, copy, quiet=True))


@pytest.mark.parametrize("name", [DIRECT, "laplace", "ours"])
def test_progress_ends_at_the_number_that_was_said(
    finished: Finished, data: DetectionData, name: str, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, search_images=3, factors=(1.0,))
    study = DetectionStudy(data, settings, tmp_path, quiet=True)
    assert study.units(name) == 6 + {DIRECT: 0, "laplace": 4, "ours": 4 + 3}[name]
    added: list[int] = []
    study.train(0, name, Progress(added.append))
    assert [few for few in added if few] == [1] * study.units(name)  # each step and image by itself
    added.clear()
    study.train(0, name, Progress(added.append))
    assert added == [study.units(name)]  # everything is there


# Step lengths ---------------------------------------------------------------------------------------------------------


def test_the_best_step_lengths_of_the_search_are_used(finished: Finished, data: DetectionData, copy: Path) -> None:
    settings = replace(ONE, search_images=4, factors=(0.1, 1.0, 30.0), ratios=(1.0, 4.0))
    study = DetectionStudy(data, settings, copy, quiet=True)
    result = run(study)
    trials = study.search(0, "ours")
    start = REFINE["ours"].position_step
    steps = {(trial.settings.position_step, trial.settings.size_step) for trial in trials}
    assert steps == {(factor * start, ratio * factor * start) for factor in (0.1, 1.0, 30.0) for ratio in (1.0, 4.0)}
    assert data.val is not None
    val = data.val.part(range(4))
    for trial in trials:
        model = EnergyDetector(study.detector, study.fit(0, "ours"), trial.settings)  # type: ignore[arg-type]
        rows = []
        for index, image in enumerate(val.images):
            rows += results_of(image.image_id, model.detect([val.tensor(index)])[0], val.classes)
        expected = score_detections(val.file, rows, [image.image_id for image in val.images]).figures["AP"]
        assert trial.score == pytest.approx(expected)
    scores = [trial.score for trial in trials]
    assert scores == sorted(scores, reverse=True) and scores[0] > scores[-1]
    assert result.scores["ours"][0].refine == trials[0].settings == study.refine_settings(0, "ours")
    branch = study.fit(0, "ours")
    model = EnergyDetector(study.detector, branch, trials[0].settings)  # type: ignore[arg-type]
    images = [data.test.tensor(index) for index in range(len(data.test))]
    assert_same_detections(detected(study, 0, "ours"), [model.detect([image])[0] for image in images])


def test_a_search_is_done_once(data: DetectionData, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(ONE, search_images=2, factors=(0.5, 2.0))
    first = DetectionStudy(data, settings, copy, quiet=True)
    result = run(first)
    assert len(json.loads((copy / "run-0" / "ours" / "steps.json").read_text())["trials"]) == 2
    with monkeypatch.context() as patched:
        patched.setattr(DetectionStudy, "_search", None)
        again = DetectionStudy(data, settings, copy, quiet=True)
        assert equal(run(again), result) and again.search(0, "ours") == first.search(0, "ours")
    other = DetectionStudy(data, replace(settings, factors=(0.5, 2.0, 3.0)), copy, quiet=True)
    run(other)
    assert len(other.search(0, "ours")) == 3
    # Heads have no step lengths.
    assert other.units("gaussian") == 6 + 4 and not (copy / "run-0" / "gaussian" / "steps.json").exists()


# Other ways to run it -------------------------------------------------------------------------------------------------


def test_a_study_travels_without_the_features(finished: Finished) -> None:
    """Nor with a tensor, which would hold a file open in each process."""
    study = finished.study
    assert isinstance(study.kept, KeptFeatures) and isinstance(study.detector, FrozenDetector)
    text = bytes(ForkingPickler.dumps(study))
    assert len(text) < 50_000 and b"rebuild_storage" not in text and b"rebuild_tensor" not in text
    other: DetectionStudy = pickle.loads(text)
    assert {"detector", "kept"}.isdisjoint(vars(other))
    for one, same in zip(other.data.test.objects, study.data.test.objects, strict=True):
        assert torch.equal(one.boxes_xyxy, same.boxes_xyxy) and torch.equal(one.labels, same.labels)


def test_images_that_are_read_each_time(finished: Finished, data: DetectionData, tmp_path: Path) -> None:
    """As for COCO, of which no features are kept."""
    study = DetectionStudy(replace(data, kept=None), replace(SETTINGS, runs=1), tmp_path, quiet=True)
    result = run(study)
    assert study.kept is None and names(tmp_path) == {"run-0"}
    assert repr(result.scores[DIRECT]) == repr(finished.result.scores[DIRECT])
    for name in TRAINED:
        assert result.scores[name][0].matches > 0
        assert study.detections(0, name) != finished.study.detections(0, name)
    before = study.detector.state_dict()
    fresh = data.detector().state_dict()
    assert all(torch.equal(before[key], fresh[key]) for key in fresh)  # it stays frozen


def test_images_without_annotations(finished: Finished, data: DetectionData, tmp_path: Path) -> None:
    root = write_rectangles(tmp_path / "set", "test", 6, annotated=False)
    test = open_detection_images(root, "test")
    study = DetectionStudy(replace(data, test=test), ONE, tmp_path / "study", quiet=True)
    result = run(study)
    for name in (DIRECT, "ours"):
        assert result.scores[name] == (Scores({}, 0, REFINE.get(name)),)
        assert study.detections(0, name) == finished.study.detections(0, name)


def test_no_detections_at_all(data: DetectionData, tmp_path: Path) -> None:
    study = DetectionStudy(data, replace(ONE, methods=()), tmp_path, quiet=True)
    study.detector.score_threshold = 1.0
    (scores,) = run(study).scores[DIRECT]
    assert scores.figures["AP"] == 0 and scores.matches == 0 and math.isnan(scores.figures[MATCHED])
    assert read_results(tmp_path / "run-0" / DIRECT / "detections.json") == []
    again = DetectionStudy(data, replace(ONE, methods=()), tmp_path, quiet=True)
    assert math.isnan(run(again).scores[DIRECT][0].figures[MATCHED])


def test_the_detector_is_made_before_processes_need_it(
    data: DetectionData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that train it in one folder would spoil it."""
    made: list[str] = []

    def make() -> FrozenDetector:
        made.append("detector")
        return data.detector()

    def note(*args: Any) -> None:
        made.append("processes")
        raise KeyboardInterrupt

    monkeypatch.setattr("ebm_tracker.adapters.detection.study.work_off", note)
    study = DetectionStudy(replace(data, detector=make, kept=None), ONE, tmp_path, workers=2, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        study.run()
    assert made == ["detector", "processes"]


def test_quiet_says_nothing(data: DetectionData, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = DetectionStudy(data, replace(ONE, methods=("gaussian",)), tmp_path, quiet=True)
    study.fit(0, "gaussian")
    run(study)
    assert capsys.readouterr() == ("", "")
    DetectionStudy(data, replace(ONE, methods=("laplace",)), tmp_path).run()
    assert "100 %  run 1, laplace" in capsys.readouterr().out


# Numbers --------------------------------------------------------------------------------------------------------------


def test_values_and_gains_by_hand() -> None:
    def scores(*pairs: tuple[float, float]) -> tuple[Scores, ...]:
        return tuple(Scores({"AP": ap, "AP75": ap75}, 5) for ap, ap75 in pairs)

    result = DetectionResult(
        {
            DIRECT: scores((30.0, 25.0)),
            "gaussian": scores((31.0, 27.0), (29.0, 26.0)),
            "ours": scores((33.0, 30.5), (35.5, 31.0)),
        }
    )
    assert result.values("ours", "AP75").tolist() == [30.5, 31.0]
    assert result.values(DIRECT, "AP").tolist() == [30.0]
    assert result.gains("ours", "gaussian", "AP").tolist() == [2.0, 6.5]
    assert result.gains("ours", DIRECT, "AP").tolist() == [3.0, 5.5]
    assert result.gains("gaussian", "ours", "AP75").tolist() == [-3.5, -5.0]


def test_schedules_of_the_methods() -> None:
    settings = DetectionSettings(
        replace(LOOP, steps=1), replace(LOOP, steps=2), replace(LOOP, steps=3, seed=99), seed=10, runs=3
    )
    assert {name: settings.loop_of(name, 2).steps for name in TRAINED} == {
        "gaussian": 1,
        "laplace": 1,
        "iou_net": 2,
        "iou_net_star": 2,
        "ours": 3,
    }
    assert [settings.loop_of("ours", run).seed for run in range(3)] == [10, 11, 12]
    assert settings.samples == 128 and settings.refine["ours"] == RefineSettings(1e-4, 4e-4)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"methods": ("ours", "iou_net*", "x")}, r"must be some of gaussian, laplace, .*ours \(got iou_net\*, x\)"),
        ({"methods": ("ours", "ours")}, r"methods must name each once \(got ours, ours\)"),
        ({"refine": {"iou_net": REFINE["iou_net"]}}, r"must have settings of iou_net_star, ours \(got iou_net\)"),
        ({"runs": 0}, r"runs must be at least 1 .* \(got 0 and 0\)"),
        ({"search_images": -1}, r"search_images at least 0 \(got 2 and -1\)"),
    ],
)
def test_settings_that_make_no_sense(changes: Mapping[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        replace(SETTINGS, **changes)


def test_arguments_are_checked(data: DetectionData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"workers must be at least 1 \(got 0\)"):
        DetectionStudy(data, SETTINGS, tmp_path, workers=0)
    with pytest.raises(ValueError, match=r"workers must be 1 on a device other than the CPU .* \(got 2\)"):
        DetectionStudy(data, SETTINGS, tmp_path, workers=2, device=torch.device("meta"))
    with pytest.raises(ValueError, match="data must have val where step lengths are searched"):
        DetectionStudy(replace(data, val=None), replace(SETTINGS, search_images=3), tmp_path)
    assert isinstance(data.train, DetectionImages)
