"""The paper's comparison at a small scale: one network trained to predict IoU from ATOM's candidates (ATOM), from the
mixture proposals (ATOM*), and by maximum likelihood (EBM); same backbone, pairs, steps and seeds.

    python -m ebm_tracker.train_settings.comparison train --photos PHOTOS --bank BANK --runs runs/comparison
    python -m ebm_tracker.train_settings.comparison tune --photos PHOTOS --runs runs/comparison
    python -m ebm_tracker.train_settings.comparison track --sequences SEQUENCES --runs runs/comparison
    python -m ebm_tracker.train_settings.comparison report --runs runs/comparison --figure comparison.png

``train`` runs ``ebm train lite`` nine times (``--jobs`` at once). ``tune`` grid-searches each method's step lengths on
held-out pairs, as the paper did on OTB and NFS. ``track`` runs every network with three tracker seeds over every
sequence; what was tracked before is not tracked again. README.md beside this file holds the outcome.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track as progress_bar

from ebm_tracker.build import choose_device, load
from ebm_tracker.errors import EbmError
from ebm_tracker.evaluation.metrics import overlaps
from ebm_tracker.evaluation.runner import track_sequence
from ebm_tracker.evaluation.sequences import open_frame_folder
from ebm_tracker.files import write_text_atomic
from ebm_tracker.models import load_network
from ebm_tracker.parameters import preset
from ebm_tracker.tracking.config import RefinementSettings
from ebm_tracker.train_settings.comparison_report import report
from ebm_tracker.train_settings.lite import held_out_pairs, read_photos
from ebm_tracker.training.heldout import HeldOutPairs

METHODS = {"atom": "iou_mse_atom", "atom_star": "iou_mse", "ebm": "nll"}
"""Folder prefix -> objective."""
SEEDS = (0, 1, 2)
TRACKER_SEEDS = (0, 1, 2)
SETTINGS = ("steps=2000", "batch_size=32", "evaluate_every=500")
"""What every network is trained with, besides the recipe ``lite``."""
POSITION_STEPS = {
    "atom": (1.25e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2, 8e-2),
    "atom_star": (1.25e-3, 2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2, 8e-2),
    "ebm": (5e-5, 1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3),
}
SIZE_RATIO = 5.0
"""Size steps over position steps, as in the paper."""


def run_folders(runs: Path) -> Iterator[tuple[str, int, Path]]:
    """(method, seed, folder) of the nine trainings."""
    for seed in SEEDS:
        for method in METHODS:
            yield method, seed, runs / f"{method}-{seed}"


def training_commands(photos: Path, bank: Path | None, runs: Path, device: str) -> list[list[str]]:
    """The nine ``ebm train`` commands."""
    data = [f"photos={photos}", *([f"bank={bank}"] if bank else [])]
    return [
        [sys.executable, "-m", "ebm_tracker.cli", "train", "lite", "--resume", "--device", device, "--out", str(folder)]
        + ["--data", *data, "--set", f"objective={METHODS[method]}", f"seed={seed}", *SETTINGS]
        for method, seed, folder in run_folders(runs)
    ]


@contextmanager
def _stopping(pool: Executor) -> Iterator[Executor]:
    """At the end of the block, which an error or Ctrl-C may bring, the pool begins nothing new."""
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def train(photos: Path, bank: Path | None, runs: Path, device: str, jobs: int) -> None:
    """Trains what is not trained yet. Raises EbmError naming the log of a run that failed."""
    runs.mkdir(parents=True, exist_ok=True)

    def one(command: list[str]) -> None:
        folder = Path(command[command.index("--out") + 1])
        if (folder / "network.safetensors").is_file():
            return
        log = runs / f"{folder.name}.txt"
        with log.open("w") as output:
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        if code:
            raise EbmError(f"training {folder.name} ended with code {code}; see {log.absolute()}")

    with _stopping(ThreadPoolExecutor(jobs)) as pool:
        waiting = [pool.submit(one, command) for command in training_commands(photos, bank, runs, device)]
        for done in progress_bar(as_completed(waiting), "training", total=len(waiting)):
            done.result()


def tune(photos: Path, runs: Path, device: str, count: int = 256) -> dict[str, Any]:
    """Mean IoU and OP75 after refinement over the three networks of a method, for each step length; the best length is
    the one with the highest IoU. Held-out pairs that no training looked at (seed 2). Writes ``steps.json``."""
    chosen = choose_device(device)
    pairs = HeldOutPairs(held_out_pairs(read_photos(photos)[1], count, seed=2), device=chosen)
    grid: dict[str, dict[str, list[tuple[float, float, float]]]] = {method: {} for method in METHODS}
    for method, _, folder in progress_bar(list(run_folders(runs)), "tuning"):
        network = load_network(folder / "network.safetensors").to(chosen)
        encoded = pairs.encode(network)
        for position in POSITION_STEPS[method]:
            gain = pairs.refinement(network, (position, SIZE_RATIO * position), encoded=encoded)
            grid[method].setdefault(f"{position:g}", []).append((gain.start_iou, gain.iou, gain.op75))
    means = {
        method: {position: np.mean(values, axis=0).tolist() for position, values in rows.items()}
        for method, rows in grid.items()
    }
    best = {method: float(max(rows, key=lambda position: rows[position][1])) for method, rows in means.items()}
    result = {"pairs": count, "best": best, "grid_start_iou_op75": means}
    write_text_atomic(runs / "steps.json", json.dumps(result, indent=1) + "\n")
    return result


def track_all(sequences: Path, runs: Path, jobs: int) -> None:
    """Tracks with every network, tracker seed and sequence; overlaps go to ``tracks.json``, kept after each one."""
    steps = json.loads((runs / "steps.json").read_text())["best"]
    path = runs / "tracks.json"
    done: dict[str, list[float]] = json.loads(path.read_text()) if path.is_file() else {}
    names = sorted(folder.name for folder in sequences.iterdir() if folder.is_dir())
    tasks = [
        (folder, steps[method], sequences / name, seed, f"{method}/{training_seed}/{seed}/{name}")
        for seed in TRACKER_SEEDS
        for method, training_seed, folder in run_folders(runs)
        for name in names
    ]
    tasks = [task for task in tasks if task[-1] not in done]
    # A clean start of each worker: torch's threads do not survive a fork.
    with _stopping(ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))) as pool:
        waiting = [pool.submit(_track, *task) for task in tasks]
        for finished in progress_bar(as_completed(waiting), "tracking", total=len(waiting)):
            key, values = finished.result()
            done[key] = values
            write_text_atomic(path, json.dumps(done) + "\n")


def _track(folder: Path, position: float, sequence_folder: Path, seed: int, key: str) -> tuple[str, list[float]]:
    """Overlaps of the frames after the first (those with a true box)."""
    torch.set_num_threads(1)
    config = replace(
        preset("default"), refinement=RefinementSettings(step_length=(position, SIZE_RATIO * position))
    )
    tracker = load(config=config, weights=folder / "network.safetensors", device="cpu", seed=seed)
    sequence = open_frame_folder(sequence_folder)
    assert sequence.truth_xywh is not None
    boxes = np.array([step.box_xywh for step in track_sequence(tracker, sequence)])
    count = min(len(boxes), len(sequence.truth_xywh))
    truth = sequence.truth_xywh[1:count]
    present = np.isfinite(truth).all(1) & (truth[:, 2:] > 0).all(1)
    return key, [round(float(v), 4) for v in overlaps(boxes[1:count][present], truth[present])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("train", "tune", "track", "report"):
        sub = verbs.add_parser(verb)
        sub.add_argument("--runs", type=Path, required=True, help="folder of the nine trainings")
        if verb in ("train", "tune"):
            sub.add_argument("--photos", type=Path, required=True)
            sub.add_argument("--device", default="auto")
        if verb == "train":
            sub.add_argument("--bank", type=Path)
        if verb in ("train", "track"):
            sub.add_argument("--jobs", type=int, default=1, help="how many at once (default: 1)")
        if verb == "track":
            sub.add_argument("--sequences", type=Path, required=True, help="holds one folder per sequence")
        if verb == "report":
            sub.add_argument("--figure", type=Path, help="PNG with success curves")
    args = parser.parse_args()
    actions: dict[str, Callable[[], object]] = {
        "train": lambda: train(args.photos, args.bank, args.runs, args.device, args.jobs),
        "tune": lambda: Console().print_json(data=tune(args.photos, args.runs, args.device)),
        "track": lambda: track_all(args.sequences, args.runs, args.jobs),
        "report": lambda: print(report(args.runs, args.figure)),
    }
    try:
        actions[args.verb]()
    except (EbmError, OSError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "interrupted; the same command goes on\n")


if __name__ == "__main__":
    main()
