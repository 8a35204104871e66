"""A stand-in tracker, and helpers that lie beside: a made camera, a virtual screen."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ebm_tracker.tracking import Status, TrackOutput


def helper(name: str) -> ModuleType:
    key = f"_tests_live_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None and spec.loader is not None
        sys.modules[key] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


@pytest.fixture
def made_stream() -> ModuleType:
    return helper("made_stream")


@pytest.fixture
def screens() -> ModuleType:
    return helper("screen")


@pytest.fixture(scope="session")
def visdom_servers() -> ModuleType:
    return helper("visdom_server")


class Walkers:
    """Moves each box by (2, 1) a frame."""

    def __init__(self) -> None:
        self.boxes: dict[Any, tuple[float, float, float, float]] = {}
        self.started = 0

    @property
    def ids(self) -> tuple[Any, ...]:
        return tuple(self.boxes)

    def initialize(self, frame: Any, boxes: Mapping[Any, Any], color: str = "rgb") -> None:
        self.boxes = {key: tuple(box) for key, box in boxes.items()}
        self.started += 1

    def add(self, frame: Any, object_id: Any, box_xywh: Any, color: str = "rgb") -> None:
        if box_xywh[0] >= frame.shape[1]:
            raise ValueError("box lies outside the image")
        self.boxes[object_id] = tuple(box_xywh)

    def remove(self, object_id: Any) -> None:
        del self.boxes[object_id]

    def track(self, frame: Any, color: str = "rgb") -> dict[Any, TrackOutput]:
        if frame is None:
            return {key: TrackOutput(box, 0.0, Status.LOST) for key, box in self.boxes.items()}
        self.boxes = {key: (x + 2, y + 1, w, h) for key, (x, y, w, h) in self.boxes.items()}
        return {key: TrackOutput(box, 0.8, Status.TRACKED) for key, box in self.boxes.items()}


@pytest.fixture
def walkers() -> Walkers:
    return Walkers()
