"""The flavours by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ebm_tracker.evaluation.flavours.base import Flavour, ScoringError
from ebm_tracker.evaluation.flavours.got10k import Got10kFlavour, Got10kOtbFlavour
from ebm_tracker.evaluation.flavours.lasot import LasotFlavour
from ebm_tracker.evaluation.flavours.plain import PlainFlavour
from ebm_tracker.evaluation.flavours.pytracking import PytrackingFlavour, Rules
from ebm_tracker.evaluation.flavours.trackingnet import TrackingNetFlavour

_LASOT = ("lasot", "lasot_train")
_GOT10K = ("got10k_val", "got10k_test")


def _pytracking(benchmark_name: str) -> Flavour:
    if benchmark_name == "uav":
        return PytrackingFlavour(Rules.UAV)
    if benchmark_name in _LASOT:
        return PytrackingFlavour(Rules.LASOT)
    return PytrackingFlavour(Rules.GOT10K if benchmark_name in _GOT10K else Rules.OTHERS)


def _got10k(benchmark_name: str) -> Flavour:
    if benchmark_name in _GOT10K:
        return Got10kFlavour()
    return Got10kOtbFlavour(normalized=benchmark_name in _LASOT)


_MAKERS: Mapping[str, Callable[[str], Flavour]] = {
    "pytracking": _pytracking,
    "got10k": _got10k,
    "trackingnet": lambda _: TrackingNetFlavour(),
    "lasot": lambda _: LasotFlavour(),
    "plain": lambda _: PlainFlavour(),
}

FLAVOURS: Mapping[str, Flavour] = {name: make("") for name, make in _MAKERS.items()}
"""By name, as for a data set without rules of its own; ``flavour`` gives those for a benchmark."""


def flavour(name: str, benchmark_name: str = "") -> Flavour:
    """The rules ``name`` for the benchmark: "pytracking" has its own for uav, lasot and lasot_train, "got10k" for
    these two of LaSOT and for got10k_val and got10k_test.

    Raises ScoringError naming the known ones.
    """
    make = _MAKERS.get(name)
    if make is None:
        raise ScoringError(f"there are no metrics {name!r}, only {', '.join(_MAKERS)}")
    return make(benchmark_name)
