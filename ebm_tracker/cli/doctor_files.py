"""What `ebm doctor` says of networks and data paths, and its self-test."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ebm_tracker.cli.doctor import Finding, Level
from ebm_tracker.errors import WeightsError
from ebm_tracker.settings import Settings, SettingsError, settings_path, variable_of

SELF_TEST_FRAMES, SELF_TEST_IOU = 6, 0.5


def networks() -> Iterator[Finding]:
    """Each preset's file and its hash, and the ImageNet backbones that head-only files need."""
    from ebm_tracker.build import WEIGHTS_FOLDER
    from ebm_tracker.models.checkpoint import read_architecture, sha256_of
    from ebm_tracker.parameters import preset, preset_names

    backbones: set[str] = set()
    for name in preset_names():
        source = preset(name).weights
        path = WEIGHTS_FOLDER / source.file
        if not path.is_file():
            level = Level.FACT if source.advice else Level.BROKEN
            yield Finding(level, f"{name}: {source.file} is not there{f' ({source.advice})' if source.advice else ''}")
            continue
        digest = sha256_of(path)
        if source.sha256 not in (None, digest):
            yield Finding(
                Level.BROKEN,
                f"{name}: {path} is damaged or another file: SHA-256 {digest}, expected {source.sha256}",
            )
            continue
        try:
            facts = read_architecture(path)
        except WeightsError as error:
            yield Finding(Level.BROKEN, f"{name}: {error}")
            continue
        matches = "SHA-256 as expected" if source.sha256 else "SHA-256"
        yield Finding(Level.GOOD, f"{name}: {source.file}, {facts['backbone']}, {matches}: {digest}")
        if not facts["backbone_included"]:
            backbones.add(str(facts["backbone"]))
    for backbone in sorted(backbones):
        yield _backbone(backbone)


def _backbone(name: str) -> Finding:
    """Where the ImageNet weights would come from; torchvision's names end with the start of the file's hash."""
    import torch
    import torchvision

    from ebm_tracker.models.backbone import BACKBONES
    from ebm_tracker.models.checkpoint import sha256_of

    if given := os.environ.get("EBM_BACKBONE_WEIGHTS"):
        path = Path(given)
        if path.is_file():
            return Finding(Level.GOOD, f"backbone {name}: {path} (EBM_BACKBONE_WEIGHTS), SHA-256 {sha256_of(path)}")
        return Finding(Level.BROKEN, f"backbone {name}: EBM_BACKBONE_WEIGHTS names {path}, which is not a file")
    known = BACKBONES[name].torchvision
    if known is None:
        return Finding(Level.FACT, f"backbone {name}: give its file by --backbone_weights ({BACKBONES[name].source})")
    file = str(torchvision.models.get_weight(known).url).rpartition("/")[2]
    path = Path(torch.hub.get_dir(), "checkpoints", file)
    if not path.is_file():
        return Finding(
            Level.FACT, f"backbone {name}: {file} is not in {path.parent}; torchvision fetches it at first use"
        )
    digest, start = sha256_of(path), file.rpartition(".")[0].rpartition("-")[2]
    if not digest.startswith(start):
        return Finding(Level.BROKEN, f"backbone {name}: {path} is damaged (SHA-256 {digest}): delete it")
    return Finding(Level.GOOD, f"backbone {name}: {path}, SHA-256 {digest}")


def data_paths() -> Iterator[Finding]:
    """The settings file and every path that is set."""
    path = settings_path()
    try:
        settings = Settings.load()
    except SettingsError as error:
        yield Finding(Level.BROKEN, str(error))
        return
    state = "" if path.is_file() else " (not there; `ebm data paths --write-template` makes one)"
    yield Finding(Level.FACT, f"settings file {path}{state}")
    for key, setting in settings.found.items():
        there = setting.path.exists() or key == "runs.workspace"  # which the first run makes
        level = Level.GOOD if there else Level.WARNING
        origin = "settings file" if setting.origin == str(path) else setting.origin
        yield Finding(level, f"{key} = {setting.path}{'' if there else ', which is not there'} ({origin})")
    if not settings.found:
        yield Finding(Level.FACT, f"none is set (for example {variable_of('data.otb')}); tracking a video needs none")


def self_test(device: str) -> Iterator[Finding]:
    """Tracks a drawn object through some frames with the shipped network."""
    import numpy as np

    from ebm_tracker.build import load
    from ebm_tracker.evaluation.metrics import overlaps
    from ebm_tracker.evaluation.synthetic import MovingTexture

    video = MovingTexture((320, 240), SELF_TEST_FRAMES)
    start = time.perf_counter()
    tracker = load("default", device=device, seed=0)
    loaded = time.perf_counter()
    tracker.initialize(video.frame(0), video.box_xywh(0))
    first = time.perf_counter()
    for index in range(1, SELF_TEST_FRAMES):
        out = tracker.track(video.frame(index))
    end = time.perf_counter()
    truth = video.box_xywh(SELF_TEST_FRAMES - 1)
    overlap = float(overlaps(np.array([out.box_xywh]), np.array([truth]))[0])
    text = (
        f"IoU {overlap:.2f} after {SELF_TEST_FRAMES} frames on {tracker.device}; load {loaded - start:.2f} s, "
        f"initialize {first - loaded:.2f} s, {(SELF_TEST_FRAMES - 1) / (end - first):.0f} frames/s"
    )
    good = overlap >= SELF_TEST_IOU
    yield Finding(Level.GOOD if good else Level.BROKEN, text if good else f"{text}: the object was lost")


def personal_paths() -> tuple[Path, ...]:
    """Folders that --hide-paths takes out by name, whatever they look like (a path may hold spaces)."""
    from ebm_tracker.build import WEIGHTS_FOLDER

    paths = [Path.home(), Path.cwd(), Path(sys.prefix), Path(sys.executable).parent, WEIGHTS_FOLDER, settings_path()]
    paths += [WEIGHTS_FOLDER.parent, settings_path().parent]
    paths += [Path(value) for name, value in os.environ.items() if name.startswith(("EBM_", "PYTHONPATH")) and value]
    try:
        paths += [setting.path for setting in Settings.load().found.values()]
    except SettingsError:
        return tuple(paths)  # the page itself says what is wrong with the file
    return tuple(paths)
