from __future__ import annotations

import io

import pytest
from rich.console import Console

from ebm_tracker.adapters import counting


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(counting.time, "monotonic", lambda: now[0])
    text = io.StringIO()
    with counting.open_counter("rendering [heads]", 5, Console(file=text)) as show:
        for done in range(1, 6):
            now[0] += 4.0
            show(done)
    assert text.getvalue().splitlines() == [f"rendering [heads]: {done} of 5" for done in (0, 3, 5)]


def test_quiet_is_quiet() -> None:
    text = io.StringIO()
    with counting.open_counter("features", 1, Console(file=text, quiet=True)) as show:
        show(1)
    assert text.getvalue() == ""
