"""TRACKER PRESET on a command line -> something that makes the tracker in any process."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ebm_tracker.cli.loading import add_loading_flags, warn_if_unsuited
from ebm_tracker.cli.tracker_factories import (
    EbmFactory,
    FactoryError,
    HostFactory,
    IdentityFactory,
    ModuleFactory,
    OpenCvFactory,
)

if TYPE_CHECKING:
    from ebm_tracker.evaluation.benchmark import TrackerFactory

KNOWN = "ebm PRESET, opencv csrt|kcf|mil, identity last_box, package.module:factory PARAMETER"
_MODULE_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def add_tracker_flags(parser: argparse.ArgumentParser) -> None:
    """Device, seed and files of a tracker, and where pytracking's lie."""
    group = parser.add_argument_group("tracker")
    add_loading_flags(group)
    group.add_argument(
        "--pytracking", type=Path, metavar="DIR", help="a checkout of pytracking: TRACKER PRESET may be one of its own"
    )


def tracker_factory(tracker: str, parameter: str, args: argparse.Namespace) -> TrackerFactory:
    """What makes the tracker. Everything that can be wrong with names and files is found here, before workers start.

    ``args``: holds the flags of ``add_tracker_flags``.

    Raises EbmError, or ValueError for the device and for flags that the tracker has no use for.
    """
    if tracker != "ebm" and (args.weights is not None or args.backbone_weights is not None):
        raise ValueError(f"--weights and --backbone_weights are for the tracker ebm (got {tracker!r})")
    if tracker in ("ebm", "opencv", "identity") and args.pytracking is not None:
        raise ValueError(f"--pytracking is for pytracking's own trackers (got {tracker!r}, which needs no checkout)")
    if tracker == "ebm":
        ours = EbmFactory(parameter, args.device, _absolute(args.weights), _absolute(args.backbone_weights))
        ours.check()
        warn_if_unsuited(parameter, ours.weights)
        return ours
    if tracker == "opencv":
        return _opencv(parameter)
    if tracker == "identity":
        if parameter != "last_box":
            raise FactoryError(f"identity has one parameter, last_box (got {parameter!r})")
        return IdentityFactory()
    if ":" in tracker:
        return _module(tracker, parameter)
    if args.pytracking is not None:
        host = HostFactory(args.pytracking.absolute(), tracker, parameter)
        host.check()
        return host
    raise FactoryError(
        f"unknown tracker {tracker!r}; known: {KNOWN}, and pytracking's own with --pytracking DIR, its checkout"
    )


def _opencv(parameter: str) -> TrackerFactory:
    from ebm_tracker.evaluation.baselines import BASELINES, find_creator, import_opencv

    kind = parameter.lower()
    if kind not in BASELINES:
        raise FactoryError(f"opencv has the trackers {', '.join(BASELINES)} (got {parameter!r})")
    find_creator(import_opencv(), BASELINES[kind].name)
    return OpenCvFactory(kind, BASELINES[kind].deterministic)


def _module(tracker: str, parameter: str) -> TrackerFactory:
    if not _MODULE_TARGET.fullmatch(tracker):
        raise FactoryError(f"a tracker of your own is named package.module:factory (got {tracker!r})")
    factory = ModuleFactory(tracker, parameter)
    factory.find()
    return factory


def _absolute(path: Path | None) -> Path | None:
    """Workers may have another working folder."""
    return None if path is None else path.absolute()
