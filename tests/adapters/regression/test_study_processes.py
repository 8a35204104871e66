from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ebm_tracker.adapters.regression import FitSettings, RefineSettings
from ebm_tracker.adapters.regression.study import Study, StudyData, StudySettings
from ebm_tracker.adapters.regression.study_progress import Progress, StudyProgress, open_progress, work_off
from ebm_tracker.training.checkpoint import load_state

FIT = FitSettings(epochs=1, batch_size=10)
SETTINGS = StudySettings(
    sigmas=(0.1, 2.0),
    refine=RefineSettings(step=0.5),
    heads=("direct_l2",),
    runs=1,
    hidden=4,
    branch=(4,),
    joint=(4,),
    samples=4,
    head_fit=FIT,
    energy_fit=FIT,
)


def make_data() -> StudyData:
    x = torch.linspace(-1, 1, 30)[:, None]
    return StudyData(x[:20], x[:20], x[20:], x[20:], 1, {}, torch.linspace(-2, 2, 41)[:, None])


def test_processes_side_by_side_train_the_same_networks(tmp_path: Path) -> None:
    alone = Study(make_data(), SETTINGS, tmp_path / "alone", quiet=True).run()
    shared = Study(make_data(), SETTINGS, tmp_path / "shared", workers=2, quiet=True).run()
    np.testing.assert_array_equal(shared.after["direct_l2"], alone.after["direct_l2"])
    np.testing.assert_array_equal(shared.alone["mean"], alone.alone["mean"])


def test_an_error_in_a_process_reaches_the_caller(tmp_path: Path) -> None:
    Study(make_data(), SETTINGS, tmp_path, quiet=True).run()
    other = Study(make_data(), replace(SETTINGS, hidden=5), tmp_path, quiet=True)
    with pytest.raises(ValueError, match="hidden"):
        work_off(other, [(0, "direct_l2")], 1, StudyProgress(lambda done, text: None))


def test_workers_are_for_the_cpu() -> None:
    with pytest.raises(ValueError, match="workers must be 1 on a cuda device"):
        Study(make_data(), SETTINGS, Path("unused"), workers=2, device=torch.device("cuda"))


def test_steps_are_counted_once_whatever_was_done_before() -> None:
    seen: list[int] = []
    progress = StudyProgress(lambda done, text: seen.append(done))
    first = progress.part("a")
    for step in (1, 2, 3):
        first.show(step, 0.0, 0.0, 0.0)
    first.finish(5)
    resumed = progress.part("b")
    resumed.show(4, 0.0, 0.0, 0.0)  # three were done in an earlier start
    resumed.finish(5)
    Progress().finish(5)  # shows nothing
    assert seen == [1, 2, 3, 5, 9, 10]


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("ebm_tracker.adapters.regression.study_progress.time.monotonic", lambda: now[0])
    with open_progress(100) as progress:
        draw = progress.at
        draw(20, "run 1, gaussian")  # of an earlier start
        now[0] += 11
        draw(40, "run 1, laplace")
        now[0] += 1
        draw(41, "run 1, laplace")
        draw(100, "run 1, energy")
    assert capsys.readouterr().out.splitlines() == [" 40 %  run 1, laplace, 0:00:33 left", "100 %  run 1, energy"]


def test_ctrl_c_saves_the_trainings_under_way_and_begins_no_others(tmp_path: Path) -> None:
    def interrupt(done: int, text: str) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    long = replace(FIT, epochs=100_000)
    study = Study(make_data(), replace(SETTINGS, head_fit=long, energy_fit=long), tmp_path, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        work_off(study, [(0, "direct_l2"), (0, "energy")], 1, StudyProgress(interrupt))
    assert 3 <= load_state(tmp_path / "run-0" / "direct_l2" / "last.pt")["steps"] < study.steps("direct_l2")
    assert not (tmp_path / "run-0" / "energy").exists()
