"""What test_study_torchrun.py looks at, done by two processes: ``torchrun ... torchrun_study.py FOLDER``.

``FOLDER/study.pickle`` holds data and settings; every process leaves ``rank<N>.json``.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path

import torch

from ebm_tracker.adapters.detection.kept import KeptFeatures
from ebm_tracker.adapters.detection.study import DetectionStudy
from ebm_tracker.training.processes import joined_processes

folder = Path(sys.argv[1])
torch.set_num_threads(1)
made: list[int] = []
keep = KeptFeatures._keep


def note(self: KeptFeatures, *args: object) -> None:
    made.append(1)
    keep(self, *args)  # type: ignore[arg-type]


KeptFeatures._keep = note  # type: ignore[method-assign]
data, settings = pickle.loads((folder / "study.pickle").read_bytes())
with joined_processes(torch.device("cpu")) as processes:
    study = DetectionStudy(data, settings, folder / "study", processes=processes, quiet=True)
    result = study.run()
left = {"made": len(made), "scores": None if result is None else list(result.scores), "ran": repr(result)}
(folder / f"rank{processes.rank}.json").write_text(json.dumps(left))
