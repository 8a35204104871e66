"""Read pytracking's checkpoints, write networks for pytracking, and show what a file of either kind holds.

ebm weights convert FILE.pth.tar; ebm weights export resnet18 --out FILE.pth.tar; ebm weights show FILE. Nothing in a
checkpoint is run: it is read without pytracking, and names that do not belong there are refused.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CONVERT = """Turn a checkpoint of pytracking into a network of ours, a .safetensors file.

ATOM with ResNet18 (atom_default, atom_gmm_sampl, atom_prob_ml) and our own network trained in pytracking's loop, of
any epoch. The file says where it came from; the trainer's paths, the optimiser and the statistics stay behind."""
_EXPORT = """Write a network as a checkpoint that stock pytracking loads as its ATOM with ResNet18."""
_SHOW = """Print what a network file is: architecture, hash and provenance. For .safetensors of ours and checkpoints."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-commands and their flags."""
    commands = parser.add_subparsers(metavar="command", required=True, dest="weights_command")
    convert = _command(commands, "convert", _CONVERT)
    convert.add_argument("file", type=Path, metavar="FILE", help="the checkpoint, for example atom_default.pth")
    convert.add_argument(
        "--out", type=Path, metavar="FILE.safetensors", help="default: the checkpoint's name, beside it"
    )
    convert.add_argument("--half", action="store_true", help="store float16: half the size, 3 digits")
    convert.add_argument("--force", action="store_true", help="replace --out if it is there")
    export = _command(commands, "export", _EXPORT)
    export.add_argument(
        "network", metavar="NETWORK", help="a .safetensors file with a ResNet18, or a preset's name (resnet18)"
    )
    export.add_argument("--out", type=Path, required=True, metavar="FILE.pth.tar")
    export.add_argument(
        "--backbone_weights",
        "--backbone-weights",
        type=Path,
        metavar="FILE",
        help="ImageNet weights, where NETWORK holds only a head (default: $EBM_BACKBONE_WEIGHTS, else torchvision's)",
    )
    export.add_argument("--force", action="store_true", help="replace --out if it is there")
    show = _command(commands, "show", _SHOW)
    show.add_argument("file", type=Path, metavar="FILE", help="a .safetensors file, a checkpoint, or a preset's name")


def _command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text.splitlines()[0], description=text)
    parser.add_argument("--debug", type=int, default=0, metavar="LEVEL", help="1: tracebacks of errors")
    return parser


def run(args: argparse.Namespace) -> int:
    """Runs the sub-command; 0 when it was done."""
    actions = {"convert": _convert, "export": _export, "show": _show}
    return actions[args.weights_command](args)


def _convert(args: argparse.Namespace) -> int:
    import torch

    from ebm_tracker.models.checkpoint import read_provenance
    from ebm_tracker.models.pytracking_checkpoint import convert_checkpoint

    out = args.out or args.file.with_name(f"{_stem(args.file)}.safetensors")
    _require_free(out, args.force, args.file)
    digest = convert_checkpoint(args.file, out, torch.float16 if args.half else torch.float32)
    print(f"{out.absolute()}\nSHA-256 {digest}")
    print(f"track with it: ebm track {preset_for(read_provenance(out))} --weights {out}")
    return 0


def preset_for(provenance: Mapping[str, Any]) -> str:
    """The preset whose steps suit a converted network: those that predict IoU climb by longer ones."""
    if "exported_from" in provenance:
        return "resnet18"
    source: Mapping[str, Any] = provenance.get("converted_from", {})
    objective = provenance.get("recipe", {}).get("objective")
    names = f"{source.get('file')} {source.get('settings', {}).get('script_name')}"
    if objective == "iou_mse" or "gmm_sampl" in names:
        return "atom_star"
    if objective == "iou_mse_atom" or (source.get("net_type") == "ATOMnet" and "prob_ml" not in names):
        return "atom"
    return "resnet18"


def _export(args: argparse.Namespace) -> int:
    import os

    from ebm_tracker.models.checkpoint import load_network, read_provenance, sha256_of
    from ebm_tracker.models.pytracking_export import FILLED, export_network

    path = _network_file(args.network)
    _require_free(args.out, args.force, path)
    backbone = args.backbone_weights or os.environ.get("EBM_BACKBONE_WEIGHTS") or None
    network = load_network(path, backbone_weights=backbone)
    provenance = {"file": path.name, "sha256": sha256_of(path), "provenance": read_provenance(path)}
    digest = export_network(network, args.out, provenance)
    print(f"{args.out.absolute()}\nSHA-256 {digest}")
    print(f"{FILLED}; the norms of the backbone are folded into its weights")
    print("stock pytracking reads it with torch before 2.6, or with weights_only=False in its torch.load")
    return 0


def _show(args: argparse.Namespace) -> int:
    from ebm_tracker.models.checkpoint import sha256_of

    path = _network_file(str(args.file))
    ours = path.is_file() and _is_safetensors(path)
    lines = _facts_of_ours(path) if ours else _facts_of_theirs(path)
    print(path.absolute())
    for name, value in {"SHA-256": sha256_of(path), **lines}.items():
        if isinstance(value, Mapping):
            print(f"{name}:\n{_indented(value)}")
        elif value is not None:
            print(f"{name}: {value}")
    return 0


def _facts_of_ours(path: Path) -> dict[str, Any]:
    from ebm_tracker.models.checkpoint import read_architecture

    facts = read_architecture(path)
    backbone = facts.get("backbone")
    return {
        "format": facts.get("format"),
        "backbone": f"{backbone}{'' if facts.get('backbone_included') else ' (not in the file: the head alone)'}",
        "head": ", ".join(f"{name} {tuple(value)}" for name, value in sorted(facts.get("head", {}).items())),
        "provenance": facts.get("provenance", {}),
    }


def _facts_of_theirs(path: Path) -> dict[str, Any]:
    from ebm_tracker.models.pytracking_checkpoint import architecture_of, open_checkpoint

    with open_checkpoint(path) as checkpoint:
        facts = checkpoint.facts
        return {
            "format": f"pytracking checkpoint ({facts.layout})",
            "network": architecture_of(checkpoint),
            "epoch": facts.epoch,
            "built by": facts.constructor,
            "settings": facts.settings or None,
            "written by": "ebm weights export" if checkpoint.note else None,
            "provenance": checkpoint.note or None,
        }


def _is_safetensors(path: Path) -> bool:
    """By its start, a length and a JSON text: whatever the file's name."""
    with open(path, "rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" or path.suffix == ".safetensors"


def _indented(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True, default=str)
    return "\n".join(f"  {line}" for line in text.splitlines()[1:-1])


def _network_file(name: str) -> Path:
    """A path, or the shipped file of a preset. Raises WeightsError when that preset's file does not ship."""
    from ebm_tracker.build import WEIGHTS_FOLDER
    from ebm_tracker.errors import WeightsError
    from ebm_tracker.parameters import preset, preset_names

    if name not in preset_names() or Path(name).exists():
        return Path(name)
    path = WEIGHTS_FOLDER / preset(name).weights.file
    if not path.is_file():
        raise WeightsError(f"preset {name} ships no network: name a file (presets that do: default, resnet18)")
    return path


def _stem(path: Path) -> str:
    name = path.name
    for ending in (".tar", ".pth", ".pt", ".pkl"):
        name = name.removesuffix(ending)
    return name


def _require_free(out: Path, force: bool, source: Path) -> None:
    if out.is_dir():
        raise ValueError(f"--out must be a file (got {out.absolute()}, which is a folder)")
    if out.exists() and source.exists() and out.samefile(source):
        raise ValueError(f"--out is the file that is read: {out.absolute()}")
    if out.exists() and not force:
        raise ValueError(f"{out.absolute()} is there already: name another file by --out, or add --force")
