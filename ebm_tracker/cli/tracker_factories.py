"""Makers of trackers, light enough to be sent to worker processes: each knows names and files, and builds there."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebm_tracker.errors import EbmError, one_line
from ebm_tracker.evaluation.runner import Tracker
from ebm_tracker.version import __version__

# All have the attributes that evaluation.benchmark.jobs.TrackerFactory names.


class FactoryError(EbmError):
    """A tracker named on the command line cannot be made."""


@dataclass(frozen=True)
class EbmFactory:
    """Ours. ``parameter``: the preset; ``device``: where the runner leaves it the choice."""

    parameter: str
    device: str = "auto"
    weights: Path | None = None
    backbone_weights: Path | None = None
    tracker: str = "ebm"
    deterministic: bool = False

    def check(self) -> None:
        """Loads the tracker once, on the CPU, so that what is missing or wrong is said before any work begins.

        Raises PresetError, WeightsError, ValueError for the device.
        """
        from ebm_tracker.build import choose_device

        if self.device != "auto":
            choose_device(self.device)
        self.build(0, "cpu", None)

    def facts(self) -> Mapping[str, str]:
        """Network file with hash, the preset's settings, versions."""
        import torch

        from ebm_tracker.build import WEIGHTS_FOLDER
        from ebm_tracker.parameters import preset

        config = preset(self.parameter)
        path = self.weights or WEIGHTS_FOLDER / config.weights.file
        facts = {"weights": path.name, "weights sha256": file_hash(path)}
        if self.backbone_weights is not None:
            facts["backbone weights sha256"] = file_hash(self.backbone_weights)
        return {
            **facts,
            "upstream_compat": str(config.upstream_compat),
            "settings": hashlib.sha256(repr(config).encode()).hexdigest()[:16],
            "ebm_tracker version": __version__,
            "torch version": str(torch.__version__),
        }

    def build(self, seed: int, device: str | None, threads: int | None) -> Tracker:
        """A tracker with its own network. Raises as ``ebm_tracker.load`` does."""
        import torch

        from ebm_tracker.build import load

        if threads is not None:
            torch.set_num_threads(threads)
        return load(
            self.parameter,
            device=device or self.device,
            seed=seed,
            weights=self.weights,
            backbone_weights=self.backbone_weights,
        )


@dataclass(frozen=True)
class OpenCvFactory:
    """OpenCV's tracker of that kind."""

    parameter: str
    deterministic: bool
    tracker: str = "opencv"
    ignores_device: bool = True

    def facts(self) -> Mapping[str, str]:
        """OpenCV's version."""
        from ebm_tracker.evaluation.baselines import import_opencv

        return {"opencv version": str(import_opencv().__version__)}

    def build(self, seed: int, device: str | None, threads: int | None) -> Tracker:
        """Raises BaselineError when OpenCV has no such tracker."""
        from ebm_tracker.evaluation.baselines import OpenCvTracker

        return OpenCvTracker(self.parameter, seed, threads or 1)


@dataclass(frozen=True)
class IdentityFactory:
    """The tracker that answers its first box."""

    parameter: str = "last_box"
    tracker: str = "identity"
    deterministic: bool = True
    ignores_device: bool = True

    def facts(self) -> Mapping[str, str]:
        """None needed."""
        return {}

    def build(self, seed: int, device: str | None, threads: int | None) -> Tracker:
        """Needs nothing."""
        from ebm_tracker.evaluation.baselines import LastBoxTracker

        return LastBoxTracker()


@dataclass(frozen=True)
class ModuleFactory:
    """What ``package.module:factory`` makes when it is called with ``argument``, and with ``seed``, ``device`` and
    ``threads`` where it has arguments of these names.

    The object has our ``initialize(frame, box_xywh)`` and ``track(frame)``; frames are (H, W, 3) uint8 RGB, or None
    for one that could not be decoded. Or it has pytracking's ``initialize(image, info)`` and ``track(image, info)``.
    A new one is made for every sequence.
    """

    target: str
    argument: str
    deterministic: bool = False
    fresh_per_sequence: bool = True

    @property
    def tracker(self) -> str:
        """``package.module.factory``: a colon is not for folder names."""
        return self.target.replace(":", ".")

    @property
    def parameter(self) -> str:
        """The argument with the signs that are not for folder names replaced."""
        return re.sub(r"[^\w.+=@-]+", "_", self.argument).strip("._") or "default"

    def find(self) -> Callable[..., Any]:
        """The function. Raises FactoryError when there is none."""
        module_name, _, name = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
        except Exception as error:  # modules of others: not only ImportError comes out of them
            said = one_line(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {one_line(error)}"
            missing = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
            advice = "; its folder must be on PYTHONPATH" if missing else ""
            raise FactoryError(f"{module_name} cannot be imported ({said}){advice}") from error
        for part in name.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            raise FactoryError(f"{module_name} has no function or class {name!r}")
        factory: Callable[..., Any] = found
        return factory

    def facts(self) -> Mapping[str, str]:
        """The argument, and the hash of the module's source file."""
        facts = {"argument": self.argument}
        source = inspect.getsourcefile(inspect.unwrap(self.find()))
        if source is not None and Path(source).is_file():
            facts["source sha256"] = file_hash(Path(source))
        return facts

    def build(self, seed: int, device: str | None, threads: int | None) -> Tracker:
        """Raises FactoryError when what was made has not the two methods, and what the function raises."""
        from ebm_tracker.plugin.host_tracker import HostTracker, speaks_pytracking

        function = self.find()
        made = call_factory(function, self.argument, seed=seed, device=device, threads=threads)
        for method in ("initialize", "track"):
            if not callable(getattr(made, method, None)):
                raise FactoryError(f"{self.target} must make an object with initialize and track (got {made!r})")
        if not speaks_pytracking(made):
            tracker: Tracker = made
            return tracker
        first = [made]

        def make() -> Any:
            if first:
                return first.pop()
            return call_factory(function, self.argument, seed=seed, device=device, threads=threads)

        return HostTracker(make, self.target, seed)


@dataclass(frozen=True)
class HostFactory:
    """pytracking's ``tracker`` with its ``parameter`` module, from the checkout in ``directory``.

    Where it computes is said in its parameters; a CUDA device of the runner's becomes the process's default one.
    """

    directory: Path
    tracker: str
    parameter: str
    deterministic: bool = False
    fresh_per_sequence: bool = True

    def check(self) -> None:
        """Raises PluginError when the checkout has not that tracker, as far as can be seen without importing it."""
        from ebm_tracker.plugin.host_checkout import choose_host

        choose_host(self.directory, self.tracker, self.parameter)

    def facts(self) -> Mapping[str, str]:
        """Hash of the parameter file."""
        from ebm_tracker.plugin.host_checkout import choose_host

        choice = choose_host(self.directory, self.tracker, self.parameter)
        return {"parameters sha256": file_hash(choice.parameter_file)}

    def build(self, seed: int, device: str | None, threads: int | None) -> Tracker:
        """Imports pytracking here. Raises PluginError for what cannot be imported, and what the tracker raises."""
        import torch

        from ebm_tracker.plugin.host_checkout import choose_host, open_host
        from ebm_tracker.plugin.host_tracker import HostTracker

        if threads is not None:
            torch.set_num_threads(threads)
        if device is not None and device.startswith("cuda"):
            torch.cuda.set_device(torch.device(device).index or 0)
        choice = choose_host(self.directory, self.tracker, self.parameter)
        return HostTracker(open_host(choice), f"{self.tracker} {self.parameter}", seed, loaded=True)


def call_factory(function: Callable[..., Any], argument: str, **extras: Any) -> Any:
    """``function(argument)``, with those of ``extras`` that it has arguments for; without ``argument`` when it takes
    none by position."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # built in
        return function(argument)
    positional = [
        p for name, p in parameters.items()
        if name not in extras and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
    ]  # fmt: skip
    given = {name: value for name, value in extras.items() if name in parameters}
    return function(*([argument] if positional else []), **given)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
