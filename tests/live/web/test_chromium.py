"""The page in a real browser: boxes drawn with mouse, finger and keys; tracks, density and downloads."""

from __future__ import annotations

import csv
import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from ebm_tracker.boxes import iou_xywh
from ebm_tracker.demo import DEMO_BOX_XYWH, find_demo_clip
from ebm_tracker.errors import EbmError
from ebm_tracker.live.web.settings import WebLimits, WebSettings
from ebm_tracker.video import VideoFile, VideoWriter

pytestmark = pytest.mark.screen
PIXELS = (
    "(() => { const c = document.getElementById('picture');"
    " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
    " let r = 0, g = 0, b = 0; for (let i = 0; i < d.length; i += 4) { r += d[i]; g += d[i + 1]; b += d[i + 2]; }"
    " const n = d.length / 4; return [r / n, g / n, b / n]; })()"
)


@pytest.fixture
def limits() -> WebLimits:
    return WebLimits(visitors=2, objects=12)


def stage(tab: Any, name: str) -> str:
    return str(tab.run(f"document.getElementById('stage').dataset.{name} || ''"))


def close_to(box: Any, wanted: Any, pixels: float) -> bool:
    return bool(np.abs(np.subtract(box, wanted)).max() <= pixels)


def open_source(tab: Any, frame: int = 0) -> None:
    tab.until("document.querySelector('#sources button') !== null")
    tab.click("#sources button")
    tab.until(f"document.getElementById('stage').dataset.index === '{frame}'")


def only_ours(tab: Any, site: Any) -> None:
    """No complaint in the console, and nothing asked of anybody else."""
    assert tab.complaints == []
    foreign = [url for url in tab.requests if not url.startswith((f"http://{site.at}/", "blob:", "data:"))]
    assert foreign == [] and tab.requests


# With the real tracker


FRAMES = 60  # half of the clip: two trackers follow it


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    try:
        video = VideoFile(find_demo_clip())
    except EbmError as error:
        pytest.skip(str(error))
    with VideoWriter(tmp_path / "demo.mp4", video.frames_per_second) as writer:
        for frame in itertools.islice(video, FRAMES):
            assert frame is not None
            writer.write(frame)
    return writer.path


@pytest.fixture
def real_site(real_engine: Any, clip_path: Path, running_with: Any) -> Iterator[Any]:
    with running_with(real_engine, (str(clip_path),), WebSettings(port=0)) as site:
        yield site


@pytest.mark.slow
def test_the_demo_clip_is_followed_as_our_runner_does(
    real_site: Any, open_tab: Any, clip_path: Path, tmp_path: Path
) -> None:
    import ebm_tracker

    tab = open_tab(f"http://{real_site.at}/")
    open_source(tab)
    tab.drag(DEMO_BOX_XYWH)
    tab.until("document.querySelectorAll('#objects li').length === 1")
    (drawn,) = tab.objects()
    assert close_to(drawn["box"], DEMO_BOX_XYWH, 1.0)  # the mouse moves in whole pixels of the window
    tab.run("document.getElementById('full-speed').click()")
    tab.press(" ")
    tab.until("document.getElementById('stage').dataset.ended === 'true'")
    tab.until(f"document.getElementById('stage').dataset.index === '{FRAMES - 1}'")
    (last,) = tab.objects()

    table = tab.download("#csv", "ebm_boxes.csv").decode()
    rows = np.array([[float(row[key]) for key in "xywh"] for row in csv.DictReader(io.StringIO(table))])
    video = VideoFile(clip_path)
    tracker = ebm_tracker.load("default", device="cpu")
    expected = [rows[0]]
    for n, frame in enumerate(video):
        if n:
            expected.append(tracker.track(frame).box_xywh)
        else:
            tracker.initialize(frame, tuple(rows[0]))
    overlap = iou_xywh(torch.tensor(rows), torch.tensor(np.array(expected)))
    print(f"IoU with our runner: least {overlap.min():.4f}, mean {overlap.mean():.4f}")
    assert len(rows) == FRAMES and overlap.min() > 0.999
    assert close_to(last["box"], rows[-1], 0.01)

    result = json.loads(tab.download("#json", "ebm_boxes.json"))
    assert np.allclose(result["objects"]["1"]["box_xywh"], rows)
    with av.open(io.BytesIO(tab.download("#video", "ebm_video.mp4"))) as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES

    before = tab.run(PIXELS)
    tab.press("d")
    tab.until("document.getElementById('stage').dataset.density === '1'")
    assert np.abs(np.subtract(tab.run(PIXELS), before)).max() > 1
    tab.screenshot(tmp_path / "density.png")
    only_ours(tab, real_site)


# With the stand-in


@pytest.fixture
def wide_site(limits: WebLimits, tmp_path: Path, running_site: Any) -> Iterator[Any]:
    """A clip of 320x240 that lasts a minute."""
    path = tmp_path / "wide.mp4"
    with VideoWriter(path, 10) as writer:
        for n in range(600):
            writer.write(np.full((240, 320, 3), 40 + n % 100, np.uint8))
    with running_site((str(path),), WebSettings(port=0, limits=limits)) as site:
        yield site


def test_mouse_finger_and_keys_draw_boxes(wide_site: Any, open_tab: Any) -> None:
    tab = open_tab(f"http://{wide_site.at}/")
    open_source(tab)
    tab.drag((200, 150, -80, -60))  # from the bottom-right corner to the top-left one
    tab.until("document.querySelectorAll('#objects li').length === 1")
    assert close_to(tab.objects()[0]["box"], (120, 90, 80, 60), 1.0)

    tab.drag((40, 40, 1, 1))
    tab.until("document.getElementById('hint').textContent.includes('drag a box')")
    assert len(tab.objects()) == 1

    tab.call("Emulation.setTouchEmulationEnabled", enabled=True)
    tab.drag((20, 30, 50, 40), finger=True)
    tab.until("document.querySelectorAll('#objects li').length === 2")
    assert close_to(tab.objects()[1]["box"], (20, 30, 50, 40), 1.0)

    tab.run("document.getElementById('stage').focus()")
    for key, shift in (("b", False), ("ArrowRight", False), ("ArrowDown", True), ("Enter", False)):
        tab.press(key, shift)
    tab.until("document.querySelectorAll('#objects li').length === 3")
    assert close_to(tab.objects()[2]["box"], (128 + 3.2, 96, 64, 48 + 3.2), 0.01)
    colors = [item["color"] for item in tab.objects()]
    assert len(set(colors)) == 3
    chips = tab.run("[...document.querySelectorAll('#objects .chip')].map(c => c.style.backgroundColor)")
    assert chips == [f"rgb({', '.join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))})" for color in colors]

    tab.press("ArrowRight")
    tab.until("document.getElementById('stage').dataset.index === '1'")
    assert close_to(tab.objects()[1]["box"], (22, 31, 50, 40), 1.0)
    tab.press("2")
    tab.press("Delete")
    tab.until("document.querySelectorAll('#objects li').length === 2")
    assert [item["id"] for item in tab.objects()] == [1, 3]
    tab.press("r")
    tab.until("document.querySelectorAll('#objects li').length === 0")
    assert stage(tab, "index") == "0"
    only_ours(tab, wide_site)


def test_a_box_may_be_drawn_while_frames_run(wide_site: Any, open_tab: Any, waiting: Any) -> None:
    tab = open_tab(f"http://{wide_site.at}/")
    open_source(tab)
    tab.press(" ")
    tab.until("Number(document.getElementById('stage').dataset.index) > 3")
    # The picture stands while the mouse is held down, and goes on when nothing comes of it.
    x, y = tab.on_picture(50, 50)
    mouse = {"x": x, "y": y, "button": "left", "clickCount": 1}
    tab.call("Input.dispatchMouseEvent", type="mousePressed", **mouse)
    (visitor,) = wide_site.server.visitors.values()
    waiting(lambda: visitor._is_held, "the server to hold the picture")
    waiting(lambda: stage(tab, "index") == str(visitor._session.current.index), "the last frame sent to be shown")
    at = stage(tab, "index")
    tab.run("new Promise(done => setTimeout(done, 700))")  # seven frames' time
    assert stage(tab, "index") == at
    tab.call("Input.dispatchMouseEvent", type="mouseReleased", **mouse)
    tab.until(f"Number(document.getElementById('stage').dataset.index) > {at}")

    tab.drag((120, 90, 80, 60))
    tab.until("document.querySelectorAll('#objects li').length === 1")
    at = int(stage(tab, "index"))
    tab.until(f"Number(document.getElementById('stage').dataset.index) > {at + 2}")
    tab.press(" ")
    tab.until("document.getElementById('stage').dataset.playing === 'false'")
    waiting(lambda: stage(tab, "index") == str(visitor._session.current.index), "the last frame sent to be shown")
    (item,) = tab.objects()
    first = tab.run("fetch(document.getElementById('csv').href).then(a => a.text())").splitlines()[1].split(",")
    moved = int(stage(tab, "index")) - int(first[0])
    assert moved > 0 and close_to(item["box"], (float(first[2]) + 2 * moved, float(first[3]) + moved, 80, 60), 1.0)


def test_a_key_that_is_held_asks_no_more_than_is_done(wide_site: Any, open_tab: Any, waiting: Any) -> None:
    """A queue of steps would end the connection, and with it the results."""
    tab = open_tab(f"http://{wide_site.at}/")
    open_source(tab)
    tab.drag((120, 90, 80, 60))
    tab.until("document.querySelectorAll('#objects li').length === 1")
    tab.run("document.getElementById('stage').focus()")
    slow = threading.Event()
    wide_site.server.engine.start(slow.wait, 60)  # the thread that computes is busy
    for key in ("ArrowRight", "d", "r"):
        for n in range(100):
            tab.call("Input.dispatchKeyEvent", type="keyDown", key=key, autoRepeat=n > 0)
        tab.call("Input.dispatchKeyEvent", type="keyUp", key=key)
    slow.set()
    tab.until("document.querySelectorAll('#objects li').length === 0")  # r was the last: it starts over
    assert tab.run("document.getElementById('link').textContent") != "not connected"
    for n in (1, 2):
        tab.press("ArrowRight")
        tab.until(f"document.getElementById('stage').dataset.index === '{n}'")
    only_ours(tab, wide_site)


def test_a_second_tab_has_its_own_objects_and_a_closed_one_is_freed(
    wide_site: Any, open_tab: Any, waiting: Any
) -> None:
    one, other = (open_tab(f"http://{wide_site.at}/") for _ in range(2))
    for tab in (one, other):
        open_source(tab)
    one.drag((120, 90, 80, 60))
    one.until("document.querySelectorAll('#objects li').length === 1")
    other.press("ArrowRight")
    other.until("document.getElementById('stage').dataset.index === '1'")
    assert other.objects() == [] and stage(one, "index") == "0"

    third = open_tab(f"http://{wide_site.at}/?source=/etc/passwd")
    third.until("document.getElementById('message').textContent.includes('2 pages are open')")

    folders = {visitor.folder for visitor in wide_site.server.visitors.values()}
    other.call("Page.navigate", url="about:blank")
    waiting(lambda: len(wide_site.server.visitors) == 1, "the closed page's visitor to be freed")
    (left,) = wide_site.server.visitors.values()
    assert {folder for folder in folders if folder.exists()} == {left.folder}
    third.call("Page.reload")
    third.until("document.querySelector('#sources button') !== null")
    assert one.objects() != []


def test_an_upload_plays_and_a_bad_one_is_told(wide_site: Any, open_tab: Any, clip: Path, tmp_path: Path) -> None:
    tab = open_tab(f"http://{wide_site.at}/")
    tab.until("document.querySelector('#sources button') !== null")
    bad = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    bad.write_bytes(b"#EXTM3U\n/etc/passwd\n" * 100)
    root = tab.call("DOM.getDocument")["root"]["nodeId"]
    node = tab.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    tab.call("DOM.setFileInputFiles", files=[str(bad)], nodeId=node)
    tab.until("document.getElementById('message').textContent.includes('is no video of a kind')")
    name = tmp_path / "<b>walk.mp4"
    name.write_bytes(clip.read_bytes())
    tab.call("DOM.setFileInputFiles", files=[str(name)], nodeId=node)
    tab.until("document.getElementById('stage').dataset.source === '<b>walk.mp4'")
    assert tab.run("document.getElementById('source-name').textContent") == "<b>walk.mp4"
    tab.until("document.getElementById('count').textContent === 'of 20'")
    only_ours(tab, wide_site)


def test_the_visitors_own_camera(wide_site: Any, open_tab: Callable[..., Any]) -> None:
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    tab = open_tab(f"http://{wide_site.at}/", flags=fake)
    tab.until("document.querySelector('#sources button') !== null")
    tab.click("#camera")
    tab.until("Number(document.getElementById('stage').dataset.index) > 10")
    tab.drag((100, 100, 60, 60))
    tab.until("document.querySelectorAll('#objects li').length === 1")
    tab.until("/[0-9]+ ms trip/.test(document.getElementById('trip').textContent)")
    at = int(stage(tab, "index"))
    tab.until(f"Number(document.getElementById('stage').dataset.index) > {at + 10}")
    red, green, blue = tab.run(PIXELS)
    assert green > red + 20 or green > 60  # Chromium's fake camera is green
    assert len(tab.run("fetch(document.getElementById('csv').href).then(a => a.text())").splitlines()) > 5
    only_ours(tab, wide_site)


@pytest.mark.parametrize(("size", "scheme"), [("390,844", "light"), ("390,844", "dark"), ("1200,900", "dark")])
def test_nothing_is_wider_than_the_window(
    size: str, scheme: str, wide_site: Any, open_tab: Any, tmp_path: Path
) -> None:
    tab = open_tab(f"http://{wide_site.at}/", size=size)
    width = int(size.split(",")[0])
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    open_source(tab)
    tab.drag((120, 90, 80, 60))
    tab.until("document.querySelectorAll('#objects li').length === 1")
    assert tab.run("document.documentElement.scrollWidth") <= width
    ink, paper = tab.run("['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])")
    assert (luminance(paper) < 0.05) is (scheme == "dark")
    ratio = (max(luminance(ink), luminance(paper)) + 0.05) / (min(luminance(ink), luminance(paper)) + 0.05)
    assert ratio > 7
    tab.screenshot(tmp_path / f"{scheme}.png")


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2) of "rgb(r, g, b)"."""
    values = np.array([float(part) for part in color[4:-1].split(",")]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
