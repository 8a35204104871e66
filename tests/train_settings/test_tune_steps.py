from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.models import load_network
from ebm_tracker.train_settings.lite import held_out_pairs, read_photos
from ebm_tracker.train_settings.tune_steps import (
    POSITION_STEPS,
    SIZE_RATIOS,
    Trial,
    best_of,
    grid_table,
    main,
    search,
    verdict,
)
from ebm_tracker.training import HeldOutPairs, RefinementGain

NETWORK = WEIGHTS_FOLDER / "default.safetensors"


class Hill:
    """Stands in for held-out pairs: the IoU has its top at one pair of step lengths."""

    def __init__(self, position: float, size: float) -> None:
        self.top = position, size
        self.asked: list[tuple[Any, tuple[float, float]]] = []

    def encode(self, network: Any) -> str:
        return f"maps of {network}"

    def refinement(self, network: Any, step_length: tuple[float, float], encoded: Any) -> RefinementGain:
        self.asked.append((encoded, step_length))
        distance = sum(abs(math.log(a / b)) for a, b in zip(step_length, self.top, strict=True))
        return RefinementGain(0.5, 0.8 - 0.1 * distance, 0.4 + 0.1 * distance)


def test_every_pair_of_the_grid_is_tried_on_the_same_maps() -> None:
    hill: Any = Hill(3e-4, 3e-3)
    network: Any = "network"
    trials = search(network, hill)
    expected = [(p, r * p) for p in POSITION_STEPS for r in SIZE_RATIOS]
    assert hill.asked == [("maps of network", pytest.approx(step)) for step in expected]
    assert [trial.step_length for trial in trials] == [pytest.approx(step) for step in expected]
    assert POSITION_STEPS == (2e-4, 3e-4, 4e-4, 6e-4, 8e-4, 1.2e-3) and SIZE_RATIOS == (2.5, 5, 10)
    best = best_of(trials)  # by IoU: its OP75 is the lowest
    assert best.step_length == pytest.approx((3e-4, 3e-3)) and best.gain.iou == pytest.approx(0.8)


def test_the_best_is_told_and_marked() -> None:
    hill: Any = Hill(6e-4, 1.5e-3)
    trials = search("network", hill)  # type: ignore[arg-type]
    text = verdict(trials)
    assert text == "best by IoU: 0.0006 and 0.0015: 0.500 -> 0.800, OP75 0.400 (--set step_lengths=0.0006,0.0015)"
    file = io.StringIO()
    Console(file=file, width=120).print(grid_table(trials, 7))
    lines = file.getvalue().splitlines()
    assert "7 held-out pairs" in lines[0]
    (marked,) = [line for line in lines if "*" in line]
    assert re.search(r"0\.0006 +│ +0\.800 / 0\.400 \* │", marked)
    assert len([line for line in lines if " / " in line]) == 1 + len(POSITION_STEPS)


@pytest.mark.parametrize(("top", "hint"), [(2e-4, True), (4e-4, False), (1.2e-3, True), (1e-2, True)])
def test_hint_at_the_end_of_the_grid(top: float, hint: bool) -> None:
    hill: Any = Hill(top, 5 * top)
    assert ("--positions" in verdict(search("network", hill))) is hint  # type: ignore[arg-type]


def test_the_first_of_equal_ones() -> None:
    gain = RefinementGain(0.5, 0.7, 0.6)
    trials = [Trial(1e-4, 5.0, gain), Trial(2e-4, 5.0, gain)]
    assert best_of(trials) is trials[0]


def test_command(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--network", str(NETWORK), "--photos", str(photos), "--pairs", "3"]
    main([*arguments, "--positions", "4e-4", "--device", "cpu"])
    printed = capsys.readouterr().out
    found = re.search(r"best by IoU: 0.0004 and (\S+): (\S+) -> (\S+), OP75 (\S+) ", printed)
    assert found is not None, printed
    network = load_network(NETWORK)
    pairs = HeldOutPairs(held_out_pairs(read_photos(photos)[1], 3, seed=2))
    gains = {ratio: pairs.refinement(network, (4e-4, ratio * 4e-4)) for ratio in SIZE_RATIOS}
    best = max(gains, key=lambda ratio: gains[ratio].iou)
    assert float(found[1]) == pytest.approx(4e-4 * best)
    gain = gains[best]
    assert [float(found[i]) for i in (2, 3, 4)] == pytest.approx([gain.start_iou, gain.iou, gain.op75], abs=2e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--pairs", "0"], "--pairs and --positions must be above 0 (got 0 and"),
        (["--positions", "0", "1e-4"], "--pairs and --positions must be above 0"),
        (["--device", "flying"], "device must be"),
        (["--photos", "nowhere"], "nowhere holds neither ecssd/ nor coco128/"),
    ],
)
def test_errors(arguments: list[str], message: str, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--network", str(NETWORK), "--photos", str(photos), "--device", "cpu", *arguments])
    assert stop.value.code == 2 and message in capsys.readouterr().err
