from __future__ import annotations

import io

import pytest
from rich.console import Console

from ebm_tracker.evaluation.benchmark import display
from ebm_tracker.evaluation.benchmark.display import duration_text, open_display, tally_text
from ebm_tracker.evaluation.benchmark.worklist import Tally

TALLY = Tally(
    jobs=30,
    jobs_closed=3,
    frames=9000,
    frames_done=600,
    frames_closed=900,
    failed=1,
    seconds=30.0,
    in_hand=("default_000/[b]Basketball", "default_000/Biker", "default_000/Bird1"),
)


def test_the_estimate_is_what_is_left_at_the_pace_so_far() -> None:
    assert TALLY.frames_per_second == 20
    assert TALLY.seconds_left == (9000 - 900) / 20
    assert tally_text(TALLY) == "3 of 30 sequences, 1 failed, 900 of 9000 frames, 20.0 frames/s, about 7 min left"


def test_before_the_first_frame_there_is_no_estimate() -> None:
    start = Tally(2, 0, 10, 0, 0, 0, 5.0, ())
    assert start.seconds_left is None
    assert tally_text(start) == "0 of 2 sequences, 0 of 10 frames"
    assert Tally(2, 0, 10, 0, 0, 0, 0.0, ()).frames_per_second == 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (6000, "1 h 40 min"), (36300, "10 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_log_gets_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.9, 5.0, 6.0, 10.0])
    monkeypatch.setattr(display.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with open_display(Console(file=stream, width=40)) as shown:
        for _ in range(5):
            shown.show(TALLY)
        shown.say("default/[b]ike: failed: " + "long " * 20)
    lines = stream.getvalue().splitlines()
    assert lines[:2] == [tally_text(TALLY)] * 2
    assert lines[2:] == ["default/[b]ike: failed: " + "long " * 20]


def test_a_terminal_gets_a_bar_and_lines_above_it() -> None:
    stream = io.StringIO()
    with open_display(Console(file=stream, width=200, force_terminal=True)) as shown:
        shown.show(TALLY)
        shown.say("default/[b]ike: failed: why")
        shown.show(TALLY)
    text = stream.getvalue()
    assert tally_text(TALLY) in text and "default_000/[b]Basketball  default_000/Biker  ..." in text
    assert "default/[b]ike: failed: why\n" in text
