"""The plugin in a real checkout of visionml/pytracking, by its own scripts. Nothing here runs without one:

    EBM_PYTRACKING=DIR EBM_PYTRACKING_PYTHON=FILE pytest -m pytracking tests/plugin/test_real_checkout.py

FILE is an interpreter with this package and what ``ebm plugin check`` asks for (default: that of the tests). The
checkout is copied; the copy is changed, never the checkout. The video scripts need an OpenCV with windows and xvfb-run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ebm_tracker.build import load
from ebm_tracker.plugin.check import check
from ebm_tracker.plugin.install import install, remove

pytestmark = [pytest.mark.pytracking, pytest.mark.slow]
HERE = Path(__file__).parent
PYTHON = os.environ.get("EBM_PYTRACKING_PYTHON") or sys.executable
BOX = (205.0, 151.0, 17.0, 50.0)  # first row of OTB's Crossing
EXPERIMENT = """\
from pytracking.evaluation import get_dataset, trackerlist


def short():
    sequence = get_dataset("otb")["Crossing"]
    sequence.frames = sequence.frames[:12]
    return trackerlist("ebm", "default", range(2)), [sequence]
"""


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def frames(shared_dir: Path) -> list[Path]:
    return sorted((shared_dir / "sequences" / "otb_crossing" / "img").iterdir())


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, frames: list[Path]) -> Path:
    """A copy with the plugin, local.py as pytracking writes it but for OTB, and OTB with Crossing's pictures only."""
    folder = tmp_path_factory.mktemp("real")
    copy = folder / "pytracking"
    shutil.copytree(os.environ["EBM_PYTRACKING"], copy, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    before = fingerprint(copy)
    install(copy, training=True)
    changed = [name for name, digest in fingerprint(copy).items() if before.get(name, digest) != digest]
    assert not changed
    otb = folder / "otb"
    table = (copy / "pytracking" / "evaluation" / "otbdataset.py").read_text()
    for name in re.findall(r'"anno_path": "([^"]+)"', table):
        (otb / name).parent.mkdir(parents=True, exist_ok=True)
        (otb / name).write_text("0,0,1,1\n" * 100)  # all are read at the start
    (otb / "Crossing" / "img").symlink_to(frames[0].parent)
    (otb / "Crossing" / "groundtruth_rect.txt").write_text("205\t151\t17\t50\n" * len(frames))
    write = "from pytracking.evaluation.environment import create_default_local_file as write; write()"
    run([PYTHON, "-c", write], copy)
    local = copy / "pytracking" / "evaluation" / "local.py"
    local.write_text(local.read_text().replace("settings.otb_path = ''", f"settings.otb_path = {str(otb)!r}"))
    (copy / "pytracking" / "experiments" / "ebm_short.py").write_text(EXPERIMENT)
    return copy


def run(command: Sequence[object], folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def own_boxes(pictures: Sequence[np.ndarray], box: Sequence[float] = BOX, seed: int = 0) -> list[tuple[float, ...]]:
    tracker = load("default", "cpu", seed)
    tracker.initialize(pictures[0], box)
    return [tuple(box), *(tracker.track(picture).box_xywh for picture in pictures[1:])]


def pictures(paths: Sequence[Path]) -> list[np.ndarray]:
    return [np.array(Image.open(path).convert("RGB")) for path in paths]


def integers(boxes: Sequence[Sequence[float]]) -> list[list[int]]:
    """Cut towards zero, as pytracking writes them."""
    return np.array(boxes).astype(int).tolist()


def written(house: Path, parameter: str, name: str) -> list[list[int]]:
    path = house / "pytracking" / "tracking_results" / "ebm" / parameter / f"{name}.txt"
    return np.loadtxt(path, delimiter="\t", dtype=int, ndmin=2).tolist()


def test_check_finds_nothing_that_blocks(house: Path) -> None:
    assert not [str(finding) for finding in check(house, python=PYTHON) if finding.blocks]


def test_run_tracker(house: Path, frames: list[Path]) -> None:
    command = [PYTHON, "run_tracker.py", "ebm", "default", "--dataset_name", "otb", "--sequence", "Crossing"]
    said = run(command, house / "pytracking")
    assert said.rstrip().endswith("Done")
    assert written(house, "default", "Crossing") == integers(own_boxes(pictures(frames)))
    folder = house / "pytracking" / "tracking_results" / "ebm" / "default"
    scores = np.loadtxt(folder / "Crossing_object_presence_scores.txt")
    assert len(scores) == len(frames) and scores[0] == 1 and (scores > 0.25).all()


def test_run_experiment_in_workers(house: Path, frames: list[Path]) -> None:
    """Runs 0 and 1, one worker each: seeds 0 and 1."""
    run([PYTHON, "run_experiment.py", "ebm_short", "short", "--threads", 2], house / "pytracking")
    first = pictures(frames[:12])
    for seed in (0, 1):
        assert written(house, f"default_{seed:03d}", "Crossing") == integers(own_boxes(first, seed=seed))
    assert written(house, "default_000", "Crossing") != written(house, "default_001", "Crossing")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, frames: list[Path]) -> Path:
    """Ten frames, without loss."""
    path = tmp_path_factory.mktemp("video") / "crossing.mkv"
    with av.open(str(path), "w") as container:
        first = Image.open(frames[0])
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "bgr0"
        for picture in pictures(frames[:10]):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    return path


def run_windowed(
    house: Path, script: str, video: Path, actions: dict[int, object], *arguments: object
) -> list[list[int]]:
    """The tracked boxes that the script drew."""
    if shutil.which("xvfb-run") is None:
        pytest.skip("xvfb-run is not installed")
    display = ["xvfb-run", "-a", PYTHON, HERE / "stock_driver.py"]
    said = run([*display, script, video, json.dumps(actions), *arguments], house / "pytracking")
    drawn: list[list[int]] = json.loads(said.splitlines()[-1])
    return drawn


def test_run_video(house: Path, video: Path, frames: list[Path]) -> None:
    """The box by --optional_box, SPACE at the first frame, which is tracked once more before it."""
    arguments = ["ebm", "default", video, "--optional_box", *BOX, "--save_results"]
    run_windowed(house, "run_video.py", video, {0: " "}, *arguments)
    shown = pictures(frames[:10])
    assert written(house, "default", "video_crossing_1") == integers(own_boxes([shown[0], *shown]))


def test_run_webcam(house: Path, video: Path, frames: list[Path]) -> None:
    """Two objects, a reset, a third, and q. The camera is the video; boxes count from the next frame."""
    one, two, three = [205, 151, 17, 50], [100, 100, 40, 40], [150, 100, 30, 30]
    actions = {1: one, 3: two, 5: "r", 6: three, 8: "q"}
    drawn = run_windowed(house, "run_webcam.py", video, actions, "ebm", "default")
    shown = pictures(frames[:10])
    a, b, c = (integers(own_boxes(shown[i:j], box)) for i, j, box in ((2, 6, one), (4, 6, two), (7, 9, three)))
    assert drawn == [a[0], a[1], a[2], b[0], a[3], b[1], c[0], c[1]]


def test_run_vot2020(house: Path, frames: list[Path]) -> None:
    if subprocess.run([PYTHON, "-c", "import trax, sys; sys.exit(hasattr(trax, 'wrap_objects'))"]).returncode:
        pytest.skip("pytracking's VOT entry needs vot-trax 3")
    call = "import sys; sys.path.append('..'); from pytracking.run_vot import run_vot2020 as run; run('ebm', 'default')"
    client = [sys.executable, HERE / "trax_client.py", ",".join(map(str, BOX))]
    said = run([*client, *frames[:6], "--", PYTHON, "-c", call], house / "pytracking")
    boxes = np.array([[float(v) for v in line.split(",")] for line in said.splitlines()])
    assert np.abs(boxes - np.array(own_boxes(pictures(frames[:6])))).max() < 1e-3  # the protocol's decimals


@pytest.mark.parametrize(
    ("level", "windows"),
    [
        (1, {"Tracking": ["image"], "Help": ["text"], "Status": ["text"]}),
        (2, {"Tracking": ["image"], "Help": ["text"], "Status": ["text"], "Score Map": ["heatmap"]}),
        (3, {"Tracking": ["image"], "Help": ["text"], "Status": ["text"], "Score Map": ["heatmap"],
             "Init Boxes": ["image"], "Final Boxes": ["image"]}),
    ],
)  # fmt: skip
def test_its_viewer_draws_ours(house: Path, frames: list[Path], level: int, windows: dict[str, list[str]]) -> None:
    box = ",".join(map(str, BOX))
    said = run([PYTHON, HERE / "stock_viewer.py", level, box, *frames[:4]], house / "pytracking")
    assert json.loads(said.splitlines()[-1]) == windows


def test_z_remove_leaves_the_checkout_as_it_was(house: Path) -> None:
    remove(house)
    left = {name for name in fingerprint(house) if "ebm" in Path(name).parts}
    kept = {f"pytracking/tracking_results/ebm/{p.relative_to(house / 'pytracking' / 'tracking_results' / 'ebm')}"
            for p in (house / "pytracking" / "tracking_results" / "ebm").rglob("*") if p.is_file()}  # fmt: skip
    assert left == kept
