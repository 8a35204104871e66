"""The made benchmark, importable for worker processes too."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent


class Lines:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.tallies: list[object] = []

    def show(self, tally: object) -> None:
        self.tallies.append(tally)

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module made_benchmark; spawned workers get this process's path and find it too."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("made_benchmark")
