"""What the checkout's ``local.py`` files say of paths, judged from the answers of probe.py."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCAL = {"pytracking": Path("pytracking", "evaluation", "local.py"), "ltr": Path("ltr", "admin", "local.py")}
DATA_SETS = {"otb": "otb", "nfs": "nfs", "uav": "uav", "tpl": "tpl", "vot": "vot", "got10k": "got10k",
             "lasot": "lasot", "trackingnet": "trackingnet"}  # fmt: skip
"""Data sets of run_tracker.py, each with ``<name>_path`` in the settings."""
LISTED = ("otb", "nfs", "uav")
"""Those whose ground-truth files pytracking reads all at once, from a list in ``<name>dataset.py``."""
TRAINING_PATHS = ("lasot_dir", "got10k_dir", "trackingnet_dir", "coco_dir")

_TRUTH_FILE = re.compile(r"""["']anno_path["']\s*:\s*["']([^"']+)["']""")
_WRITE = 'cd {} && {{python}} -c "from {} import create_default_local_file as write; write()"'

Judgement = tuple[bool, str, str]
"""(blocks, what, how to mend it)."""


def settings_findings(checkout: Path, inner: str, answer: dict[str, Any]) -> Iterator[Judgement]:
    """Judgements on one ``local.py``. ``inner``: "pytracking" or "ltr"; ``answer``: of probe.local_settings."""
    path = checkout / LOCAL[inner]
    if answer["state"] == "absent":
        module = ".".join(LOCAL[inner].with_name("environment").parts)
        yield True, (
            f"{path} is not there yet: the first run would write one without paths, and stop"
        ), _WRITE.format(shlex.quote(str(checkout)), module) + f", then set the paths in {path}"
    elif answer["state"] == "broken":
        yield True, (
            f"{path} fails ({answer['error']}): start nothing of pytracking before it is mended, "
            "it would OVERWRITE the file with one without paths"
        ), f"cp {shlex.quote(str(path))} {shlex.quote(str(path) + '.mine')}, then mend that line"
    elif inner == "pytracking":
        yield from _run_paths(checkout, path, answer["values"])
    else:
        yield from _training_paths(path, answer["values"])


def _run_paths(checkout: Path, path: Path, values: dict[str, Any]) -> Iterator[Judgement]:
    unset = [name for name in DATA_SETS if not values.get(f"{name}_path")]
    if unset:
        names = ", ".join(f"{name}_path" for name in unset)
        none = len(unset) == len(DATA_SETS)
        what = f"{path}: not set: {names}" + (": run_tracker.py finds no data set" if none else "")
        yield none, what, f"edit {path}"
    for name in DATA_SETS:
        root = values.get(f"{name}_path")
        if not root:
            continue
        if not Path(root).is_dir():
            yield True, f"{path}: {name}_path is no folder: {root}", f"edit {path}"
        elif name in LISTED:
            yield from _truth_files(checkout, name, Path(root))


def _truth_files(checkout: Path, name: str, root: Path) -> Iterator[Judgement]:
    source = checkout / "pytracking" / "evaluation" / f"{name}dataset.py"
    if not source.is_file():
        return
    listed = _TRUTH_FILE.findall(source.read_text(encoding="utf-8", errors="replace"))
    missing = [file for file in listed if not (root / file).is_file()]
    if missing:
        yield True, (
            f"{len(missing)} of the {len(listed)} ground-truth files of {name} are not in {root} ({missing[0]}, ...): "
            "pytracking reads all of them at its start, for --sequence too"
        ), f"complete {name}, or put placeholders there (README, In a pytracking checkout)"


def _training_paths(path: Path, values: dict[str, Any]) -> Iterator[Judgement]:
    if not values.get("workspace_dir"):
        yield True, (
            f"{path}: workspace_dir is not set: checkpoints would go to the working folder, logs to /tensorboard"
        ), f"edit {path}"
    unset = [name for name in TRAINING_PATHS if not values.get(name)]
    if unset:
        yield True, f"{path}: not set: {', '.join(unset)}: the recipes train on all four sets", f"edit {path}"
    for name in TRAINING_PATHS:
        root = values.get(name)
        if root and not Path(root).is_dir():
            yield True, f"{path}: {name} is no folder: {root}", f"edit {path}"
