"""Run trackers on benchmarks, score and plot their results, pack them for the servers.

ebm eval datasets; ebm eval run TRACKER PRESET DATASET; ebm eval report DATASET RESULTS ...; ebm eval compare DATASET
A B;
ebm eval pack trackingnet|got10k RESULTS; ebm eval vot DIR. The help of each says more.
"""

from __future__ import annotations

import argparse
from types import ModuleType

from ebm_tracker.cli import eval_compare, eval_datasets, eval_pack, eval_report, eval_run, eval_vot

# A module's docstring is its help.
COMMANDS: dict[str, ModuleType] = {
    "datasets": eval_datasets,
    "run": eval_run,
    "report": eval_report,
    "compare": eval_compare,
    "pack": eval_pack,
    "vot": eval_vot,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their flags."""
    commands = parser.add_subparsers(metavar="command", required=True, dest="eval_command")
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").strip()
        command = commands.add_parser(name, help=text.splitlines()[0], description=text)
        command.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")
        module.add_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Runs the sub-command and returns its exit code."""
    code: int = COMMANDS[args.eval_command].run(args)
    return code
