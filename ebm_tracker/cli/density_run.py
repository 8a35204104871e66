"""One run of ``ebm density``: track up to the frame, evaluate, write."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from ebm_tracker.build import load_multi
from ebm_tracker.cli.density import summary
from ebm_tracker.cli.session import open_sequence
from ebm_tracker.density import DensityMap, corner_density, figure, size_density
from ebm_tracker.density.picture import stacked
from ebm_tracker.errors import VideoError
from ebm_tracker.evaluation.runner import status_name
from ebm_tracker.evaluation.sequences import TrackingSequence
from ebm_tracker.files import atomic_path, write_text_atomic
from ebm_tracker.frames import RgbFrame
from ebm_tracker.tracking import MultiTracker, TrackOutput

_OBJECT = 1
_SHEET_SCALE = 0.52


@dataclass(frozen=True)
class _Found:
    name: str
    frame: RgbFrame
    output: TrackOutput
    corner: DensityMap
    size: DensityMap
    truth_xywh: tuple[float, float, float, float] | None


def run_density(args: argparse.Namespace) -> int:
    """Does what the arguments of ``ebm density`` say; returns 0."""
    _check_names(args)
    console = Console(highlight=False)
    found = []
    for folder in args.frames or [None]:
        sequence = open_sequence(argparse.Namespace(video=args.video, frames=folder, init=args.init))
        found.append(_density_of(args, sequence))
        _say(console, _sentence(found[-1], args.frame))
    pictures = [_picture(one, args.frame) for one in found]
    picture = pictures[0] if len(pictures) == 1 else _sheet(pictures)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.out) as part:
        picture.save(part, optimize=True)
    _say(console, f"  {args.out}")
    if args.numbers is not None:
        args.numbers.parent.mkdir(parents=True, exist_ok=True)
        _write_numbers(args.numbers, found, args.frame)
        _say(console, f"  {args.numbers}")
    return 0


def _check_names(args: argparse.Namespace) -> None:
    if args.out.suffix.lower() != ".png":
        raise ValueError(f"--out must be a name with .png (got {args.out})")
    if args.numbers is not None and args.numbers.suffix.lower() not in (".npz", ".json"):
        raise ValueError(f"--numbers must be a name with .npz or .json (got {args.numbers})")
    if args.init is not None and args.frames is not None and len(args.frames) > 1:
        raise ValueError("--init is the box of one sequence: several folders need their ground truth")


def _density_of(args: argparse.Namespace, sequence: TrackingSequence) -> _Found:
    tracker = _load(args)
    frame, output = _track_to(tracker, sequence, args.frame)
    corner, size = (of(tracker, _OBJECT, args.grid, args.span) for of in (corner_density, size_density))
    truth = sequence.truth_xywh
    row = None
    if truth is not None and args.frame < len(truth) and np.isfinite(truth[args.frame]).all():
        x, y, w, h = truth[args.frame].tolist()
        row = (x, y, w, h)
    return _Found(sequence.name, frame, output, corner, size, row)


def _load(args: argparse.Namespace) -> MultiTracker:
    import torch

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    return load_multi(
        args.preset,
        args.device,
        args.seed,
        keep_details=True,
        weights=args.weights,
        backbone_weights=args.backbone_weights,
    )


def _track_to(tracker: MultiTracker, sequence: TrackingSequence, number: int) -> tuple[RgbFrame, TrackOutput]:
    """Tracks frames 0 to ``number``; that frame and the answer for it."""
    count = 0
    for index, frame in enumerate(sequence.frames):
        count += 1
        if frame is None and index in (0, number):
            raise VideoError(f"frame {index} of {sequence.name} cannot be decoded")
        if index == 0:
            tracker.initialize(frame, {_OBJECT: sequence.init_box_xywh})
            continue
        output = tracker.track(frame)[_OBJECT]
        if index == number:
            assert frame is not None
            return frame, output
    raise ValueError(f"--frame must be from 1 to {count - 1}, the last of {sequence.name} (got {number})")


def _picture(found: _Found, number: int) -> Image.Image:
    title = f"{found.name}, frame {number}: {status_name(found.output.status)} {found.output.score:.2f}"
    return figure(found.frame, found.corner, found.size, title, found.truth_xywh)


def _sheet(pictures: list[Image.Image]) -> Image.Image:
    return stacked(pictures, columns=2, scale=_SHEET_SCALE)


def _sentence(found: _Found, number: int) -> str:
    corner, size = found.corner, found.size
    return (
        f"{found.name}, frame {number}: corner {corner.mean[0]:.1f} +- {corner.deviation[0]:.1f},"
        f" {corner.mean[1]:.1f} +- {corner.deviation[1]:.1f} px; size {size.mean[0]:.1f} +- {size.deviation[0]:.1f}"
        f" x {size.mean[1]:.1f} +- {size.deviation[1]:.1f} px"
    )


def _write_numbers(path: Path, found: list[_Found], number: int) -> None:
    if path.suffix.lower() == ".json":
        rows = [
            {
                "sequence": one.name,
                "frame": number,
                "truth_xywh": None if one.truth_xywh is None else list(one.truth_xywh),
                "score": one.output.score,
                "status": status_name(one.output.status),
                "densities": [summary(one.corner), summary(one.size)],
            }
            for one in found
        ]
        write_text_atomic(path, json.dumps(rows, indent=1) + "\n")
        return
    arrays: dict[str, Any] = {}
    for one in found:
        prefix = "" if len(found) == 1 else f"{one.name}/"
        for density in (one.corner, one.size):
            for field in ("x", "y", "log_density", "energy"):
                arrays[f"{prefix}{density.kind}_{field}"] = getattr(density, field)
            arrays[f"{prefix}box_xywh"] = np.array(density.box_xywh)
    with atomic_path(path) as part:
        np.savez_compressed(part, **arrays)


def _say(console: Console, text: str) -> None:
    options: dict[str, Any] = {"markup": False, "soft_wrap": True}
    console.print(text, **options)
