"""A checkout's own trackers in our benchmark runner, with the stand-in host."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.cli import main
from ebm_tracker.cli.tracker_factories import HostFactory
from ebm_tracker.cli.trackers import tracker_factory
from ebm_tracker.plugin.host_checkout import choose_host, open_host
from ebm_tracker.plugin.stubs import PluginError

HOST = Path(__file__).parent / "stand_in_host"

TRACKER = '''
import numpy as np


class Mover:
    """Moves by params.step a frame, and by one pixel when red and blue are swapped."""

    def __init__(self, params):
        assert params.visualization is False and params.debug == 0
        self.params, self.loaded = params, False

    def initialize_features(self):
        self.loaded = True

    def initialize(self, image, info):
        assert self.loaded and self.visdom is None
        self.params.started = getattr(self.params, "started", 0) + 1
        assert self.params.started == 1, "parameters are made anew for every sequence"
        self.box = list(info["init_bbox"])

    def track(self, image, info=None):
        self.box[0] += self.params.step if image[0, 0, 0] > image[0, 0, 2] else 1
        return {"target_bbox": self.box}


def get_tracker_class():
    return Mover
'''
PARAMETERS = """
class Params:
    step = {}


def parameters():
    return Params()
"""
LOCAL = """
from pytracking.evaluation.environment import EnvSettings


def local_env_settings():
    return EnvSettings()
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with the tracker `mover`; afterwards this process knows nothing of it."""
    checkout = copy_of_the_host(tmp_path)
    (checkout / "pytracking" / "tracker" / "mover").mkdir()
    (checkout / "pytracking" / "tracker" / "mover" / "__init__.py").write_text(TRACKER)
    (checkout / "pytracking" / "parameter" / "mover").mkdir()
    (checkout / "pytracking" / "parameter" / "mover" / "__init__.py").touch()
    for name, step in (("slow", 2), ("fast", 5)):
        (checkout / "pytracking" / "parameter" / "mover" / f"{name}.py").write_text(PARAMETERS.format(step))
    (checkout / "pytracking" / "evaluation" / "local.py").write_text(LOCAL)
    forget()
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield checkout
    forget()


def copy_of_the_host(folder: Path) -> Path:
    checkout = folder / "checkout"
    shutil.copytree(HOST, checkout, ignore=shutil.ignore_patterns("__pycache__"))
    return checkout


def forget() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("pytracking", "ltr")]:
        del sys.modules[name]


def red(count: int) -> list[np.ndarray]:
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:, :, 0] = 200
    return [frame] * count


def boxes(tracker: Any, count: int = 3) -> list[Any]:
    frames = red(count)
    tracker.initialize(frames[0], (1, 2, 10, 10))
    return [tracker.track(frame).box_xywh for frame in frames[1:]]


def test_a_tracker_of_the_checkout(home: Path) -> None:
    made = HostFactory(home, "mover", "fast")
    tracker = made.build(0, "cpu", 1)
    assert boxes(tracker) == [(6, 2, 10, 10), (11, 2, 10, 10)]
    assert made.fresh_per_sequence
    tracker = HostFactory(home, "mover", "slow").build(0, "cpu", None)
    assert boxes(tracker) == [(3, 2, 10, 10), (5, 2, 10, 10)]


def test_facts_are_those_of_the_parameters(home: Path) -> None:
    slow, fast = (HostFactory(home, "mover", name).facts() for name in ("slow", "fast"))
    assert slow != fast and slow == HostFactory(home, "mover", "slow").facts()
    assert "pytracking" not in sys.modules  # nothing is imported for it


def test_names_on_the_command_line(home: Path) -> None:
    args = argparse.Namespace(device="auto", weights=None, backbone_weights=None, pytracking=home)
    made = tracker_factory("mover", "slow", args)
    assert (made.tracker, made.parameter) == ("mover", "slow")
    assert "pytracking" not in sys.modules
    for names, message in (
        (("dimp", "slow"), "has no tracker 'dimp'; known: mover"),
        (("mover", "quick"), "has no parameters 'quick' for mover; known: fast, slow"),
    ):
        with pytest.raises(PluginError, match=message):
            tracker_factory(*names, args)
    with pytest.raises(ValueError, match=r"for pytracking's own trackers \(got 'identity'"):  # ours keep their names
        tracker_factory("identity", "last_box", args)


def test_a_benchmark_in_two_processes(home: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number, frame in enumerate(red(4)):
            Image.fromarray(frame).save(tmp_path / "data" / name / f"{number}.png")
        (tmp_path / "data" / name / "groundtruth.txt").write_text("1,2,10,10\n" * 4)
    words = ["eval", "run", "mover", "slow", "folder", "--path", str(tmp_path / "data"), "--pytracking", str(home)]
    for count in ("1", "2"):
        out = tmp_path / count
        assert main([*words, "--out", str(out), "--workers", count, "--runs", "1", "--device", "cpu"]) == 0
        for name in ("a", "b"):
            rows = (out / "mover" / "slow" / f"{name}.txt").read_text().split()
            assert rows == [f"{1 + 2 * i}.000,2.000,10.000,10.000" for i in range(4)]


def test_without_local_py(home: Path) -> None:
    (home / "pytracking" / "evaluation" / "local.py").unlink()
    with pytest.raises(PluginError, match=r"local\.py is not there, .*network_path .*ebm plugin check"):
        HostFactory(home, "mover", "slow").check()
    assert not (home / "pytracking" / "evaluation" / "local.py").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def local_env_settings(:\n", r"local of .* cannot be imported \(SyntaxError"),
        ("def local_env_settings():\n    return nowhere\n", r"local\.py fails \(NameError: .*nowhere.*mend it first"),
    ],
)
def test_a_broken_local_py_is_not_overwritten(home: Path, text: str, message: str) -> None:
    path = home / "pytracking" / "evaluation" / "local.py"
    path.write_text(text)
    with pytest.raises(PluginError, match=message):
        open_host(choose_host(home, "mover", "slow"))
    assert path.read_text() == text


def test_a_module_that_is_missing_is_named(home: Path) -> None:
    (home / "pytracking" / "__init__.py").write_text("import visdom_of_long_ago\n")
    with pytest.raises(PluginError, match=r"No module named 'visdom_of_long_ago'\); `ebm plugin check .*` lists"):
        open_host(choose_host(home, "mover", "slow"))
    (home / "pytracking" / "__init__.py").write_text("")
    (home / "pytracking" / "tracker" / "mover" / "__init__.py").write_text("import timm_of_long_ago\n")
    with pytest.raises(PluginError, match=r"pytracking\.tracker\.mover of .*timm_of_long_ago"):
        open_host(choose_host(home, "mover", "slow"))


def test_another_pytracking_is_not_taken_for_it(home: Path, tmp_path: Path) -> None:
    """One that is installed is passed over; one that is imported already is an error."""
    (tmp_path / "site" / "pytracking").mkdir(parents=True)
    (tmp_path / "site" / "pytracking" / "__init__.py").write_text("raise OSError('e-mail')\n")
    code = (
        "import sys; from ebm_tracker.plugin.host_checkout import choose_host, open_host; from pathlib import Path\n"
        "make = open_host(choose_host(Path(sys.argv[1]), 'mover', 'slow')); print(make().params.step)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(home)], env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("2", 0), done.stderr

    sys.modules["pytracking"] = type(sys)("pytracking")
    with pytest.raises(PluginError, match="another pytracking already"):
        open_host(choose_host(home, "mover", "slow"))


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="is not a checkout"):
        HostFactory(tmp_path, "atom", "default").check()
    with pytest.raises(PluginError, match="is not a directory"):
        HostFactory(tmp_path / "none", "atom", "default").check()
