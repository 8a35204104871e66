"""The params object: settings that are checked, keys that the framework writes, seeds and colours of a run."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from ebm_tracker.errors import PresetError
from ebm_tracker.parameters import preset
from ebm_tracker.plugin.params import FrameColor, PluginParams, preset_parameters
from ebm_tracker.tracking.config import BoxSpace


def test_settings_are_the_presets() -> None:
    params = preset_parameters("default")
    assert params.config == preset("default")
    assert params.get("search_area") == params.search_area == 5.0
    assert params.get("refinement").steps == 10 and params.has("refinement") and not params.has("features")
    assert params.get("nothing", 3) == 3 and params.get("debug", 3) == 0
    assert params.get("object_presence_score_threshold", 0.55) == 0.25
    assert params.weights is None  # a file of one's own; the preset's is in config
    with pytest.raises(AttributeError, match="preset 'default' have no 'nothing'"):
        params.get("nothing")
    with pytest.raises(TypeError, match="at most one default"):
        params.get("nothing", 1, 2)


def test_changes_reach_sections_and_enums() -> None:
    params = preset_parameters("default", refinement={"steps": 5, "space": "image"}, search_area=4.0, device="cpu")
    assert (params.refinement.steps, params.refinement.boxes) == (5, 10)
    assert params.refinement.space is BoxSpace.IMAGE
    assert (params.search_area, params.run.device) == (4.0, "cpu")
    assert preset("default").refinement.steps == 10  # the preset itself stays
    changed = preset_parameters("default", localization={"target_not_found": 0.4})
    assert changed.object_presence_score_threshold == 0.4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"serach_area": 4}, "preset 'default' has no key 'serach_area'; did you mean 'search_area'?"),
        ({"treads": 1}, "preset 'default' has no key 'treads'; did you mean 'threads'?"),
        ({"refinement": {"stps": 5}}, "refinement of preset 'default' has no key 'stps'; did you mean 'steps'?"),
        ({"refinement": 5}, "refinement of preset 'default' takes a dictionary of its keys (got 5)"),
        ({"refinement": {"space": "img"}}, "space of refinement of preset 'default' must be one of 'relative', 'image' "
                                           "(got 'img')"),
        ({"search_area": 1}, "preset 'default': search_area must be > 1 (got 1)"),
        ({"search_area": "x"}, None),
        ({"frame_color": "grb"}, "frame_color of preset 'default' must be one of 'auto', 'rgb', 'bgr' (got 'grb')"),
        ({"threads": 0}, "preset 'default': threads must be None or at least 1 (got 0)"),
        ({"iounet_k": 3}, None),
    ],
)  # fmt: skip
def test_a_slip_is_one_sentence(changes: dict[str, Any], sentence: str | None) -> None:
    with pytest.raises(PresetError) as caught:
        preset_parameters("default", **changes)
    assert "\n" not in str(caught.value)
    if sentence:
        assert str(caught.value) == sentence


def test_an_unknown_preset_lists_the_known() -> None:
    with pytest.raises(PresetError, match="unknown preset 'defualt'; known: atom"):
        preset_parameters("defualt")


def test_the_framework_writes_and_slips_are_seen() -> None:
    params = preset_parameters("default")
    params.debug, params.visualization, params.tracker_name, params.run_id = 2, True, "ebm", 3
    assert (params.debug, params.visualization, params.get("run_id")) == (2, True, 3)
    params.search_area = 4.5  # as files for pytracking are written
    assert params.config.search_area == 4.5
    with pytest.raises(PresetError, match="unknown key 'serach_area'; did you mean 'search_area'"):
        params.serach_area = 4
    with pytest.raises(PresetError, match="search_area must be > 1"):
        params.search_area = 0
    with pytest.warns(UserWarning, match="sets 'image_sample_size', which this tracker does not read"):
        params.image_sample_size = 18
    assert params.image_sample_size == 18


def test_multiobj_mode_is_absent_unless_set() -> None:
    """The framework prefers it to the class's, so it must not be there by accident."""
    assert not hasattr(preset_parameters("default"), "multiobj_mode")
    assert preset_parameters("default", multiobj_mode="default").multiobj_mode == "default"


def test_copies_are_equal_and_apart() -> None:
    params = preset_parameters("default", seed=3)
    for again in (copy.deepcopy(params), pickle.loads(pickle.dumps(params))):
        again.debug = 1
        assert again.config == params.config and again.run == params.run and params.debug == 0


class Host:
    """Holds the number of the run, as pytracking's Tracker does; asks from two calls further down."""

    def __init__(self, run_id: int | None) -> None:
        self.run_id, self.parameter_name = run_id, "default"

    def get_parameters(self, **changes: Any) -> PluginParams:
        return indirectly(**changes)


def indirectly(**changes: Any) -> PluginParams:
    return preset_parameters("default", **changes)


@pytest.mark.parametrize(("run_id", "seed"), [(None, 10), (0, 10), (4, 14)])
def test_runs_have_seeds(run_id: int | None, seed: int) -> None:
    host = Host(run_id)
    assert host.get_parameters(seed=10).seed_of_run == seed
    assert host.get_parameters(seed=10, seed_by_run=False).seed_of_run == 10
    params = host.get_parameters(seed=10)
    params.run_id = 7  # run_vot writes it
    assert params.seed_of_run == 17


def test_outside_a_host_the_seed_is_that_of_run_0() -> None:
    assert indirectly(seed=10).seed_of_run == 10


@pytest.mark.parametrize(
    ("runner", "written", "bgr"),
    [
        ("run_tracker", {"visualization": False, "debug": 0}, False),
        ("run_video", {"debug": 0, "tracker_name": "ebm", "param_name": "default"}, True),
        ("run_vot", {"tracker_name": "ebm", "param_name": "default", "run_id": None, "visualization": False}, False),
        ("nothing", {}, False),
    ],
)
def test_frames_of_the_video_runner_are_bgr(runner: str, written: dict[str, Any], bgr: bool) -> None:
    # A preset may set visualization itself, as pytracking's own do.
    for color, expected in (("auto", bgr), ("rgb", False), ("bgr", True), (FrameColor.RGB, False)):
        params = preset_parameters("default", frame_color=color, visualization=False, debug=0)
        for name, value in written.items():
            setattr(params, name, value)
        assert params.frames_are_bgr is expected, (runner, color)
