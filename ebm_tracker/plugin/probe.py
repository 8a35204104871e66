"""What an interpreter can import for a run in a checkout: run by `ebm plugin check` as a script, prints JSON.

It has to run where nothing is installed, so it uses the standard library of Python 3.8 and later only. It never
triggers pytracking's ``env_settings()`` before ``local.py`` was tried by itself, and no file of the checkout can be
opened for writing while it runs: pytracking overwrites a ``local.py`` that fails.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import sys
import traceback
import types
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, Dict  # noqa: UP035 - Python 3.8 evaluates the alias

Answer = Dict[str, Any]  # noqa: UP006

IMPORT, SETTINGS, STUBS = "import", "settings", "stubs"


def main(checkout: str, step: str, names: list[str]) -> Answer:
    """One step of the check for the checkout: a dictionary."""
    sys.dont_write_bytecode = True
    _forbid_writing(checkout)
    if step == IMPORT:
        return {"modules": {name: probe_module(name) for name in names}, "facts": facts()}
    if step.startswith(SETTINGS):
        return local_settings(checkout, "ltr" if step.endswith("ltr") else "pytracking")
    return {"modules": {name: _import(name) for name in names}}


def _forbid_writing(checkout: str) -> None:
    root = os.path.join(os.path.realpath(checkout), "")

    def refuse(event: str, arguments: Any) -> None:
        if event != "open" or isinstance(arguments[0], int):  # a number: opened before
            return
        writes = (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")) or (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        )
        if writes and os.path.realpath(os.fsdecode(arguments[0])).startswith(root):
            raise PermissionError(f"ebm plugin check lets nothing write into the checkout: {arguments[0]}")

    sys.addaudithook(refuse)


def probe_module(name: str) -> Answer:
    """Where the module comes from and whether it can be imported; ``pytracking`` and ``ltr`` are only looked for."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        return {"found": False}
    places = list(spec.submodule_search_locations or [])
    origin = spec.origin or (places[0] if places else "")
    if name in ("pytracking", "ltr"):
        return {"found": True, "origin": origin}
    return dict(_import(name), found=True, origin=origin)


def _import(name: str) -> Answer:
    """Imports the module; what it prints is kept from the JSON. ``error``: None, or one line."""
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            module = importlib.import_module(name)
            _try_out(name, module)
    except BaseException as error:
        return {"error": one_line(error), "missing": getattr(error, "name", None)}
    return {"error": None, "version": str(getattr(module, "__version__", ""))}


def _try_out(name: str, module: Any) -> None:
    """What an import alone does not show: a shared library, a function that is asked for."""
    if name == "jpeg4py":
        importlib.import_module("jpeg4py._cffi").initialize()
    if name == "trax" and hasattr(module, "wrap_objects"):
        raise RuntimeError("vot-trax 4, whose server takes other arguments than pytracking gives")
    if name.startswith("pytracking.tracker."):
        module.get_tracker_class()
    if name.startswith("pytracking.parameter."):
        module.parameters()


def one_line(error: BaseException) -> str:
    """Type and message of the error, with the line of the file that raised it."""
    text = " ".join(str(error).split()) or "no message"
    place = ""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.lineno:
        place = f", line {error.lineno}"
        text = str(error.msg)
    elif frames and frames[-1].filename.endswith("local.py"):
        place = f", line {frames[-1].lineno}"
    return f"{type(error).__name__}: {text}{place}"


def facts() -> Answer:
    """OpenCV's windows, a display, a viewer's server."""
    found: Answer = {"python": sys.version.split()[0], "executable": sys.executable, "gui": None}
    try:
        cv2 = importlib.import_module("cv2")
        lines = cv2.getBuildInformation().splitlines()
        gui = [line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("GUI:")]
        found["gui"] = bool(gui) and gui[0].upper() != "NONE"
    except Exception as error:  # said for the module itself
        found["gui_error"] = str(error)
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    found["display"] = bool(shown) or not sys.platform.startswith("linux")
    found["visdom_server"] = _answers(8097)
    return found


def _answers(port: int) -> bool:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.3).close()
    except OSError:
        return False
    return True


def local_settings(checkout: str, inner: str) -> Answer:
    """Runs ``local.py`` by itself: what it sets, or why it fails.

    Its only import is a class of a file that needs nothing else, so packages are stood in for and their own imports,
    which may fail for other reasons, do not happen.
    """
    part = "evaluation" if inner == "pytracking" else "admin"
    package, folder = inner + "." + part, os.path.join(checkout, inner, part)
    if not os.path.lexists(os.path.join(folder, "local.py")):
        return {"state": "absent"}
    for name, place in ((inner, os.path.join(checkout, inner)), (package, folder)):
        stand_in = types.ModuleType(name)
        stand_in.__path__ = [place]
        sys.modules[name] = stand_in
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            local = importlib.import_module(package + ".local")
            settings = local.local_env_settings() if inner == "pytracking" else local.EnvironmentSettings()
        values = {name: getattr(settings, name) for name in dir(settings) if not name.startswith("_")}
    except BaseException as error:
        return {"state": "broken", "error": one_line(error)}
    return {"state": "read", "values": {k: v for k, v in values.items() if isinstance(v, (str, list))}}


if __name__ == "__main__":
    print("\n" + json.dumps(main(sys.argv[1], sys.argv[2], sys.argv[3:])))
