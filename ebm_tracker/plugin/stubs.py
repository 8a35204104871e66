"""The files by which a pytracking checkout finds this package: an import each, under a line that says whose it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ebm_tracker.errors import EbmError
from ebm_tracker.parameters import preset_names
from ebm_tracker.version import __version__

TRACKER_FOLDER = Path("pytracking", "tracker", "ebm")
PARAMETER_FOLDER = Path("pytracking", "parameter", "ebm")
TRAINING_FOLDER = Path("ltr", "train_settings", "ebm")
FOLDERS = (TRACKER_FOLDER, PARAMETER_FOLDER, TRAINING_FOLDER)
LANDMARKS = ("pytracking/run_tracker.py", "pytracking/evaluation/tracker.py", "pytracking/tracker/__init__.py",
             "pytracking/parameter/__init__.py")  # fmt: skip
TRAINING_LANDMARKS = ("ltr/run_training.py", "ltr/train_settings/__init__.py")

_MARKER = "# ebm_tracker plugin, version {}: written by `ebm plugin install`, taken away by `ebm plugin remove`"
# Users copy this file for presets of their own, so it is the form that they can add changes to.
_PARAMETERS = """\
from ebm_tracker.plugin.params import preset_parameters


def parameters():
    return preset_parameters("{}")"""
_MARKER_PATTERN = re.compile(re.escape(_MARKER).replace(r"\{\}", r"(\S+)"))
_LOOKED_AT = 1000  # bytes: the marker is the first line


class PluginError(EbmError):
    """A checkout of pytracking cannot be used or changed; the message names it and what was looked for."""


@dataclass(frozen=True)
class Stub:
    """``path``: relative to the checkout; ``text``: all of the file."""

    path: Path
    text: str


def stubs(training: bool) -> list[Stub]:
    """Every file of the plugin; with ``training`` also those for pytracking's training loop."""
    found = [
        _stub(TRACKER_FOLDER / "__init__.py", "from ebm_tracker.plugin.tracker import get_tracker_class"),
        _stub(PARAMETER_FOLDER / "__init__.py"),
    ]
    for name in preset_names():
        found.append(_stub(PARAMETER_FOLDER / f"{name}.py", _PARAMETERS.format(name)))
    if training:
        found.append(_stub(TRAINING_FOLDER / "__init__.py"))
        for name in recipe_names():
            found.append(_stub(TRAINING_FOLDER / f"{name}.py", f"from ebm_tracker.ltr_settings.{name} import run"))
    return found


def _stub(path: Path, line: str = "") -> Stub:
    return Stub(path, f"{_MARKER.format(__version__)}\n" + (f"{line}\n" if line else ""))


def recipe_names() -> list[str]:
    """Modules of ``ebm_tracker.ltr_settings`` with a ``run(settings)``, found without importing them."""
    spec = find_spec("ebm_tracker.ltr_settings")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = sorted(path for folder in folders for path in Path(folder).glob("*.py"))
    return [path.stem for path in files if _defines_run(path)]


def _defines_run(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body)


def stub_version(path: Path) -> str | None:
    """Version of the plugin that wrote the file; None when it is not the plugin's, or not there."""
    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        first = file.read(_LOOKED_AT).decode("utf-8", "replace").split("\n", 1)[0]
    match = _MARKER_PATTERN.fullmatch(first.rstrip("\r"))
    return match[1] if match else None


def installed_stubs(checkout: Path) -> Iterator[tuple[Path, str]]:
    """(path relative to the checkout, version) of every file there that the plugin wrote, of any version."""
    for folder in FOLDERS:
        if (checkout / folder).is_symlink():
            continue
        for path in sorted((checkout / folder).glob("*.py")):
            version = stub_version(path)
            if version is not None:
                yield path.relative_to(checkout), version


def is_ours(folder: Path) -> bool:
    """Whether the folder holds files of this plugin, or presets that import it; also when it is not there or empty."""
    files = list(folder.glob("*.py"))
    return not files or any(
        stub_version(path) is not None or b"ebm_tracker.plugin" in path.read_bytes() for path in files
    )


def check_checkout(directory: Path, training: bool = False) -> Path:
    """The absolute path of a checkout. Raises PluginError, saying what was looked for, for any other directory."""
    wanted = LANDMARKS + (TRAINING_LANDMARKS if training else ())
    missing = [name for name in wanted if not (directory / name).is_file()]
    if not missing:
        return directory.resolve()
    if not directory.is_dir():
        raise PluginError(f"{directory.absolute()} is not a directory")
    inner = directory.resolve().parent
    advice = ""
    if all((inner / name).is_file() for name in LANDMARKS):
        advice = f"; its parent is one: give {inner}"
    raise PluginError(
        f"{directory.absolute()} is not a checkout of visionml/pytracking: looked for {', '.join(wanted)}, "
        f"not there: {', '.join(missing)}{advice}"
    )
