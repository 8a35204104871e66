"""Finds a network's step lengths: the refinement's gain in IoU on held-out pairs, over a grid.

    python -m ebm_tracker.train_settings.tune_steps --network FILE --photos DIR

The paper tuned them on validation data for its network; they belong to the network, not to the method. The pairs come
from photos that training never saw (seed 2; the recipe itself looks at seed 1). The grid is for networks trained by
maximum likelihood; energies that predict IoU want longer steps: ``--positions 5e-3 1e-2 2e-2 4e-2``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ebm_tracker.build import choose_device
from ebm_tracker.errors import EbmError, one_line
from ebm_tracker.models import EnergyNetwork, load_network
from ebm_tracker.train_settings.lite import held_out_pairs, read_photos
from ebm_tracker.training import HeldOutPairs, RefinementGain

POSITION_STEPS = (2e-4, 3e-4, 4e-4, 6e-4, 8e-4, 1.2e-3)
SIZE_RATIOS = (2.5, 5.0, 10.0)
"""Size steps over position steps; the paper's ratio is 5."""


class Trial(NamedTuple):
    """What ten steps of ``position`` and ``ratio`` times that for the sizes gain."""

    position: float
    ratio: float
    gain: RefinementGain

    @property
    def step_length(self) -> tuple[float, float]:
        """As recipes and presets take it: (position, log size)."""
        return self.position, self.position * self.ratio


def search(network: EnergyNetwork, pairs: HeldOutPairs, positions: Sequence[float] = POSITION_STEPS) -> list[Trial]:
    """Every position step with every ratio, in this order."""
    encoded = pairs.encode(network)
    grid = [(position, ratio) for position in positions for ratio in SIZE_RATIOS]
    return [
        Trial(position, ratio, pairs.refinement(network, (position, ratio * position), encoded=encoded))
        for position, ratio in track(grid, "refining", console=Console(stderr=True), transient=True)
    ]


def best_of(trials: Sequence[Trial]) -> Trial:
    """The one with the highest mean IoU; the first of equal ones."""
    return max(trials, key=lambda trial: trial.gain.iou)


def grid_table(trials: Sequence[Trial], count: int) -> Table:
    """A row for each position step, the best entry marked."""
    best = best_of(trials)
    table = Table(title=f"IoU / OP75 after 10 steps, {count} held-out pairs")
    table.add_column("position step")
    for ratio in SIZE_RATIOS:
        table.add_column(f"size = {ratio:g} x", justify="right")
    for row in range(0, len(trials), len(SIZE_RATIOS)):
        cells = trials[row : row + len(SIZE_RATIOS)]
        texts = [f"{t.gain.iou:.3f} / {t.gain.op75:.3f}{' *' if t is best else '  '}" for t in cells]
        table.add_row(f"{cells[0].position:g}", *texts)
    return table


def verdict(trials: Sequence[Trial]) -> str:
    """The best step lengths in words, and whether a wider grid may hold better ones."""
    best = best_of(trials)
    position, size = best.step_length
    text = f"best by IoU: {position:g} and {size:g}: {best.gain.start_iou:.3f} -> {best.gain.iou:.3f}"
    text += f", OP75 {best.gain.op75:.3f} (--set step_lengths={position:g},{size:g})"
    positions = [trial.position for trial in trials]
    if best.position in (min(positions), max(positions)):
        text += "; it is at the end of the grid, so look further with --positions"
    return text


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--backbone_weights", type=Path, help="for a network whose file holds the head only")
    parser.add_argument("--photos", type=Path, required=True, help="as the recipe lite reads them")
    parser.add_argument("--pairs", type=int, default=256, help="how many (default: 256)")
    parser.add_argument("--positions", type=float, nargs="+", default=POSITION_STEPS, help="steps to try")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    args = parser.parse_args(argv)
    try:
        if args.pairs < 1 or not min(args.positions) > 0:
            raise ValueError(f"--pairs and --positions must be above 0 (got {args.pairs} and {args.positions})")
        device = choose_device(args.device)
        network = load_network(args.network, backbone_weights=args.backbone_weights)
        network.to(device).to(memory_format=torch.channels_last)
        pairs = held_out_pairs(read_photos(args.photos)[1], args.pairs, seed=2)
        trials = search(network, HeldOutPairs(pairs, device=device), args.positions)
    except (EbmError, OSError, ValueError) as error:
        parser.exit(2, f"error: {one_line(error)}\n")
    console = Console(highlight=False)
    console.print(grid_table(trials, args.pairs))
    console.print(verdict(trials), soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
