"""Where the cache lies on each platform."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ebm_tracker.training.data.cache import default_cache_dir


def test_default_cache_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "ebm-tracker"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for platform, place in [("linux", ".cache/ebm-tracker"), ("darwin", "Library/Caches/ebm-tracker")]:
        monkeypatch.setattr(sys, "platform", platform)
        assert default_cache_dir() == tmp_path / place
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert default_cache_dir() == tmp_path / "Local/ebm-tracker/cache"

    def homeless() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", homeless)
    assert default_cache_dir().name == "ebm-tracker"
    assert not (tmp_path / "Local").exists()
