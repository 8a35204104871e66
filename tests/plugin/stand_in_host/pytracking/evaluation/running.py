"""Runs trackers over sequences and writes their files; what fails is printed and left out, as in the real one."""

import multiprocessing
import os
from itertools import product

import numpy as np


def run_sequence(sequence, tracker):
    print(f"Tracker: {tracker.name} {tracker.parameter_name}, Sequence: {sequence.name}")
    try:
        outputs = tracker.run_sequence(sequence)
    except Exception as error:
        print(error)
        return
    os.makedirs(tracker.results_dir, exist_ok=True)
    base = os.path.join(tracker.results_dir, sequence.name)
    np.savetxt(f"{base}.txt", np.array([o["target_bbox"] for o in outputs]).astype(int), delimiter="\t", fmt="%d")
    np.savetxt(f"{base}_time.txt", [o["time"] for o in outputs], fmt="%f")
    scores = [o["object_presence_score"] for o in outputs]
    np.savetxt(f"{base}_object_presence_scores.txt", scores, fmt="%f")


def run_dataset(dataset, trackers, threads=0):
    jobs = list(product(dataset, trackers))
    if not threads:
        for job in jobs:
            run_sequence(*job)
    else:
        multiprocessing.set_start_method("spawn", force=True)
        with multiprocessing.Pool(threads) as pool:
            pool.starmap(run_sequence, jobs)
    print("Done")
