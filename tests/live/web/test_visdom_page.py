"""visdom's own page in a real Chromium, with the scripts that its server would fetch from the internet.

They are taken from visdom's folder where a server has been started before, else from the npm registry; a test without
either is skipped. ``EBM_VISDOM_SHOTS=DIR`` keeps the screenshots there.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ebm_tracker.cli import main
from ebm_tracker.demo import DEMO_BOX_XYWH, find_demo_clip
from ebm_tracker.errors import EbmError
from ebm_tracker.live.visdom_view import VisdomView
from ebm_tracker.plugin.install import install
from ebm_tracker.tracking import Status, TrackOutput
from ebm_tracker.video import VideoFile

pytestmark = [pytest.mark.screen, pytest.mark.slow]
PYTHON = os.environ.get("EBM_PYTRACKING_PYTHON") or sys.executable
THEIR_RUN = """\
import sys
import numpy as np
sys.path.append("..")
from pytracking.evaluation import Sequence, Tracker
sequence = Sequence("short", sys.argv[2:], "otb", np.array([[205.0, 151.0, 17.0, 50.0]]))
server = {"server": "127.0.0.1", "port": int(sys.argv[1])}
Tracker("ebm", "default").run_sequence(sequence, debug=3, visdom_info=server)
print("all frames done", flush=True)
sys.stdin.read()
"""
SCRIPTS = Path(__file__).parents[1] / "visdom_page.py"
PLOTS = "[...document.querySelectorAll('.js-plotly-plot')]"
TEXT = "document.body.innerText"
PLACES = "JSON.stringify([...document.querySelectorAll('.window')].map(e => e.getBoundingClientRect()))"


@pytest.fixture(scope="module")
def page_server(visdom_servers: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server started by visdom's own command, of a copy of visdom that has its scripts."""
    pytest.importorskip("visdom", reason="visdom is not installed")
    tornado = pytest.importorskip("tornado", reason="visdom is not installed")
    if tornado.version_info >= (6, 6):
        pytest.skip(f"visdom's page answers 403 with tornado 6.6 and later (installed: {tornado.version})")
    folder = tmp_path_factory.mktemp("visdom")
    spec = importlib.util.find_spec("visdom")
    assert spec is not None and spec.submodule_search_locations
    shutil.copytree(spec.submodule_search_locations[0], folder / "visdom", ignore=shutil.ignore_patterns("__pycache__"))
    found = {"PYTHONPATH": str(folder)}
    if not (folder / "visdom" / "static" / "version.built").exists():
        if shutil.which("npm") is None:
            pytest.skip("visdom's scripts are not to be had: npm is not installed")
        command = [sys.executable, str(SCRIPTS)]
        done = subprocess.run(command, env={**os.environ, **found}, capture_output=True, text=True)
        last = (done.stderr.strip().splitlines() or [""])[-1]
        if last.startswith("OSError"):
            pytest.skip(f"visdom's scripts are not to be had: {last}")
        assert done.returncode == 0, done.stderr
    with visdom_servers.running(visdom_servers.COMMAND, folder, found) as running:
        assert "Downloading" not in running.log.read_text()  # it needs no internet now
        yield running


@pytest.fixture
def open_page(page_server: Any, open_tab: Callable[..., Any]) -> Callable[..., Any]:
    """open_page(environment="ebm") -> a tab with that environment."""

    def open_one(environment: str = "ebm") -> Any:
        tab = open_tab(f"http://127.0.0.1:{page_server.port}/env/{environment}", "1400,900")
        tab.until("document.querySelectorAll('.window').length > 0")
        return tab

    return open_one


def keep(tab: Any, folder: Path, name: str) -> None:
    """A screenshot, once no pane moves any more."""
    last = ""
    while last != (last := tab.run(PLACES)):
        time.sleep(0.5)
    folder = Path(os.environ.get("EBM_VISDOM_SHOTS") or folder)
    folder.mkdir(parents=True, exist_ok=True)
    tab.screenshot(folder / name)


def only_ours(tab: Any, server: Any) -> None:
    """Nothing was asked of anybody else, and no script complained; visdom has no icon in some versions."""
    foreign = [
        url for url in tab.requests if not url.startswith((f"http://127.0.0.1:{server.port}/", "data:", "blob:"))
    ]
    assert foreign == [] and tab.requests
    assert [complaint for complaint in tab.complaints if "favicon" not in complaint] == []


def picture_color(tab: Any, x: int, y: int) -> list[int]:
    """RGB of a pixel of the tracking image."""
    script = (
        "(async () => { const i = document.querySelector('.window img[src^=\"data:image/jpeg\"]'); await i.decode();"
        " const c = document.createElement('canvas'); c.width = i.naturalWidth; c.height = i.naturalHeight;"
        " const d = c.getContext('2d'); d.drawImage(i, 0, 0);"
        f" return [...d.getImageData({x}, {y}, 1, 1).data].slice(0, 3); }})()"
    )
    return [int(value) for value in tab.run(script)]


def test_ebm_track_on_the_page(page_server: Any, open_page: Callable[[], Any], tmp_path: Path) -> None:
    try:
        clip = VideoFile(find_demo_clip())
    except EbmError as error:
        pytest.skip(str(error))
    shots = tmp_path / "clip"
    shots.mkdir()
    for number, frame in zip(range(6), clip, strict=False):
        Image.fromarray(np.asarray(frame)).save(shots / f"{number}.png")
    box = ",".join(map(str, DEMO_BOX_XYWH))
    command = ["track", "--frames", str(shots), "--init", box, "--out", str(tmp_path / "out"), "--no-save_video"]
    assert main([*command, "--device", "cpu", "--visdom", f"127.0.0.1:{page_server.port}"]) == 0
    tab = open_page()
    tab.until("document.querySelectorAll('.window').length === 4")
    tab.until(f"{PLOTS}.length === 2 && {PLOTS}.every(p => p.data)")
    kinds = tab.run(f"{PLOTS}.map(p => p.data[0].type).sort()")
    assert kinds == ["bar", "heatmap"]
    titles = tab.run(TEXT)
    for title in ("Tracking", "Status", "Score Map", "Box Energies"):
        assert title in titles
    assert tab.run(f"{PLOTS}.find(p => p.data[0].type === 'heatmap').data[0].z.length") == 72
    peak = tab.run(f"Math.max(...{PLOTS}.find(p => p.data[0].type === 'heatmap').data[0].z.flat())")
    assert 0.3 < peak < 1.5  # a score near 1 where the object is
    assert tab.run(f"{PLOTS}.find(p => p.data[0].type === 'bar').data[0].y.length") == 10
    assert "tracked" in tab.run(TEXT)
    keep(tab, tmp_path, "visdom_track.png")
    only_ours(tab, page_server)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of pytracking with the plugin."""
    copy = tmp_path / "pytracking"
    shutil.copytree(os.environ["EBM_PYTRACKING"], copy, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    install(copy)
    write = "from pytracking.evaluation.environment import create_default_local_file as write; write()"
    subprocess.run([PYTHON, "-c", write], cwd=copy, check=True, timeout=600)
    return copy


@pytest.mark.pytracking
def test_pytrackings_viewer_on_the_page(
    page_server: Any, open_page: Callable[..., Any], checkout: Path, shared_dir: Path, tmp_path: Path
) -> None:
    frames = sorted((shared_dir / "sequences" / "otb_crossing" / "img").iterdir())[:6]
    # Its windows go when it ends, so it waits for the end of its input.
    run = subprocess.Popen(
        [PYTHON, "-c", THEIR_RUN, str(page_server.port), *map(str, frames)],
        cwd=checkout / "pytracking", env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert run.stdout is not None and any("all frames done" in line for line in run.stdout)
        tab = open_page("main")
        for words in ("Tracking", "Status", "frame num: 5", "Score Map", "Init Boxes", "Final Boxes", "best energy"):
            tab.until(f"{TEXT}.includes({words!r})")
        tab.until(f"{PLOTS}.length === 1 && {PLOTS}[0].data[0].z.length === 288")
        keep(tab, tmp_path, "visdom_pytracking.png")
        only_ours(tab, page_server)
    finally:
        run.kill()
        run.communicate()


def plain(color: tuple[int, int, int]) -> np.ndarray:
    return np.full((120, 160, 3), color, np.uint8)


def send(view: VisdomView, frame: np.ndarray, index: int, keys: str) -> None:
    """One frame with these objects, once the server has it."""
    outputs = {key: TrackOutput((20, 10, 30, 20), 0.5, Status.TRACKED) for key in keys}
    found: Any = SimpleNamespace(scores=torch.rand(288, 288), climb=SimpleNamespace(energies=torch.rand(10)))
    before, end = view.sent, time.monotonic() + 120
    while view.sent == before and not view.failed and time.monotonic() < end:
        view.show(frame, index, outputs, dict.fromkeys(keys, found))
        time.sleep(0.02)
    assert view.sent > before


def test_the_page_follows(page_server: Any, open_page: Callable[[], Any], tmp_path: Path) -> None:
    """What comes while the page is open shows, and an object that goes takes its panes along."""
    with VisdomView(f"127.0.0.1:{page_server.port}") as view:
        send(view, plain((255, 0, 0)), 7, "ab")
        tab = open_page()
        tab.until(f"{TEXT}.includes('frame 7') && {PLOTS}.length === 4 && {TEXT}.includes('Score Map b')")
        red, _, blue = picture_color(tab, 150, 110)
        assert red > 200 and blue < 60
        keep(tab, tmp_path, "visdom_two.png")
        send(view, plain((0, 0, 255)), 8, "a")
        tab.until(f"{TEXT}.includes('frame 8') && {PLOTS}.length === 2 && !{TEXT}.includes('Score Map b')")
        red, _, blue = picture_color(tab, 150, 110)
        assert red < 60 and blue > 200
    keep(tab, tmp_path, "visdom_one.png")
    only_ours(tab, page_server)
