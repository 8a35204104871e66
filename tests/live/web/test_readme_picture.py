"""The page's picture in the README, taken in a real browser with the real tracker:

EBM_SCREEN=1 EBM_LIVE_PICTURE=docs/live.png pytest -q tests/live/web/test_readme_picture.py
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.demo import find_demo_clip
from ebm_tracker.errors import EbmError
from ebm_tracker.live.web.settings import WebSettings
from ebm_tracker.video import VideoFile, VideoWriter

pytestmark = pytest.mark.screen
FIRST, LAST = 106, 135  # of the wheel's clip of bicycles: one scene of it
CYCLIST, VAN = (345.0, 15.0, 137.0, 177.0), (36.0, 62.0, 252.0, 190.0)
MOST_BYTES = 300_000
SIZE = (1060, 582)


@pytest.fixture
def street(real_engine: Any, tmp_path: Path, running_with: Any) -> Iterator[Any]:
    """A server with that scene."""
    try:
        frames = iter(VideoFile(find_demo_clip().with_name("bikes.mp4")))
    except EbmError as error:
        pytest.skip(str(error))
    path = tmp_path / "street.mp4"
    with VideoWriter(path, 25) as writer:
        for frame in islice(frames, FIRST, LAST + 1):
            assert frame is not None
            writer.write(frame)
    with running_with(real_engine, (str(path),), WebSettings(port=0)) as site:
        yield site


@pytest.mark.slow
def test_the_picture_in_the_readme(street: Any, open_tab: Any, tmp_path: Path) -> None:
    tab = open_tab(f"http://{street.at}/", size="1100,700")
    tab.call("Emulation.setDeviceMetricsOverride", width=SIZE[0], height=SIZE[1], deviceScaleFactor=1, mobile=False)
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    tab.until("document.querySelector('#sources button') !== null")
    tab.click("#sources button")
    tab.until("document.getElementById('stage').dataset.index === '0'")
    for n, box in enumerate((CYCLIST, VAN), 1):
        tab.drag(box)
        tab.until(f"document.querySelectorAll('#objects li').length === {n}")
    for n in range(1, LAST - FIRST):
        tab.press("ArrowRight")
        tab.until(f"document.getElementById('stage').dataset.index === '{n}'")
    tab.press("d")
    tab.until("document.getElementById('stage').dataset.density === '2'")
    objects = tab.objects()
    assert [item["status"] for item in objects] == ["tracked", "tracked"]
    tab.run("window.scrollTo(0, 0)")
    tab.screenshot(tmp_path / "page.png")

    with Image.open(tmp_path / "page.png") as image:
        assert image.size == SIZE
        page = image.convert("RGB")
    data = io.BytesIO()
    page.save(data, "PNG", optimize=True)
    latency = tab.run("document.getElementById('latency').textContent")
    print(f"{len(data.getvalue())} bytes, {latency} ms, boxes {[item['box'] for item in objects]}")
    assert len(data.getvalue()) < MOST_BYTES
    assert np.asarray(page).std() > 20
    Path(os.environ.get("EBM_LIVE_PICTURE") or tmp_path / "live.png").write_bytes(data.getvalue())
