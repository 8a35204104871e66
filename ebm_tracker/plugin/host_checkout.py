"""Trackers of a pytracking checkout, imported from where it lies: it is no installable package.

The only module that imports pytracking.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ebm_tracker.errors import one_line
from ebm_tracker.plugin.stubs import PluginError, check_checkout

PACKAGES = ("pytracking", "ltr")
_TRACKERS = Path("pytracking", "tracker")
_PARAMETERS = Path("pytracking", "parameter")
_LOCAL = Path("pytracking", "evaluation", "local.py")


@dataclass(frozen=True)
class HostChoice:
    """A tracker with its parameter module in a checkout: ``atom`` with ``default``."""

    checkout: Path
    tracker: str
    parameter: str

    @property
    def parameter_file(self) -> Path:
        """The module with its ``parameters()``."""
        return self.checkout / _PARAMETERS / self.tracker / f"{self.parameter}.py"


def choose_host(directory: Path, tracker: str, parameter: str) -> HostChoice:
    """Finds the tracker in the checkout without importing anything.

    Raises PluginError for a directory that is no checkout, names that are not there (the known ones are listed), and a
    checkout without ``local.py``, in which pytracking keeps its paths.
    """
    checkout = check_checkout(directory)
    folders = sorted(path.name for path in (checkout / _TRACKERS).iterdir() if (path / "__init__.py").is_file())
    known = [name for name in folders if (checkout / _PARAMETERS / name).is_dir()]
    if tracker not in known:
        raise PluginError(f"{checkout} has no tracker {tracker!r}; known: {', '.join(known) or 'none'}")
    files = sorted(path.stem for path in (checkout / _PARAMETERS / tracker).glob("*.py") if path.stem != "__init__")
    if parameter not in files:
        raise PluginError(
            f"{checkout} has no parameters {parameter!r} for {tracker}; known: {', '.join(files) or 'none'}"
        )
    if not (checkout / _LOCAL).is_file():
        raise PluginError(
            f"{checkout / _LOCAL} is not there, in which pytracking keeps its paths (network_path above all); "
            f"{_advice(checkout)}"
        )
    return HostChoice(checkout, tracker, parameter)


def open_host(choice: HostChoice) -> Callable[[], Any]:
    """Imports pytracking and the tracker, and gives a function that makes a tracker as pytracking does for every
    sequence: with new parameters, without pictures.

    The checkout stays importable in this process. pytracking itself also puts it on the module path, and takes about
    five seconds.

    Raises PluginError when something cannot be imported, named; and when ``local.py`` fails, before pytracking would
    overwrite it for that.
    """
    _make_importable(choice.checkout)
    _import("pytracking", choice)
    local = _import("pytracking.evaluation.local", choice)
    try:
        local.local_env_settings()
    except Exception as error:  # whatever a file of the user's may raise
        path = choice.checkout / _LOCAL
        raise PluginError(f"{path} fails ({type(error).__name__}: {one_line(error)}); mend it first") from error
    _import(f"pytracking.tracker.{choice.tracker}", choice)
    _import(f"pytracking.parameter.{choice.tracker}.{choice.parameter}", choice)
    from pytracking.evaluation import Tracker

    host = Tracker(choice.tracker, choice.parameter)

    def make() -> Any:
        params = host.get_parameters()
        params.visualization = False
        params.debug = 0
        return host.create_tracker(params)

    return make


def _import(name: str, choice: HostChoice) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # modules of others: not only ImportError comes out of them
        said = one_line(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {one_line(error)}"
        raise PluginError(
            f"{name} of {choice.checkout} cannot be imported ({said}); {_advice(choice.checkout)}"
        ) from error


def _advice(checkout: Path) -> str:
    return f"`ebm plugin check {checkout}` lists all that it lacks"


class _CheckoutFinder(importlib.abc.MetaPathFinder):
    """Finds pytracking's two packages in the checkout, before any other package of the same name (PyPI has one that
    watches e-mail), and nothing else."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in PACKAGES:
            return None
        return importlib.machinery.PathFinder.find_spec(fullname, [str(self.checkout)])


def _make_importable(checkout: Path) -> None:
    """From now on ``pytracking`` and ``ltr`` are those of the checkout. Raises PluginError when this process has
    others."""
    for name in PACKAGES:
        loaded = sys.modules.get(name)
        file = getattr(loaded, "__file__", None)
        if loaded is not None and (file is None or Path(file).resolve().parent != checkout / name):
            raise PluginError(f"this process has imported another {name} already ({file}), not that of {checkout}")
    if not any(isinstance(finder, _CheckoutFinder) and finder.checkout == checkout for finder in sys.meta_path):
        sys.meta_path.insert(0, _CheckoutFinder(checkout))
