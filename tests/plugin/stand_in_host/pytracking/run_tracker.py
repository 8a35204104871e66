# ruff: noqa: TID251 - the host imports itself by its name
"""`python run_tracker.py ebm default --runid N --dataset_name otb --sequence NAME --threads N`."""

import argparse
import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), ".."))

from pytracking.evaluation import Tracker  # noqa: E402
from pytracking.evaluation.data import otb_sequence  # noqa: E402
from pytracking.evaluation.environment import env_settings  # noqa: E402
from pytracking.evaluation.running import run_dataset  # noqa: E402

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("tracker_name")
    parser.add_argument("tracker_param")
    parser.add_argument("--runid", type=int)
    parser.add_argument("--dataset_name", default="otb")
    parser.add_argument("--sequence")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    chosen = otb_sequence(getattr(env_settings(), f"{args.dataset_name}_path"), args.sequence)
    run_dataset([chosen], [Tracker(args.tracker_name, args.tracker_param, args.runid)], args.threads)
