"""Who may import whom, read from the source with `ast`: nothing is imported or run here."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
FOLDERS = {
    "ebm_tracker": "ebm_tracker",
    "ltr_settings": "ebm_tracker.ltr_settings",
    "parameters": "ebm_tracker.parameters",
    "train_settings": "ebm_tracker.train_settings",
    "evaluation": "ebm_tracker.evaluation",
}
ROOT = "ebm_tracker"  # what is meant when something is taken from the package's own __init__

# Import name of a module or package -> what of ours it may import besides itself. The longest matching prefix
# counts, for the importing module as well as for the imported one. What is not listed may not exist.
LAYER_0 = {f"{ROOT}.{name}" for name in (
    "annotations", "boxes", "errors", "files", "frames", "settings", "splits", "stop", "version", "video")}
LAYER_1 = LAYER_0 | {f"{ROOT}.crops", f"{ROOT}.energy"}
LAYER_2 = LAYER_1 | {f"{ROOT}.models"}
LAYER_3 = LAYER_2 | {f"{ROOT}.tracking", f"{ROOT}.training"}
LAYER_4 = LAYER_3 | {f"{ROOT}.parameters", f"{ROOT}.evaluation", f"{ROOT}.build", ROOT}
LAYER_4 |= {f"{ROOT}.demo", f"{ROOT}.drawing", f"{ROOT}.density"}
ALLOWED: dict[str, set[str]] = {
    **{module: LAYER_0 for module in LAYER_0},
    f"{ROOT}.crops": LAYER_0,
    f"{ROOT}.energy": {f"{ROOT}.errors"},  # regression for any target: no boxes, no images, no tracker
    f"{ROOT}.models": LAYER_1,
    f"{ROOT}.tracking": LAYER_2,
    f"{ROOT}.training": LAYER_2,
    f"{ROOT}.parameters": {f"{ROOT}.tracking.config", f"{ROOT}.errors"},
    f"{ROOT}.evaluation": LAYER_0 | {f"{ROOT}.drawing"},
    f"{ROOT}.demo": LAYER_0,  # where the demo clip lies: for the leaves only
    f"{ROOT}.drawing": LAYER_0,  # boxes on frames: for evaluation's pictures and the leaves
    f"{ROOT}.density": LAYER_2 | {f"{ROOT}.tracking", f"{ROOT}.drawing"},  # pictures of p(y | x)
    f"{ROOT}.build": LAYER_2 | {f"{ROOT}.tracking", f"{ROOT}.parameters"},
    ROOT: LAYER_2 | {f"{ROOT}.build", f"{ROOT}.tracking", f"{ROOT}.parameters"},
    # Other regressions with the same energy library and loop: age, head pose, 1-D, your own.
    f"{ROOT}.adapters": LAYER_1 | {f"{ROOT}.models", f"{ROOT}.training", f"{ROOT}.evaluation"},
    # Leaves: they may use everything below, and nobody imports them but where it says so.
    f"{ROOT}.evaluation.__main__": LAYER_4,
    # `ebm train` runs the recipes, `ebm eval run` runs pytracking's trackers beside ours.
    f"{ROOT}.cli": LAYER_4 | {f"{ROOT}.{name}" for name in ("train_settings", "plugin", "live", "adapters")},
    f"{ROOT}.plugin": LAYER_4,
    f"{ROOT}.live": LAYER_4,  # engine and viewers of `ebm live`
    f"{ROOT}.live.web.serve": LAYER_4 | {f"{ROOT}.live", f"{ROOT}.cli.loading"},  # loads as the commands do
    f"{ROOT}.live.web.__main__": LAYER_4 | {f"{ROOT}.live", f"{ROOT}.cli"},  # the page alone, as a command
    f"{ROOT}.train_settings": LAYER_4 | {f"{ROOT}.adapters"},
    f"{ROOT}.ltr_settings": LAYER_4,
    "run_tracker": LAYER_4 | {f"{ROOT}.cli"},  # the same command, for a checkout
}
MAY_NAME_PYTRACKING = (f"{ROOT}.plugin", f"{ROOT}.ltr_settings")
PYTRACKING = {"pytracking", "ltr"}
CORE_DEPENDENCIES = {"torch", "torchvision", "numpy", "av", "safetensors", "rich", "PIL", "tomli"}
OPTIONAL_DEPENDENCIES = (
    "cv2", "simplejpeg", "jpeg4py", "torch.utils.tensorboard",  # the last needs tensorboard
    "matplotlib", "jinja2", "ray", "trax", "got10k", "starlette", "uvicorn", "websockets", "visdom", "pygame",
    "sklearn", "faster_coco_eval", "pycocotools")
MAPPED = set(FOLDERS) - {ROOT}


@dataclass(frozen=True)
class Import:
    name: str  # dotted, with the imported attribute where there is one: it may be a module
    line: int
    in_function: bool


def matching_entry(name: str) -> str | None:
    """The longest entry of ALLOWED that is `name` or a package above it; ROOT covers its own names only."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        entry = ".".join(parts[:end])
        if entry in ALLOWED and (entry != ROOT or end == len(parts)):
            return entry
    return None


def resolve(target: str) -> str:
    """`ebm_tracker.load` (an attribute of the package) -> `ebm_tracker`; anything known stays as it is."""
    known = matching_entry(target) is not None
    return ROOT if not known and target.count(".") == 1 and target.startswith(f"{ROOT}.") else target


def may_import(module: str, target: str) -> bool:
    own = matching_entry(module)
    assert own is not None
    if matching_entry(target) == own:
        return True
    entries = ALLOWED[own]
    return target in entries or any(target.startswith(f"{entry}.") for entry in entries - {ROOT})


def imports_of(tree: ast.Module) -> Iterator[Import]:
    def walk(node: ast.AST, in_function: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, in_function)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                yield Import(f"{node.module}.{alias.name}", node.lineno, in_function)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "importlib.import_module",
            "import_module",
            "__import__",
        ):
            if node.args and isinstance(node.args[0], ast.Constant):
                yield Import(str(node.args[0].value), node.lineno, in_function)
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside)

    yield from walk(tree, False)


def own_import_problem(module: str, found: Import) -> str | None:
    target = resolve(found.name)
    if matching_entry(target) is None:
        return f"imports {target}, which has no layer yet (give it a line in ALLOWED)"
    if not may_import(module, target):
        return f"may not import {matching_entry(target)}"
    return None


def foreign_import_problem(module: str, found: Import) -> str | None:
    top = found.name.split(".")[0]
    if top in MAPPED:
        return f"imports {top} by its bare name (a second copy of {ROOT}.{top})"
    if top in PYTRACKING:
        if not module.startswith(MAY_NAME_PYTRACKING):
            return f"may not import {top}"
        return None if found.in_function else f"imports {top} outside a function"
    optional = next((name for name in OPTIONAL_DEPENDENCIES if f"{found.name}.".startswith(f"{name}.")), None)
    if optional is not None:
        return None if found.in_function else f"imports {optional}, an extra, outside a function"
    if top not in CORE_DEPENDENCIES and top not in sys.stdlib_module_names:
        return f"imports {top}, which is no dependency of the package"
    return None


def statement_problem(node: ast.AST) -> str | None:
    if isinstance(node, ast.ImportFrom) and node.level > 0:
        return "relative import"
    if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
        return "touches sys.path"
    if isinstance(node, ast.ImportFrom) and node.module == "sys" and "path" in {a.name for a in node.names}:
        return "touches sys.path"
    if isinstance(node, ast.ExceptHandler):
        if node.type is None:
            return "bare except"
        swallows = all(isinstance(child, ast.Pass) for child in node.body)
        if swallows and ast.unparse(node.type) in ("Exception", "BaseException"):
            return "swallows every exception"
    return None


def problems(module: str, source: str) -> list[str]:
    """What is wrong with one module: a line each, empty when it keeps to the rules."""
    tree = ast.parse(source)
    found: set[tuple[int, str]] = set()
    if matching_entry(module) is None:
        found.add((1, "has no layer yet (give it a line in ALLOWED)"))
    else:
        for item in imports_of(tree):
            ours = item.name.split(".")[0] == ROOT
            text = own_import_problem(module, item) if ours else foreign_import_problem(module, item)
            if text:
                found.add((item.line, text))
    for node in ast.walk(tree):
        text = statement_problem(node)
        if text:
            found.add((getattr(node, "lineno", 0), text))
    return [f"{module}, line {line}: {text}" for line, text in sorted(found)]


def source_files() -> dict[str, Path]:
    """Import name -> file, over the five source folders and the script at the root."""
    files = {"run_tracker": REPO / "run_tracker.py"} if (REPO / "run_tracker.py").exists() else {}
    for folder, package in FOLDERS.items():
        for path in sorted((REPO / folder).rglob("*.py")):
            parts = path.relative_to(REPO / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            files[name] = path
    return files


@pytest.mark.parametrize("module", source_files())
def test_module_keeps_to_its_layer(module: str) -> None:
    text = source_files()[module].read_text(encoding="utf-8")
    assert not problems(module, text), "\n".join(problems(module, text))


def test_every_source_folder_is_read() -> None:
    names = source_files()
    for package in FOLDERS.values():
        assert package in names, f"{package} has no __init__.py"


def test_the_folders_are_those_of_setup() -> None:
    tree = ast.parse((REPO / "setup.py").read_text(encoding="utf-8"))
    (mapping,) = (ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign))
    assert mapping == {package: folder for folder, package in FOLDERS.items()}


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        # the layers
        ("ebm_tracker.energy.refine", "from ebm_tracker import crops", "may not import ebm_tracker.crops"),
        ("ebm_tracker.energy.refine", "import ebm_tracker.boxes", "may not import ebm_tracker.boxes"),
        ("ebm_tracker.energy.refine", "from ebm_tracker.frames import x", "may not import"),
        ("ebm_tracker.boxes", "from ebm_tracker.crops import CropWindow", "may not import ebm_tracker.crops"),
        ("ebm_tracker.models.network", "from ebm_tracker.tracking import x", "may not import"),
        ("ebm_tracker.tracking.tracker", "from ebm_tracker.training import loop", "may not import"),
        ("ebm_tracker.training.loop", "def f():\n    import ebm_tracker.tracking.state", "may not import"),
        ("ebm_tracker.tracking.tracker", "import ebm_tracker.parameters.default", "may not import"),
        ("ebm_tracker.parameters.default", "from ebm_tracker.tracking import tracker", "may not import"),
        ("ebm_tracker.parameters.default", "from ebm_tracker.models import x", "may not import"),
        ("ebm_tracker.evaluation.runner", "from ebm_tracker.crops import x", "may not import"),
        ("ebm_tracker.evaluation.runner", "from ebm_tracker.demo import demo_clip", "may not import"),
        ("ebm_tracker.evaluation.runner", "from ebm_tracker import load", "may not import ebm_tracker"),
        ("ebm_tracker.evaluation.runner", "import ebm_tracker", "may not import ebm_tracker"),
        ("ebm_tracker.tracking.tracker", "from ebm_tracker import Status", "may not import ebm_tracker"),
        ("ebm_tracker.evaluation.runner", "from ebm_tracker import plugin", "may not import ebm_tracker.plugin"),
        ("ebm_tracker.build", "from ebm_tracker.cli import main", "may not import ebm_tracker.cli"),
        ("ebm_tracker.training.loop", "from ebm_tracker.train_settings import lite", "may not import"),
        ("ebm_tracker.training.data.folder", "from ebm_tracker.evaluation import read_boxes", "may not import"),
        ("ebm_tracker.training.data.folder", "from ebm_tracker.build import WEIGHTS_FOLDER", "may not import"),
        ("ebm_tracker.train_settings.lite", "from ebm_tracker.cli import main", "may not import ebm_tracker.cli"),
        ("ebm_tracker.ltr_settings.atom", "from ebm_tracker.train_settings import atom", "may not import"),
        ("ebm_tracker.adapters.regression.heads", "from ebm_tracker.tracking import Tracker", "may not import"),
        ("ebm_tracker.training.loop", "from ebm_tracker.adapters import regression", "may not import"),
        ("ebm_tracker.adapters.age.data", "from ebm_tracker.train_settings import age", "may not import"),
        ("ebm_tracker.utils", "x = 1", "has no layer yet"),
        ("ebm_tracker.cli.track", "import ebm_tracker.utils.misc", "has no layer yet"),
        # pytracking
        ("ebm_tracker.tracking.tracker", "def f():\n    import pytracking", "may not import pytracking"),
        ("ebm_tracker.models.network", "import importlib\nimportlib.import_module('ltr')", "import ltr"),
        ("ebm_tracker.models.network", "__import__('ltr.models')", "import ltr"),
        ("ebm_tracker.plugin", "import pytracking", "outside a function"),
        ("ebm_tracker.ltr_settings.ebm_nce", "from ltr.admin import x", "outside a function"),
        # the rest
        ("ebm_tracker.training.run_log", "from torch.utils.tensorboard import SummaryWriter", "outside a function"),
        ("ebm_tracker.training.run_log", "from torch.utils import tensorboard", "outside a function"),
        ("ebm_tracker.training.run_log", "def f():\n    import tensorboard", "no dependency"),
        ("ebm_tracker.training.data.decode", "import simplejpeg", "outside a function"),
        ("ebm_tracker.evaluation.report.plots", "from matplotlib.figure import Figure", "outside a function"),
        ("ebm_tracker.training.data.decode", "from jpeg4py._cffi import initialize", "outside a function"),
        ("ebm_tracker.cli.track", "from . import speed", "relative import"),
        ("ebm_tracker.cli.track", "from .speed import x", "relative import"),
        ("ebm_tracker.plugin", "from parameters import default", "by its bare name"),
        ("run_tracker", "import evaluation", "by its bare name"),
        ("ebm_tracker.video", "import cv2", "outside a function"),
        ("ebm_tracker.video", "try:\n    import cv2\nexcept OSError:\n    raise", "outside a function"),
        ("ebm_tracker.video", "class A:\n    import cv2", "outside a function"),
        ("ebm_tracker.video", "def f():\n    import skvideo.io", "no dependency"),
        ("ebm_tracker.video", "import scipy", "no dependency"),
        ("run_tracker", "import sys\nsys.path.insert(0, 'x')", "touches sys.path"),
        ("run_tracker", "import sys\nsys.path += ['x']", "touches sys.path"),
        ("run_tracker", "from sys import path", "touches sys.path"),
        ("ebm_tracker.video", "try:\n    f()\nexcept:\n    raise", "bare except"),
        ("ebm_tracker.video", "try:\n    f()\nexcept Exception:\n    pass", "swallows"),
    ],
)
def test_a_planted_violation_is_seen(module: str, source: str, expected: str) -> None:
    found = problems(module, source)
    assert len(found) == 1 and expected in found[0], found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ebm_tracker.energy.refine", "import torch\nfrom ebm_tracker.energy.proposals import x"),
        ("ebm_tracker.energy", "from ebm_tracker.energy.refine import ascend"),
        ("ebm_tracker.crops", "from ebm_tracker import boxes"),
        ("ebm_tracker.models.network", "from ebm_tracker.energy import refine"),
        ("ebm_tracker.tracking.tracker", "from ebm_tracker.models import load_network"),
        ("ebm_tracker.parameters.default", "from ebm_tracker.tracking.config import TrackerConfig"),
        ("ebm_tracker.parameters.default", "from ebm_tracker.parameters.atom import PRESET"),
        ("ebm_tracker.evaluation.runner", "from ebm_tracker.boxes import iou\nfrom ebm_tracker import files"),
        ("ebm_tracker", "from ebm_tracker.build import load\nfrom ebm_tracker.tracking import Status"),
        ("ebm_tracker.cli.track", "import ebm_tracker\nfrom ebm_tracker.evaluation import runner"),
        ("ebm_tracker.cli.track", "from ebm_tracker import load, Status"),
        ("ebm_tracker.cli.track", "def show():\n    import cv2"),
        ("ebm_tracker.training.run_log", "def f():\n    from torch.utils.tensorboard import SummaryWriter"),
        ("ebm_tracker.training.run_log", "from torch.utils.data import Dataset"),
        ("ebm_tracker.cli.train", "from ebm_tracker.train_settings import recipe"),
        ("ebm_tracker.cli.trackers", "from ebm_tracker.plugin.host_tracker import x"),
        ("ebm_tracker.train_settings.lite", "from ebm_tracker.training.bank import PairBank"),
        ("ebm_tracker.plugin", "def f():\n    from pytracking.evaluation import Tracker"),
        ("run_tracker", "from ebm_tracker.cli import main"),
        ("run_tracker", "try:\n    f()\nexcept (ValueError, OSError):\n    pass"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert problems(module, source) == []
