"""The tracker in the stand-in host: everything that the contract asks for, with values of our own loop beside it."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ebm_tracker.build import load
from ebm_tracker.plugin.blocks import shown_boxes
from ebm_tracker.plugin.params import PluginParams, preset_parameters
from ebm_tracker.plugin.tracker import EbmTracker, get_tracker_class
from tests.plugin.conftest import BOX, CHANGES, square_frames

SECOND = (10.0, 80.0, 36.0, 30.0)
Boxes = list[tuple[float, ...]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The preset `cheap` sets one thread, in this process, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def params() -> PluginParams:
    return preset_parameters("default", seed=4, threads=1, **CHANGES)


def own_boxes(frames: list[np.ndarray], box: tuple[float, ...] = BOX, seed: int = 4) -> Boxes:
    """What our tracker says by itself, with the settings of `cheap`."""
    config = preset_parameters("default", **CHANGES).config
    tracker = load("default", "cpu", seed, config=config)
    tracker.initialize(frames[0], box)
    return [tracker.track(frame).box_xywh for frame in frames[1:]]


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Files of frames with two squares."""
    found = []
    for i, frame in enumerate(square_frames(4, second=True)):
        found.append(tmp_path / f"{i}.png")
        Image.fromarray(frame).save(found[-1])
    return found


def test_the_class_is_found_and_travels_to_workers(host: ModuleType) -> None:
    found = host.Tracker("ebm", "cheap", 2)
    assert found.tracker_class is get_tracker_class() is EbmTracker
    again = pickle.loads(pickle.dumps(found))
    assert again.tracker_class is EbmTracker and again.run_id == 2


def test_boxes_of_a_sequence_are_our_loops(host: ModuleType, checkout: Path) -> None:
    from pytracking.evaluation.data import otb_sequence  # type: ignore[import-not-found]  # noqa: TID251

    sequence = otb_sequence(checkout.parent / "otb", "Square")
    outputs = host.Tracker("ebm", "cheap").run_sequence(sequence)
    expected = own_boxes(square_frames(4))
    assert [tuple(out["target_bbox"]) for out in outputs[1:]] == expected
    for out in outputs:
        assert [type(value) for value in out["target_bbox"]] == [float] * 4
        assert type(out["time"]) is float and 0 < out["time"] < 60
        assert type(out["object_presence_score"]) is float and 0 <= out["object_presence_score"] <= 1
    assert outputs[0]["target_bbox"] == list(BOX) and outputs[0]["object_presence_score"] == 1


def test_a_run_has_its_own_seed(host: ModuleType) -> None:
    frames = square_frames(3)
    for run, seed in ((None, 4), (0, 4), (3, 7)):
        params = host.Tracker("ebm", "cheap", run).get_parameters()
        assert params.seed_of_run == seed
        tracker = EbmTracker(params)
        tracker.initialize(frames[0], {"init_bbox": list(BOX)})
        assert [tuple(tracker.track(f)["target_bbox"]) for f in frames[1:]] == own_boxes(frames, seed=seed)


def test_vot_runners(host: ModuleType) -> None:
    frames = square_frames(3)
    x, y, w, h = BOX
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    tracker = host.Tracker("ebm", "cheap", 1)
    expected = own_boxes(frames, seed=5)  # the run's number comes through params here
    assert tracker.run_vot(frames, polygon) == expected
    assert tracker.run_vot2020(frames, np.array(BOX)) == expected


@pytest.mark.parametrize("mode", ["parallel", "default"])
def test_video_frames_are_taken_as_bgr(host: ModuleType, checkout: Path, mode: str) -> None:
    frames = square_frames(3)
    preset = checkout / "pytracking" / "parameter" / "ebm" / f"video_{mode}.py"
    text = (preset.parent / "cheap.py").read_text()
    preset.write_text(text.replace("threads=1", f"threads=1, multiobj_mode={mode!r}"))
    bgr = [frame[:, :, ::-1] for frame in frames]
    outputs = host.Tracker("ebm", preset.stem).run_video(bgr, list(BOX))
    # The video runner tracks the first frame, too.
    expected = own_boxes([frames[0], *frames])
    assert outputs == [{1: [int(v) for v in box]} for box in expected]


@pytest.mark.parametrize("mode", ["parallel", "default"])
def test_objects_drawn_one_after_another(host: ModuleType, checkout: Path, mode: str) -> None:
    """No optional box: `track` comes first. Then a second object, a reset, and a new first one."""
    frames = square_frames(6, second=True)
    preset = checkout / "pytracking" / "parameter" / "ebm" / f"webcam_{mode}.py"
    text = (preset.parent / "cheap.py").read_text()
    preset.write_text(text.replace("threads=1", f"threads=1, multiobj_mode={mode!r}, frame_color='rgb'"))
    clicks = {1: (1, list(BOX)), 2: (2, list(SECOND)), 4: "r", 5: (1, list(SECOND))}
    clicks[1][1][:] = [63.0, 42.0, 36.0, 30.0]
    outputs = host.Tracker("ebm", preset.stem).run_video(frames, clicks=clicks)
    one = own_boxes(frames[1:4], (63.0, 42.0, 36.0, 30.0))
    two = own_boxes(frames[2:4], SECOND)

    def cut(box: Any) -> list[int]:
        return [int(v) for v in box]

    assert outputs == [
        {1: [63, 42, 36, 30]},
        {1: cut(one[0]), 2: cut(SECOND)},
        {1: cut(one[1]), 2: cut(two[0])},
        {1: cut(SECOND)},
    ]


def test_an_object_that_starts_later_beside_others(host: ModuleType, paths: list[Path]) -> None:
    """Mode parallel: the others are told of the newcomer's box and must not take it for theirs."""
    starts = {
        0: {"init_bbox": OrderedDict({"1": list(BOX)}), "init_object_ids": ["1"]},
        2: {"init_bbox": OrderedDict({"7": list(SECOND)}), "init_object_ids": ["7"]},
    }
    sequence = host.Sequence("two", paths, starts, object_ids=["1", "7"], multiobj_mode=True)
    outputs = host.Tracker("ebm", "cheap").run_sequence(sequence)
    frames = square_frames(4, second=True)
    first, second = own_boxes(frames), own_boxes(frames[2:], SECOND)
    assert [tuple(out["target_bbox"]["1"]) for out in outputs[1:]] == first
    assert tuple(outputs[3]["target_bbox"]["7"]) == second[0]
    assert outputs[2]["target_bbox"]["7"] == list(SECOND)
    assert outputs[2]["object_presence_score"]["7"] == 1


def test_starts_in_track(params: PluginParams) -> None:
    """Of one object without `initialize`; again of the same; and of another's, which is none of its business."""
    frames = square_frames(6, second=True)
    tracker = EbmTracker(params)
    assert tracker.track(frames[0], {"init_bbox": list(BOX)})["target_bbox"] == list(BOX)
    others = {"init_bbox": {"7": list(SECOND)}, "init_object_ids": ["7"], "init_other": {}}
    first = [tuple(tracker.track(frames[1], others)["target_bbox"]), tuple(tracker.track(frames[2])["target_bbox"])]
    assert first == own_boxes(frames[:3]) and len(tracker._trackers) == 1
    assert tracker.track(frames[3], {"init_bbox": np.array(SECOND)})["target_bbox"] == list(SECOND)
    again = [tuple(tracker.track(frame)["target_bbox"]) for frame in frames[4:]]
    assert again == own_boxes(frames[3:], SECOND) and len(tracker._trackers) == 1


def test_instances_share_network_and_params_but_no_state(params: PluginParams) -> None:
    frames = square_frames(3, second=True)
    one = EbmTracker(params)
    one.initialize_features()
    two = copy.deepcopy(one)
    assert two.params is params
    one.initialize(frames[0], {"init_bbox": list(BOX)})
    two.initialize(frames[0], {"init_bbox": list(SECOND)})
    networks = [next(iter(t._trackers.values())).network for t in (one, two)]
    assert networks[0] is networks[1]
    got = [(tuple(one.track(f)["target_bbox"]), tuple(two.track(f)["target_bbox"])) for f in frames[1:]]
    assert got == list(zip(own_boxes(frames), own_boxes(frames, SECOND), strict=True))


def test_features_are_loaded_once(params: PluginParams, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = EbmTracker(params)
    tracker.initialize_features()
    monkeypatch.setattr("ebm_tracker.plugin.networks.load", lambda *a, **k: pytest.fail("loaded again"))
    tracker.initialize_features()
    tracker.initialize(square_frames(1)[0], {"init_bbox": list(BOX)})


def test_masks_stand_in_for_boxes(params: PluginParams) -> None:
    mask = np.zeros((120, 200), np.uint8)
    mask[40:70, 60:96] = 1
    mask[80:110, 10:46] = 2
    frame = square_frames(1, second=True)[0]
    tracker = EbmTracker(params)
    assert tracker.initialize(frame, {"init_mask": mask == 1})["target_bbox"] == list(BOX)
    both = tracker.initialize(frame, {"init_mask": mask, "init_object_ids": [1, 2]})
    assert both["target_bbox"] == {1: list(BOX), 2: list(SECOND)}


def test_wrong_calls_say_what_is_missing(params: PluginParams) -> None:
    frame = square_frames(1)[0]
    tracker = EbmTracker(params)
    with pytest.raises(RuntimeError, match="call initialize"):
        tracker.track(frame)
    with pytest.raises(ValueError, match="neither init_bbox nor init_mask"):
        tracker.initialize(frame, {})
    with pytest.raises(ValueError, match="width and height must be > 0"):
        tracker.initialize(frame, {"init_bbox": [5, 5, 0, 0]})
    with pytest.raises(ValueError, match="object 2 starts without"):
        tracker.initialize(frame, {"init_bbox": {1: list(BOX)}, "init_object_ids": [1, 2]})
    with pytest.raises(ValueError, match="no pixel"):
        tracker.initialize(frame, {"init_mask": np.zeros((120, 200))})
    with pytest.raises(TypeError, match="preset_parameters"):
        EbmTracker(object())  # type: ignore[arg-type]


class Viewer:
    """Remembers what was registered, as pytracking's viewer is called."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[str, int, Any]] = {}

    def register(self, data: Any, mode: str, debug_level: int = 0, title: str = "Data") -> None:
        self.seen[title] = (mode, debug_level, data)


def test_blocks_of_the_viewer(params: PluginParams) -> None:
    frames = square_frames(3)
    tracker, viewer = EbmTracker(params), Viewer()
    tracker.visdom = viewer
    tracker.initialize(frames[0], {"init_bbox": list(BOX)})
    out = [tracker.track(frame) for frame in frames[1:]][-1]
    assert {title: seen[:2] for title, seen in viewer.seen.items()} == {
        "Status": ("info_dict", 1),
        "Score Map": ("heatmap", 2),
        "Boxes": ("bbreg", 3),
    }
    status = viewer.seen["Status"][2]
    assert status["frame_num"] == 2 and status["max_score"] == out["object_presence_score"] and status["seed"] == 4
    assert all(value is None or isinstance(value, str | int | float) for value in status.values())
    scores = viewer.seen["Score Map"][2]
    assert scores.ndim == 2 and float(scores.max()) == pytest.approx(status["max_score"], abs=1e-6)
    patch, starts, finals, energies = viewer.seen["Boxes"][2]
    # Two of the three boxes: pytracking's viewer knows no more.
    assert patch.shape == (3, 96, 96) and starts.shape == finals.shape == (2, 4) and energies.shape == (2,)
    assert float(energies.max()) == pytest.approx(status["best_energy"])
    scores += 1  # the viewer changes what it gets: torch must not refuse
    assert [tuple(tracker.track(frames[2])["target_bbox"])] == own_boxes([*frames, frames[2]])[-1:]


@pytest.mark.parametrize(
    ("energies", "indices"), [([3.0], [0]), ([9.0, 1.0, 2.0], [0, 2]), ([1.0, 7.0, 2.0], [0, 1]), ([5.0, 4.0], [0, 1])]
)
def test_two_boxes_are_shown(energies: list[float], indices: list[int]) -> None:
    assert shown_boxes(torch.tensor(energies)).tolist() == indices


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (None, []),
        ([1, 2, 3, 4], [[1.0, 2.0, 3.0, 4.0]]),
        ([np.float64(v) for v in BOX], [list(BOX)]),
        ([list(BOX)], [list(BOX)]),
        ([list(BOX), np.array(SECOND)], [list(BOX), list(SECOND)]),
        (OrderedDict({1: list(BOX), 2: list(SECOND)}), [list(BOX), list(SECOND)]),
        ([{1: list(BOX)}, {1: list(SECOND)}], [list(BOX), list(SECOND)]),
        ([list(BOX)] * 4, [list(BOX)] * 4),
    ],
)
def test_boxes_to_draw_come_in_many_shapes(params: PluginParams, box: Any, expected: list[list[float]]) -> None:
    tracker, viewer = EbmTracker(params), Viewer()
    tracker.visdom = viewer
    image, mask = np.zeros((4, 4, 3)), np.ones((4, 4))
    tracker.visdom_draw_tracking(image, box)
    mode, level, data = viewer.seen["Tracking"]
    assert (mode, level) == ("Tracking", 1) and data[0] is image and list(data[1:]) == expected
    tracker.visdom_draw_tracking(image, box, mask)
    assert viewer.seen["Tracking"][2][-1] is mask


def test_no_masks_are_predicted(params: PluginParams) -> None:
    assert EbmTracker(params).predicts_segmentation_mask() is False
    assert EbmTracker.multiobj_mode == "parallel"
    assert not hasattr(EbmTracker, "merge_results")
