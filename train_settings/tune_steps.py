"""Finds a network's step lengths: the refinement's gain in IoU on held-out pairs, over a grid.

    python -m ebm_tracker.train_settings.tune_steps --network FILE --photos DIR

The paper tuned them on validation data for its network; they belong to the network, not to the method. The pairs come
from photos that training never saw (seed 2; the recipe itself looks at seed 1).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ebm_tracker.models import load_network
from ebm_tracker.train_settings.lite import held_out_pairs, read_photos

POSITION_STEPS = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3)
SIZE_RATIOS = (2.5, 5.0, 10.0)
"""Size steps over position steps; the paper's ratio is 5."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--backbone_weights", type=Path)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=256)
    args = parser.parse_args()
    network = load_network(args.network, backbone_weights=args.backbone_weights)
    network.to(memory_format=torch.channels_last)
    pairs = held_out_pairs(read_photos(args.photos)[1], args.pairs, seed=2)
    encoded = pairs.encode(network)
    table = Table(title=f"IoU / OP75 after 10 steps, {args.pairs} held-out pairs")
    table.add_column("position step")
    for ratio in SIZE_RATIOS:
        table.add_column(f"size = {ratio:g} x", justify="right")
    for position in POSITION_STEPS:
        gains = [pairs.refinement(network, (position, ratio * position), encoded=encoded) for ratio in SIZE_RATIOS]
        table.add_row(f"{position:g}", *(f"{gain.iou:.3f} / {gain.op75:.3f}" for gain in gains))
    Console().print(table, f"start boxes: IoU {gains[0].start_iou:.3f}")


if __name__ == "__main__":
    main()
