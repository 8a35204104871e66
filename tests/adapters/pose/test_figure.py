"""The figure of the pose experiment."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.adapters.pose.figure import PoseShown, axis_ends, draw_poses
from ebm_tracker.errors import EbmError


def shown(yaw: float) -> PoseShown:
    pose = np.array([yaw, 5.0, -3.0])
    grid = np.linspace(yaw - 30, yaw + 30, 121)
    image = np.full((64, 64, 3), 90, np.uint8)
    return PoseShown(image, pose, pose + 2, pose + 1, grid, np.exp(-0.5 * ((grid - yaw) / 4) ** 2))


def test_axes_of_a_frontal_head_and_of_a_profile() -> None:
    right, down, front = axis_ends(np.zeros(3))
    assert right == pytest.approx([18, 0]) and down == pytest.approx([0, 18]) and front == pytest.approx([0, 0])
    _, _, front = axis_ends(np.array([90.0, 0, 0]))
    assert front == pytest.approx([-28, 0], abs=1e-9)  # positive yaw: to the left
    _, _, front = axis_ends(np.array([0.0, 90, 0]))
    assert front == pytest.approx([0, -28], abs=1e-9)  # positive pitch: up


def test_the_picture_is_written_and_not_large(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / "pose.png"
    draw_poses(path, "Gaussian", [shown(yaw) for yaw in (-40.0, 0.0, 40.0)])
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
        assert image.width > image.height > 300
    assert path.stat().st_size < 300_000
    for color in ((0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)):  # refined and predicted are there
        assert (np.abs(pixels - color).sum(-1) < 30).sum() > 100
    assert [item.name for item in path.parent.iterdir()] == ["pose.png"]


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(EbmError, match=r"ebm-tracker\[eval\]"):
        draw_poses(tmp_path / "pose.png", "Gaussian", [shown(0.0)])
