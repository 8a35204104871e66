"""One study by two processes of torchrun: the trainings are shared, the rest is done once."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

from ebm_tracker.adapters.detection.study import DetectionStudy
from ebm_tracker.adapters.detection.variants import DIRECT
from ebm_tracker.training.checkpoint import load_state
from tests.adapters.detection.test_study_processes import SETTINGS, make_data

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def test_two_processes_share_each_training(tmp_path: Path) -> None:
    data = make_data(tmp_path / "set")
    (tmp_path / "study.pickle").write_bytes(pickle.dumps((data, SETTINGS)))
    data.detector()  # a base that is trained is the business of one process
    command = [*TORCHRUN, str(Path(__file__).with_name("torchrun_study.py")), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert ranks[0]["scores"] == [DIRECT, "gaussian", "ours"] and ranks[1]["scores"] is None
    assert [rank["made"] for rank in ranks] == [2 * 6, 0]  # both views of the six images, by the first
    study = DetectionStudy(data, SETTINGS, tmp_path / "study", quiet=True)
    for name in ("gaussian", "ours"):
        assert load_state(study.folder_of(0, name) / "final.pt")["steps"] == SETTINGS.nll_loop.steps
        assert study.detections(0, name)
    assert repr(study.result()) == ranks[0]["ran"]
