"""The inventory of public names: a name that vanishes, or a signature that changes, fails here."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

# Package -> names that users may rely on. Adding a name here is a promise; taking one away is a break.
PUBLIC = {
    "ebm_tracker": {"EbmError", "Status", "TrackOutput", "Tracker", "__version__", "load"},
    "ebm_tracker.errors": {"EbmError", "PresetError", "VideoError", "WeightsError"},
    "ebm_tracker.energy": {
        "GaussianMixture",
        "ascend",
        "ascend_until_flat",
        "importance_nll",
        "log_partition",
    },
    "ebm_tracker.evaluation": {
        "Scores",
        "TrackingSequence",
        "overlaps",
        "read_boxes",
        "score_boxes",
        "track_sequence",
    },
    "ebm_tracker.video": {"FrameFolder", "FrameSource", "VideoFile", "VideoWriter"},
    "ebm_tracker.frames": {"to_rgb_uint8"},
    "ebm_tracker.cli": {"build_parser", "main"},
}
PACKAGES = (
    "ebm_tracker",
    "ebm_tracker.cli",
    "ebm_tracker.energy",
    "ebm_tracker.evaluation",
    "ebm_tracker.models",
    "ebm_tracker.parameters",
    "ebm_tracker.tracking",
    "ebm_tracker.training",
)


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_there(module: str) -> None:
    imported = importlib.import_module(module)
    missing = {name for name in PUBLIC[module] if not hasattr(imported, name)}
    assert not missing


@pytest.mark.parametrize("package", PACKAGES)
def test_all_lists_what_is_there_and_documented(package: str) -> None:
    module = importlib.import_module(package)
    names = module.__all__
    assert len(set(names)) == len(names)
    assert PUBLIC.get(package, set()) <= set(names)
    for name in names:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{package}.{name} has no docstring"


def test_load_keeps_its_signature() -> None:
    import ebm_tracker

    parameters = inspect.signature(ebm_tracker.load).parameters
    defaults = {name: p.default for name, p in parameters.items()}
    assert list(defaults)[:3] == ["name", "device", "seed"]
    assert (defaults["name"], defaults["device"], defaults["seed"]) == ("default", "auto", 0)


@pytest.mark.parametrize(
    ("method", "expected"),
    [("initialize", ["self", "frame", "box_xywh", "color"]), ("track", ["self", "frame", "color"])],
)
def test_tracker_keeps_its_signatures(method: str, expected: list[str]) -> None:
    import ebm_tracker

    parameters = inspect.signature(getattr(ebm_tracker.Tracker, method)).parameters
    assert list(parameters)[: len(expected)] == expected
    assert parameters["color"].default == "rgb"
    extra = list(parameters.values())[len(expected) :]
    assert all(p.default is not inspect.Parameter.empty for p in extra)


def test_status_values() -> None:
    from ebm_tracker import Status

    assert {s.name: s.value for s in Status} == {
        "TRACKED": "tracked",
        "UNCERTAIN": "uncertain",
        "LOST": "lost",
    }


def test_output_fields() -> None:
    from ebm_tracker import TrackOutput

    assert {"box_xywh", "score", "status"} <= set(TrackOutput.__annotations__)


def test_errors_have_one_base_and_are_no_key_errors() -> None:
    from ebm_tracker import errors

    for error in (errors.PresetError, errors.VideoError, errors.WeightsError):
        assert issubclass(error, errors.EbmError) and not issubclass(error, KeyError)
        assert str(error("one sentence")) == "one sentence"


def test_import_does_no_work(tmp_path: Path) -> None:
    """No output, no file, no optional or unused heavy module, no changed thread count or random state."""
    script = (
        "import sys, os, torch\n"
        "before = torch.get_num_threads(), torch.random.get_rng_state().clone()\n"
        "import ebm_tracker, ebm_tracker.cli\n"
        "assert torch.get_num_threads() == before[0]\n"
        "assert torch.equal(torch.random.get_rng_state(), before[1])\n"
        "heavy = {'cv2', 'skvideo', 'scipy', 'matplotlib', 'pytracking', 'ltr'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert os.listdir('.') == []\n"
    )
    command = [sys.executable, "-W", "error::UserWarning:ebm_tracker", "-c", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
