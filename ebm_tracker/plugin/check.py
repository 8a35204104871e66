"""What a run in a checkout lacks, all of it at once, with the command that mends each thing.

Imports happen in processes of their own, one per step, in the interpreter that is to run pytracking (probe.py).
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebm_tracker.parameters import preset_names
from ebm_tracker.plugin import probe
from ebm_tracker.plugin.settings_check import settings_findings
from ebm_tracker.plugin.stubs import PluginError, check_checkout, recipe_names, stub_version, stubs
from ebm_tracker.version import __version__

# The module path of `python pytracking/run_tracker.py`: the script's folder first, the checkout last.
LAUNCH = """\
import os, runpy, sys
sys.path[0] = os.path.join(sys.argv[2], "pytracking")
sys.path.append(sys.argv[2])
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
PROBE_SECONDS = 600  # torch from a cold network disk

# In the order in which a run meets them: (module, how to get it, what needs it).
OURS = "ebm_tracker"
PIP = "{python} -m pip install "
VISDOM = PIP + '"setuptools<81" wheel && ' + PIP + '--no-build-isolation visdom "tornado<6.6"'
RUN_MODULES = (
    ("cv2", PIP + "opencv-python", "pytracking reads frames with it"),
    ("matplotlib", PIP + "matplotlib", "pytracking imports it at its start"),
    ("visdom", VISDOM, "pytracking imports it at its start, its viewer on or off"),
    ("jpeg4py", PIP + "jpeg4py", "pytracking imports it at its start"),
    ("pandas", PIP + "pandas", "pytracking's data sets import it"),
)
WITH_OURS = ("numpy", "torch", "torchvision", "PIL")
TRAINING_MODULES = (
    ("pycocotools", PIP + "pycocotools", "ltr.dataset imports it"),
    ("lvis", PIP + "lvis", "ltr.dataset imports it"),
    ("scipy", PIP + "scipy", "ltr.dataset imports it"),
    ("tqdm", PIP + "tqdm", "ltr.dataset imports it"),
    ("torch.utils.tensorboard", PIP + "tensorboard", "ltr.trainers imports it"),
)
VOT_MODULE = ("trax", PIP + '"vot-trax<4"', "only run_vot2020 of its run_vot.py needs it")
THEIRS = ("timm", "tikzplotlib", "spatial_correlation_sampler")
TURBOJPEG = "apt-get install libturbojpeg0   # Ubuntu: libturbojpeg"
NO_GUI = (
    "{python} -m pip uninstall -y opencv-python-headless opencv-contrib-python-headless && " + PIP + "opencv-python"
)


@dataclass(frozen=True)
class Finding:
    """One thing that is missing or broken. ``blocks``: no run without it; ``mend``: a command, may be empty."""

    blocks: bool
    what: str
    mend: str = ""

    def __str__(self) -> str:
        head = "BLOCKS" if self.blocks else "note"
        return f"{head}: {self.what}" + (f"   -> {self.mend}" if self.mend else "")


@dataclass(frozen=True)
class _Place:
    checkout: Path
    python: str
    training: bool

    def command(self, text: str) -> str:
        return text.format(python=shlex.quote(self.python))


def check(directory: Path, training: bool = False, python: str = sys.executable) -> list[Finding]:
    """Everything that is missing or broken for a run in the checkout by that interpreter, what blocks first.

    ``training``: also for run_training.py. Nothing is written. Raises PluginError for a directory that is no checkout
    and an interpreter that does not run.
    """
    place = _Place(check_checkout(directory, training), python, training)
    imported = _ask(place, probe.IMPORT, _names(training))
    findings = list(_package_findings(place, imported["modules"]))
    findings += _module_findings(place, imported["modules"])
    findings += _settings(place)
    findings += _stub_findings(place)
    if not any(finding.blocks for finding in findings):
        findings += _run_findings(place)
    findings += _notes(place, imported)
    return sorted(findings, key=lambda finding: not finding.blocks)


def _names(training: bool) -> list[str]:
    table = RUN_MODULES + (TRAINING_MODULES if training else ()) + (VOT_MODULE,)
    return ["pytracking", "ltr", *WITH_OURS, OURS, *(name for name, _, _ in table), *THEIRS]


def _ask(place: _Place, step: str, names: Sequence[str] = ()) -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    command = [place.python, "-c", LAUNCH, probe.__file__, str(place.checkout), step, *names]
    try:
        done = subprocess.run(
            command, cwd=place.checkout, env=environment, capture_output=True, text=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PluginError(f"the interpreter {place.python} does not run: {error}") from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise PluginError(f"the check in {place.python} failed at the step {step!r}: {reason}") from None
    return answer


def _package_findings(place: _Place, modules: dict[str, Any]) -> Iterator[Finding]:
    """pytracking and ltr must be the checkout's: packages of those names exist on the index, unrelated."""
    for name in ("pytracking", "ltr"):
        origin = modules[name].get("origin", "")
        own = place.checkout / name / "__init__.py"
        if not origin:
            yield Finding(True, f"{own} is missing from the checkout", "git checkout -- " + name)
        elif os.path.realpath(origin) != os.path.realpath(own):
            installed = "-packages" in origin
            mend = "{python} -m pip uninstall " + name if installed else f"take it out of PYTHONPATH: {origin}"
            what = f"`import {name}` finds {origin}, another package of that name, instead of the checkout's"
            yield Finding(True, what, place.command(mend) if installed else mend)


def _module_findings(place: _Place, modules: dict[str, Any]) -> Iterator[Finding]:
    ours = modules[OURS]
    mend = PIP + shlex.join(_own_source())
    if not ours["found"]:
        what = f"this package, {OURS}, is not installed in {place.python}; it brings {', '.join(WITH_OURS)}"
        yield Finding(True, what, place.command(mend))
    else:
        for name in (*WITH_OURS, OURS):
            if problem := _problem(name, modules[name]):
                yield Finding(True, problem, place.command(mend))
        if (version := modules[OURS].get("version")) not in ("", None, __version__):
            what = f"{OURS} is {version} in {place.python}, {__version__} here"
            yield Finding(False, what, place.command(mend))
    for name, how, why in RUN_MODULES + (TRAINING_MODULES if place.training else ()):
        found = modules[name]
        if name == "jpeg4py" and found["found"]:
            continue  # its library is another matter, see _notes
        if problem := _problem(name, found):
            yield Finding(True, f"{problem}: {why}", _mend_module(place, name, found, how))


def _problem(name: str, found: dict[str, Any]) -> str | None:
    if not found["found"]:
        return f"module {name} is missing"
    return f"module {name} cannot be imported ({found['error']})" if found.get("error") else None


def _mend_module(place: _Place, name: str, found: dict[str, Any], how: str) -> str:
    error = found.get("error") or ""
    if name == "cv2" and "lib" in error and ".so" in error:
        return "apt-get install libgl1 libglib2.0-0"
    if "pkg_resources" in error:
        return place.command(PIP + '"setuptools<81"')
    return place.command(how)


def _own_source() -> list[str]:
    """What pip is to install: the clone that this code lies in, or the name."""
    clone = Path(probe.__file__).resolve().parents[2]
    return ["-e", str(clone)] if (clone / "pyproject.toml").is_file() else ["ebm-tracker"]


def _settings(place: _Place) -> Iterator[Finding]:
    for inner in ("pytracking", "ltr") if place.training else ("pytracking",):
        step = probe.SETTINGS if inner == "pytracking" else f"{probe.SETTINGS}-ltr"
        answer = _ask(place, step)
        for blocks, what, mend in settings_findings(place.checkout, inner, answer):
            yield Finding(blocks, what, place.command(mend) if "{python}" in mend else mend)


def _stub_findings(place: _Place) -> Iterator[Finding]:
    mend = f"ebm plugin install {shlex.quote(str(place.checkout))}" + (" --ltr" if place.training else "")
    missing = []
    for stub in stubs(place.training):
        path = place.checkout / stub.path
        version = stub_version(path)
        if version is None and path.exists():
            yield Finding(True, f"{path} is not this plugin's", f"move it away, then {mend}")
        elif version is None:
            missing.append(str(stub.path))
        elif path.read_text(encoding="utf-8") != stub.text:
            said = f"is of version {version} of the plugin, this is {__version__}"
            yield Finding(False, f"{path} {said if version != __version__ else 'has been changed'}", mend)
    if missing:
        more = f" and {len(missing) - 2} more" if len(missing) > 2 else ""
        what = f"files of the plugin are not in the checkout: {', '.join(missing[:2])}{more}"
        yield Finding(True, what, mend)


def _run_findings(place: _Place) -> Iterator[Finding]:
    """The last step: the imports of a run themselves. Only reached when nothing above blocks."""
    names = ["pytracking.evaluation", "pytracking.evaluation.running", "pytracking.tracker.ebm"]
    names += [f"pytracking.parameter.ebm.{name}" for name in preset_names()]
    if place.training:
        names += ["ltr.trainers", "ltr.data", "ltr.dataset"]
        names += [f"ltr.train_settings.ebm.{name}" for name in recipe_names()]
    for name, found in _ask(place, probe.STUBS, names)["modules"].items():
        if found["error"]:
            missing = found.get("missing")
            how = place.command(PIP + missing) if found["error"].startswith("ModuleNotFoundError") and missing else ""
            yield Finding(True, f"importing {name} fails ({found['error']})", how)


def _notes(place: _Place, imported: dict[str, Any]) -> Iterator[Finding]:
    modules, facts = imported["modules"], imported["facts"]
    jpeg = modules["jpeg4py"]
    if not jpeg["found"] or jpeg.get("error"):
        state = f"cannot load its library ({jpeg['error']})" if jpeg["found"] else "also needs the library libturbojpeg"
        yield Finding(False, f"jpeg4py {state}: pytracking's own training data need it, ebm does not", TURBOJPEG)
    if facts["gui"] is False:
        what = "this OpenCV has no windows (a headless build), which run_video.py and run_webcam.py need"
        yield Finding(False, what, place.command(NO_GUI))
    if not facts["display"]:
        what = "there is no display: run_video.py and run_webcam.py abort without one"
        yield Finding(False, what, place.command("apt-get install xvfb && xvfb-run -a {python} run_video.py ..."))
    if not facts["visdom_server"]:
        what = (
            "no visdom server answers at 127.0.0.1:8097; --debug 1 and above needs one (it downloads its page's scripts"
            " at its first start, and the page fails with tornado 6.6 and later)"
        )
        yield Finding(False, what, place.command("{python} -m visdom.server"))
    name, how, why = VOT_MODULE
    if problem := _problem(name, modules[name]):
        yield Finding(False, f"{problem}: {why}", place.command(how))
    lacking = [name for name in THEIRS if not modules[name]["found"]]
    if not any((place.checkout / "ltr" / "external" / "PreciseRoIPooling").glob("*")):
        lacking.append("ltr/external/PreciseRoIPooling")
    if lacking:
        yield Finding(False, f"not needed by ebm, but by other trackers or plots of theirs: {', '.join(lacking)}")
