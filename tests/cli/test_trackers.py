"""TRACKER PRESET -> a factory that can be sent to other processes."""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.cli.tracker_factories import EbmFactory, FactoryError, ModuleFactory, call_factory
from ebm_tracker.cli.trackers import add_tracker_flags, tracker_factory
from ebm_tracker.errors import EbmError, PresetError, WeightsError
from ebm_tracker.evaluation.benchmark.jobs import flag
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.parameters import preset

MODULE = '''
from types import SimpleNamespace as Out


class Shifting:
    """Ours: moves by the number that it is made with, times the seed."""

    def __init__(self, argument, seed):
        self.step = int(argument) * seed

    def initialize(self, frame, box_xywh, color="rgb"):
        self.box = box_xywh

    def track(self, frame, color="rgb"):
        x, y, w, h = self.box
        self.box = (x + self.step, y, w, h)
        return Out(box_xywh=self.box, score=0.5, status="tracked")


class Theirs:
    """pytracking's: without arguments."""

    made = 0

    def __init__(self):
        Theirs.made += 1

    def initialize(self, image, info):
        self.box = info["init_bbox"]

    def track(self, image, info=None):
        self.box = [self.box[0] + 1, *self.box[1:]]
        return {"target_bbox": self.box, "object_presence_score": 0.3}


class Nest:
    @staticmethod
    def inner(argument):
        return Shifting(argument, 1)


def nothing(argument):
    return "nothing"


number = 3
'''


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_tracker_flags(parser)
    return parser.parse_args(words)


def factory(tracker: str, parameter: str, *words: str) -> Any:
    return tracker_factory(tracker, parameter, arguments(*words))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_trackers.py").write_text(MODULE)
    (tmp_path / "my_broken.py").write_text("import my_missing_friend\n")
    (tmp_path / "my_failing.py").write_text("raise OSError('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_trackers"


def boxes(tracker: Any, count: int = 3) -> list[Any]:
    video = MovingTexture((96, 72), count)
    tracker.initialize(video.frame(0), video.box_xywh(0))
    return [tuple(tracker.track(video.frame(i)).box_xywh) for i in range(1, count)]


ANOTHER_PROCESS = """
import pickle, sys
from ebm_tracker.evaluation.synthetic import MovingTexture

made, video = pickle.load(sys.stdin.buffer), MovingTexture((96, 72), 3)
tracker = made.build(7, "cpu", 1)
tracker.initialize(video.frame(0), video.box_xywh(0))
found = [tuple(tracker.track(video.frame(i)).box_xywh) for i in (1, 2)]
sys.stdout.buffer.write(pickle.dumps((made.tracker, made.parameter, found)))
"""


def in_another_process(made: Any, *folders: Path) -> Any:
    """Sent there as the runner does it: pickled, to a new interpreter."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, folders))}
    command = [sys.executable, "-c", ANOTHER_PROCESS]
    done = subprocess.run(command, input=pickle.dumps(made), env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


def test_ebm_is_loaded_by_name() -> None:
    made = factory("ebm", "default", "--device", "cpu")
    facts = made.facts()
    path = WEIGHTS_FOLDER / preset("default").weights.file
    assert facts["weights"] == path.name
    assert facts["weights sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() == preset("default").weights.sha256
    assert facts["upstream_compat"] == "False"
    assert {key for key in facts if key.endswith("version")} == {"ebm_tracker version", "torch version"}
    assert all(isinstance(value, str) for value in facts.values())
    assert not flag(made, "deterministic") and not flag(made, "ignores_device")
    tracker = made.build(5, "cpu", None)
    assert tracker.seed == 5 and tracker.device.type == "cpu"
    elsewhere = EbmFactory("default", device="cuda:99").build(0, "cpu", None)  # the runner's choice goes first
    assert elsewhere.device.type == "cpu"


def test_facts_tell_networks_and_settings_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default, resnet = EbmFactory("default").facts(), EbmFactory("resnet18").facts()
    assert default["weights sha256"] != resnet["weights sha256"] and default["settings"] != resnet["settings"]
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"x")
    facts = EbmFactory("default", weights=other, backbone_weights=other).facts()
    assert facts["weights"] == "other.safetensors"
    assert facts["weights sha256"] == facts["backbone weights sha256"] == hashlib.sha256(b"x").hexdigest()
    assert facts["settings"] == default["settings"]


def test_errors_of_ebm_come_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(PresetError, match="unknown preset 'nano'; known: .*default"):
        factory("ebm", "nano")
    with pytest.raises(WeightsError, match="network file of preset 'atom' not found.*not shipped"):
        factory("ebm", "atom")
    with pytest.raises(WeightsError, match="nowhere.safetensors"):
        factory("ebm", "default", "--weights", str(tmp_path / "nowhere.safetensors"))
    (tmp_path / "page.safetensors").write_text("<html>")
    with pytest.raises(WeightsError, match="page.safetensors"):
        factory("ebm", "default", "--weights", str(tmp_path / "page.safetensors"))
    with pytest.raises(ValueError, match="device must be 'auto' or a torch device"):
        factory("ebm", "default", "--device", "gpu7")


def test_paths_do_not_depend_on_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EbmFactory, "check", lambda self: None)
    monkeypatch.chdir(tmp_path)
    made = factory("ebm", "default", "--weights", "a.safetensors", "--backbone_weights", "b.pth")
    assert (made.weights, made.backbone_weights) == (tmp_path / "a.safetensors", tmp_path / "b.pth")


def test_identity() -> None:
    made = factory("identity", "last_box")
    assert flag(made, "deterministic") and flag(made, "ignores_device")
    box = MovingTexture((96, 72), 3).box_xywh(0)
    assert in_another_process(made) == ("identity", "last_box", [box, box])
    with pytest.raises(FactoryError, match=r"one parameter, last_box \(got 'first_box'\)"):
        factory("identity", "first_box")


@pytest.mark.parametrize(("kind", "deterministic"), [("csrt", True), ("KCF", True), ("mil", False)])
def test_opencv(kind: str, deterministic: bool) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs ebm-tracker[baselines]")
    made = factory("opencv", kind)
    assert (made.tracker, made.parameter) == ("opencv", kind.lower())
    assert flag(made, "deterministic") is deterministic and flag(made, "ignores_device")
    assert made.facts() == {"opencv version": cv2.__version__}
    if kind == "mil":  # its seed reaches the other process
        assert in_another_process(made)[2] == boxes(made.build(7, None, 1)) != boxes(made.build(8, None, 1))


def test_errors_of_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FactoryError, match=r"csrt, kcf, mil \(got 'goturn'\)"):
        factory("opencv", "goturn")
    cv2 = pytest.importorskip("cv2", reason="needs ebm-tracker[baselines]")
    for home in (cv2, cv2.legacy):
        for name in ("TrackerCSRT_create", "TrackerCSRT"):
            monkeypatch.delattr(home, name, raising=False)
    with pytest.raises(EbmError, match=r"without the tracker CSRT.*ebm-tracker\[baselines\]"):
        factory("opencv", "csrt")


def test_a_class_of_ones_own(module: str, tmp_path: Path) -> None:
    made = factory(f"{module}:Shifting", "2")
    assert (made.tracker, made.parameter) == ("my_trackers.Shifting", "2")
    assert flag(made, "fresh_per_sequence") and not flag(made, "deterministic")
    x, y, w, h = MovingTexture((96, 72), 3).box_xywh(0)
    expected = [(x + 14, y, w, h), (x + 28, y, w, h)]
    assert boxes(made.build(7, None, None)) == expected
    assert in_another_process(made, tmp_path) == ("my_trackers.Shifting", "2", expected)
    assert made.facts() == {"argument": "2", "source sha256": hashlib.sha256(MODULE.encode()).hexdigest()}
    assert boxes(factory(f"{module}:Nest.inner", "3").build(0, None, None))[0] == (x + 3, y, w, h)


def test_an_object_with_the_protocol_of_pytracking(module: str) -> None:
    import my_trackers

    tracker = factory(f"{module}:Theirs", "any").build(0, None, None)
    assert my_trackers.Theirs.made == 1
    x, y, w, h = MovingTexture((96, 72), 3).box_xywh(0)
    assert boxes(tracker) == [(x + 1, y, w, h), (x + 2, y, w, h)]
    assert my_trackers.Theirs.made == 1
    out = tracker.track(np.zeros((72, 96, 3), np.uint8))
    assert (out.score, out.status) == (0.3, "lost")
    assert boxes(tracker) == [(x + 1, y, w, h), (x + 2, y, w, h)]  # from the start again, with a new object
    assert my_trackers.Theirs.made == 2


def test_parameters_as_names_of_folders() -> None:
    names = {text: ModuleFactory("a:b", text).parameter for text in ("nano", "configs/x y.yaml", "../..", "a_1+b=2")}
    assert names == {"nano": "nano", "configs/x y.yaml": "configs_x_y.yaml", "../..": "default", "a_1+b=2": "a_1+b=2"}


def test_what_a_factory_is_called_with() -> None:
    extras = {"seed": 1, "device": None, "threads": 2}
    assert call_factory(lambda argument: argument, "a", **extras) == "a"
    assert call_factory(lambda argument, seed: (argument, seed), "a", **extras) == ("a", 1)
    assert call_factory(lambda argument, *, threads=0, device="x": (threads, device), "a", **extras) == (2, None)
    assert call_factory(lambda seed: seed, "a", **extras) == 1
    assert call_factory(lambda *all_: all_, "a", **extras) == ("a",)
    assert call_factory(lambda: "none", "a", **extras) == "none"
    assert call_factory(int, "12", **extras) == 12


@pytest.mark.parametrize(
    ("tracker", "message"),
    [
        ("my_nowhere:make", r"my_nowhere cannot be imported \(No module named 'my_nowhere'\); .*PYTHONPATH"),
        ("my_trackers.sub:make", r"my_trackers\.sub cannot be imported .*not a package"),
        ("my_broken:make", r"my_broken cannot be imported \(No module named 'my_missing_friend'\)$"),
        ("my_failing:make", r"my_failing cannot be imported \(OSError: no licence\)$"),
        ("my_trackers:absent", "my_trackers has no function or class 'absent'"),
        ("my_trackers:number", "my_trackers has no function or class 'number'"),
        ("my_trackers:", "named package.module:factory"),
        ("my trackers:make", "named package.module:factory"),
        ("../my:make", "named package.module:factory"),
    ],
)
def test_errors_of_ones_own(module: str, tracker: str, message: str) -> None:
    with pytest.raises(FactoryError, match=message):
        factory(tracker, "x")


def test_something_that_is_no_tracker(module: str) -> None:
    made = factory(f"{module}:nothing", "x")
    with pytest.raises(FactoryError, match=r"initialize and track \(got 'nothing'\)"):
        made.build(0, None, None)


def test_unknown_trackers_and_flags(tmp_path: Path) -> None:
    with pytest.raises(FactoryError, match="unknown tracker 'dimp'; known: ebm PRESET, opencv csrt.*--pytracking DIR"):
        factory("dimp", "dimp50")
    with pytest.raises(EbmError, match="is not a checkout of visionml/pytracking"):
        factory("dimp", "dimp50", "--pytracking", str(tmp_path))
    for own in (("ebm", "default"), ("opencv", "kcf"), ("identity", "last_box")):
        with pytest.raises(ValueError, match="--pytracking is for pytracking's own trackers"):
            factory(*own, "--pytracking", str(tmp_path))
    with pytest.raises(ValueError, match=r"are for the tracker ebm \(got 'opencv'\)"):
        factory("opencv", "kcf", "--weights", "x.safetensors")
