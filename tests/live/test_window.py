"""The real window with the real tracker on a virtual screen, driven by real mouse and key events."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.demo import DEMO_BOX_XYWH, find_demo_clip
from ebm_tracker.errors import VideoError

pytestmark = pytest.mark.screen
pytest.importorskip("pygame", reason="the window needs the extra live")
SCALE = 4  # the clip has 176x144 pixels


@pytest.fixture
def clip() -> Path:
    try:
        return find_demo_clip()
    except VideoError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_a_user_at_the_window(screens: ModuleType, clip: Path, tmp_path: Path) -> None:
    missing = screens.missing_tools()
    if missing:
        pytest.skip(missing)
    with screens.Screen() as screen:
        command = [sys.executable, "-m", "ebm_tracker.cli", "live", "--source", str(clip), "--out", str(tmp_path)]
        console = screens.Console([*command, "--threads", "1"], screen.environment)
        try:
            left, top = screen.window_at()

            def on_screen(x: float, y: float) -> tuple[int, int]:
                return round(left + SCALE * x), round(top + SCALE * y)

            x, y, w, h = DEMO_BOX_XYWH
            screen.drag(on_screen(x + w, y + h), on_screen(x, y))  # from the far corner
            box = [float(value) for value in console.wait_for("added 1 at ").split(",")]
            assert box == pytest.approx(DEMO_BOX_XYWH, abs=0.6)
            screen.drag(on_screen(10, 10), on_screen(10, 10))
            console.wait_for("that was a click")
            screen.xdo("key", "space")
            console.wait_for("goes on")
            screen.wait_for_changes(8, left, top, (176 * SCALE, 144 * SCALE))
            screen.xdo("key", "space")
            console.wait_for("paused")
            screen.drag(on_screen(5, 60), on_screen(40, 110))
            console.wait_for("added 2 at ")
            screen.xdo("key", "Right")
            console.wait_for("one frame")
            screen.xdo("key", "d")
            console.wait_for("density on")
            screen.xdo("key", "h")
            screen.wait_for_changes(1, left, top + 110 * SCALE, (176 * SCALE, 34 * SCALE))  # the help's lines
            screen.xdo("key", "s")
            snapshot = Path(console.wait_for("snapshot ").strip())
            shown = np.asarray(Image.open(snapshot))
            assert shown.shape == (144 * SCALE, 176 * SCALE, 3)
            screen.xdo("key", "d")
            console.wait_for("density off")
            screen.xdo("key", "s")
            plain = np.asarray(Image.open(Path(console.wait_for("snapshot ").strip())))
            assert (shown != plain).any(axis=-1).mean() > 0.005  # the density lay over it
            screen.xdo("key", "v")
            console.wait_for("recording to ")
            screen.xdo("mousemove", *on_screen(10, 105), "click", 3)
            console.wait_for("removed 2")
            screen.xdo("key", "Right")
            console.wait_for("one frame")
            screen.xdo("key", "q")
            console.wait_for("done: carphone_pristine")
            assert console.process.wait(screens.PATIENCE_S) == 0
        finally:
            console.process.kill()
            print(console.text, console.rest())  # shown when the test fails
    (rows_path,) = tmp_path.glob("*_objects_*.csv")
    with rows_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = rows[0]
    assert (first["frame"], first["id"], first["status"]) == ("0", "1", "tracked")
    frames = {key: [int(row["frame"]) for row in rows if row["id"] == key] for key in ("1", "2")}
    assert frames["1"] == list(range(frames["1"][-1] + 1)) and len(frames["1"]) > 3
    assert len(frames["2"]) == 2 and frames["2"][-1] == frames["1"][-2]
    assert {row["status"] for row in rows if row["id"] == "1"} == {"tracked"}
    (video,) = tmp_path.glob("*_live_*.mp4")
    assert video.stat().st_size > 1000
