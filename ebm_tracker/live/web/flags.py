"""The flags of ``ebm live --web``."""

from __future__ import annotations

import argparse

from ebm_tracker.live.web.settings import DEFAULT_PORT, WebLimits, WebSettings


def add_web_flags(parser: argparse.ArgumentParser, switch: bool = True) -> None:
    """The flags of the page; ``switch``: with --web itself, for a command that does more than that."""
    group = parser.add_argument_group("page in the browser (extra web)")
    if switch:
        group.add_argument("--web", action="store_true", help="serve the demo as a page instead of a window")
    group.add_argument(
        "--port", type=port_number, default=DEFAULT_PORT, metavar="N", help=f"0: a free one (default: {DEFAULT_PORT})"
    )
    group.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: 127.0.0.1, which only this machine reaches)",
    )
    group.add_argument(
        "--allow_host",
        "--allow-host",
        dest="allow_host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name by which browsers may call the server, such as that of a proxy; may be repeated",
    )
    group.add_argument(
        "--max_visitors",
        "--max-visitors",
        type=visitor_count,
        default=WebLimits.visitors,
        metavar="N",
        help=f"pages open at once, each with its own trackers (default: {WebLimits.visitors})",
    )


def web_settings(args: argparse.Namespace) -> WebSettings:
    """The settings that the parsed flags ask for."""
    names = tuple(name.strip().lower() for name in args.allow_host)
    return WebSettings(args.host, args.port, names, WebLimits(visitors=args.max_visitors))


def port_number(text: str) -> int:
    """A whole number from 0 to 65535. Raises argparse.ArgumentTypeError."""
    if not text.strip().isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535 (got {text!r})")
    return int(text)


def visitor_count(text: str) -> int:
    """A whole number from 1 to 64. Raises argparse.ArgumentTypeError."""
    if not text.strip().isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 64 (got {text!r})")
    return int(text)
