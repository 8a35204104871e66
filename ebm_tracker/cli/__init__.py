"""The command ``ebm``: one verb per module, each with ``add_arguments(parser)`` and ``run(args) -> int``."""

from ebm_tracker.cli.parser import build_parser, main

__all__ = ["build_parser", "main"]
