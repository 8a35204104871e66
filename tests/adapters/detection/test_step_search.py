from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ebm_tracker.adapters.detection import Detections
from ebm_tracker.adapters.detection.inference import EnergyDetector
from ebm_tracker.adapters.detection.refinement import IOU_NET, OURS, RefineSettings
from ebm_tracker.adapters.detection.step_search import search_steps, step_grid

_spec = importlib.util.spec_from_file_location("tiny_detector", Path(__file__).with_name("tiny_detector.py"))
assert _spec is not None and _spec.loader is not None
tiny = sys.modules.setdefault("tiny_detector", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(tiny)


def model(settings: RefineSettings = OURS) -> EnergyDetector:
    branch = tiny.KnownBranch(lambda b, _: -(b - b.new_tensor([30.0, 20, 70, 60])).square().sum(-1) / 3600)
    return EnergyDetector(tiny.tiny_detector(), branch, settings)


def test_the_grid_has_every_combination() -> None:
    grid = step_grid(OURS, factors=(1, 3), ratios=(2, 4), decays=(0.5, 0.2))
    assert len(grid) == len(set(grid)) == 8
    assert {(round(s.position_step / 1e-4), round(s.size_step / s.position_step), s.decay) for s in grid} == {
        (p, r, d) for p in (1, 3) for r in (2, 4) for d in (0.5, 0.2)
    }
    assert OURS in step_grid(OURS) and all(s.steps == 10 and s.most == 100 for s in grid)
    corners = step_grid(IOU_NET, factors=(0.5, 1, 2))
    assert [s.position_step for s in corners] == [0.25, 0.5, 1.0] and IOU_NET in corners


def test_the_best_steps_come_first_with_the_detections_of_detect() -> None:
    images = [[tiny.image()], [tiny.image(50, 90, seed=2), tiny.image(64, 64, seed=4)]]
    pyramids = [tiny.tiny_detector().pyramid(few) for few in images]
    candidates = step_grid(OURS, factors=(1, 1000, 3000), ratios=(1.0,))
    seen: list[list[Detections]] = []
    visited: list[int] = []

    def score(found: list[Detections]) -> float:
        """Minus the distance from the optimum of f, in image pixels."""
        seen.append(found)
        places = [pyramid.to_input(few.boxes_xyxy, index) for (pyramid, index), few in zip(order, found, strict=True)]
        return -float((torch.cat(places) - torch.tensor([30.0, 20, 70, 60])).abs().mean())

    order = [(pyramids[0], 0), (pyramids[1], 0), (pyramids[1], 1)]
    trials = search_steps(model(), pyramids, candidates, score, visited.append)
    assert visited == [0, 1, 2]
    assert [t.score for t in trials] == sorted((t.score for t in trials), reverse=True)
    assert trials[-1].settings.position_step == pytest.approx(1e-4)
    for settings, found in zip(candidates, seen, strict=True):
        expected = [few for some in images for few in model(settings).detect(some)]
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a.boxes_xyxy, b.boxes_xyxy)
            assert torch.equal(a.scores, b.scores)


def test_equal_scores_keep_their_order() -> None:
    pyramids = [tiny.tiny_detector().pyramid([tiny.image()])]
    candidates = [replace(OURS, steps=steps) for steps in (3, 1, 2)]
    trials = search_steps(model(), pyramids, candidates, lambda _: 1.0)
    assert [t.settings.steps for t in trials] == [3, 1, 2]
    with pytest.raises(ValueError, match="candidates"):
        search_steps(model(), pyramids, [], lambda _: 1.0)
