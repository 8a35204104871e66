from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ebm_tracker.adapters.toy import ToyStudy
from ebm_tracker.train_settings import toy


def test_full_scale_is_the_papers() -> None:
    full = toy.FULL
    assert (full.runs, full.pairs, full.network) == (20, 2000, "paper")
    assert (full.sigmas, full.samples) == ((0.1, 0.8), 1024)
    assert (full.fit.epochs, full.fit.batch_size, full.fit.learning_rate) == (75, 32, 1e-3)
    loop = full.fit.loop(full.pairs)
    assert (loop.steps, loop.optimizer, loop.weight_decay, loop.schedule) == (4687, "adam", 0, "steps")
    assert not loop.milestones and not loop.average_decay


def test_small_scale_trains(tmp_path: Path) -> None:
    short = replace(toy.SMALL, runs=1, fit=replace(toy.SMALL.fit, epochs=1))
    values = ToyStudy(short, tmp_path, data_sets=("mixture",), models=("nll",), quiet=True).run()
    assert all(0 < value < 10 for found in values.values() for value in found)
