"""(being written)"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags."""


def run(args: argparse.Namespace) -> int:
    """Not there yet."""
    raise NotImplementedError

