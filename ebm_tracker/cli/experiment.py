"""The paper's other regressions with every baseline, and your own kind of problem.

ebm experiment toy; ebm experiment age --data UTKFACE; ebm experiment pose --data BIWI; ebm experiment detection --data
COCO; ebm experiment regression. Each trains, writes its tables and figures to --out, and goes on with what was stopped.
The help of each says more.
"""

from __future__ import annotations

import argparse
from types import ModuleType

from ebm_tracker.cli import (
    experiment_age,
    experiment_detection,
    experiment_pose,
    experiment_regression,
    experiment_toy,
)

# A module's docstring is its help.
COMMANDS: dict[str, ModuleType] = {
    "toy": experiment_toy,
    "age": experiment_age,
    "pose": experiment_pose,
    "detection": experiment_detection,
    "regression": experiment_regression,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their flags; each has --debug from here."""
    commands = parser.add_subparsers(metavar="experiment", required=True, dest="experiment")
    for name, module in COMMANDS.items():
        text = (module.__doc__ or "").strip()
        command = commands.add_parser(name, help=text.splitlines()[0], description=text)
        command.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")
        module.add_arguments(command)


def run(args: argparse.Namespace) -> int:
    """Runs the experiment and returns its exit code."""
    code: int = COMMANDS[args.experiment].run(args)
    return code
