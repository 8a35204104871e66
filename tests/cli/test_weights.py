"""`ebm weights`: what the sub-commands write, print and return."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.cli.parser import main
from ebm_tracker.cli.weights import preset_for
from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels, build_backbone, load_network, save_network
from ebm_tracker.models.checkpoint import read_provenance, sha256_of
from ebm_tracker.models.pytracking_checkpoint import load_pytracking_network

Run = Callable[..., tuple[int, str, str]]
NARROW = HeadChannels(features=(32, 96), reference=(4, 6), maps=(8, 5), hidden=(7, 3))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("EBM_BACKBONE_WEIGHTS", raising=False)

    def called(*arguments: object) -> tuple[int, str, str]:
        code = main(["weights", *map(str, arguments)])
        done = capsys.readouterr()
        return code, done.out, done.err

    return called


@pytest.fixture(scope="module")
def network() -> EnergyNetwork:
    torch.manual_seed(0)
    return EnergyNetwork(build_backbone("mobilenet_v2", folded=True), EnergyHead(NARROW)).eval()


@pytest.fixture
def checkpoint(network: EnergyNetwork, tmp_path: Path) -> Path:
    """Our network as pytracking's trainer leaves it, but for its own classes (see tests/models)."""
    path = tmp_path / "EnergyNetwork_ep0003.pth.tar"
    content = {"epoch": 3, "net_type": "EnergyNetwork", "net": network.state_dict(), "net_info": None}
    torch.save({**content, "constructor": None, "stats": OrderedDict(), "settings": None}, path)
    return path


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    """A network of the paper's shape, all in one file."""
    torch.manual_seed(1)
    path = tmp_path / "paper.safetensors"
    network = EnergyNetwork(build_backbone("resnet18", folded=True), EnergyHead()).eval()
    save_network(network, path, {"steps": 5}, dtype=torch.float32)
    return path


def test_convert_writes_beside_the_checkpoint(run: Run, checkpoint: Path, network: EnergyNetwork) -> None:
    out = checkpoint.with_name("EnergyNetwork_ep0003.safetensors")
    code, stdout, err = run("convert", checkpoint)
    assert (code, err) == (0, "")
    assert stdout.splitlines()[:2] == [str(out), f"SHA-256 {sha256_of(out)}"]
    assert read_provenance(out)["converted_from"]["sha256"] == sha256_of(checkpoint)
    for key, value in load_network(out).state_dict().items():
        assert torch.equal(value, network.state_dict()[key]), key


def test_convert_replaces_only_when_told(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "x.safetensors"
    assert run("convert", checkpoint, "--out", out)[0] == 0
    size = out.stat().st_size
    code, _, err = run("convert", checkpoint, "--out", out, "--half")
    assert code == 2 and f"{out} is there already" in err and out.stat().st_size == size
    assert run("convert", checkpoint, "--out", out, "--half", "--force")[0] == 0
    assert out.stat().st_size < 0.55 * size
    code, _, err = run("convert", checkpoint, "--out", checkpoint, "--force")
    assert code == 2 and "is the file that is read" in err
    assert run("convert", checkpoint, "--out", tmp_path)[0] == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "checkpoint not found"),
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Google Drive - Quota exceeded</html>", "web page, probably a quota"),
        (b"cposix\nsystem\n(S'touch /tmp/x'\ntR.", "names posix.system"),
    ],
)
def test_convert_says_what_is_wrong(run: Run, tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "atom_default.pth"
    if content is not None:
        path.write_bytes(content)
    before = os.listdir(tmp_path)
    code, stdout, err = run("convert", path)
    assert (code, stdout) == (2, "") and err.count("\n") == 1 and expected in err and str(path) in err
    assert os.listdir(tmp_path) == before


@pytest.mark.parametrize(
    ("file", "script", "net", "objective", "expected"),
    [
        ("atom_default.pth", "atom", "ATOMnet", None, "atom"),
        ("atom_gmm_sampl.pth", None, "ATOMnet", None, "atom_star"),
        ("ATOMnet_ep0040.pth.tar", "atom_prob_ml", "ATOMnet", None, "resnet18"),
        ("EnergyNetwork_ep0002.pth.tar", "ebm_tracking", "EnergyNetwork", "nll", "resnet18"),
        ("EnergyNetwork_ep0002.pth.tar", "atom", "EnergyNetwork", "iou_mse_atom", "atom"),
        ("EnergyNetwork_ep0002.pth.tar", "atom_star", "EnergyNetwork", "iou_mse", "atom_star"),
    ],
)
def test_the_preset_that_suits(file: str, script: str | None, net: str, objective: str | None, expected: str) -> None:
    source = {"file": file, "net_type": net, "settings": {"script_name": script} if script else {}}
    provenance = {"converted_from": source, **({"recipe": {"objective": objective}} if objective else {})}
    assert preset_for(provenance) == expected
    assert preset_for({**provenance, "exported_from": {}}) == "resnet18"


def test_export_and_back(run: Run, paper: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "ATOMnet_ep0000.pth.tar"
    code, stdout, err = run("export", paper, "--out", out)
    assert (code, err) == (0, "")
    assert stdout.splitlines()[:2] == [str(out), f"SHA-256 {sha256_of(out)}"]
    assert "layer4 and fc are zeros" in stdout
    back, provenance = load_pytracking_network(out)
    source = load_network(paper).state_dict()
    assert all(torch.equal(value, source[key]) for key, value in back.state_dict().items())
    assert provenance["exported_from"]["provenance"]["provenance"] == {"steps": 5}
    code, _, err = run("export", paper, "--out", out)
    assert code == 2 and "is there already" in err


def test_export_of_a_preset(run: Run, paper: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pth.tar"
    code, _, err = run("export", "default", "--out", out)
    assert code == 2 and "ResNet18 only; this network has the backbone efficientnet_lite0" in err
    code, _, err = run("export", "resnet18", "--out", out, "--backbone_weights", tmp_path / "absent.pth")
    assert code == 2 and "backbone weights not found" in err
    code, _, err = run("export", "atom", "--out", out)
    assert code == 2 and "preset atom ships no network" in err
    assert not out.exists()
    backbone = tmp_path / "resnet18.pth"
    torch.save(build_backbone("resnet18").state_dict(), backbone)
    assert run("export", "resnet18", "--out", out, "--backbone_weights", backbone)[0] == 0
    shipped = load_network(WEIGHTS_FOLDER / "resnet18_head.safetensors", backbone_weights=backbone)
    head = load_pytracking_network(out)[0].head
    assert all(torch.equal(value, shipped.head.state_dict()[key]) for key, value in head.state_dict().items())


def test_show_of_ours(run: Run) -> None:
    code, stdout, err = run("show", "default")
    assert (code, err) == (0, "")
    assert f"SHA-256: {sha256_of(WEIGHTS_FOLDER / 'default.safetensors')}\n" in stdout
    assert "format: ebm_tracker network 1\nbackbone: efficientnet_lite0\nhead: features (40, 112), " in stdout
    assert re.search(r'provenance:\n +"', stdout)
    assert "backbone: resnet18 (not in the file: the head alone)" in run("show", "resnet18")[1]


def test_show_of_theirs(run: Run, checkpoint: Path, paper: Path, tmp_path: Path) -> None:
    code, stdout, _ = run("show", checkpoint)
    assert code == 0 and f"SHA-256: {sha256_of(checkpoint)}\nformat: pytracking checkpoint (zip)\n" in stdout
    assert "network: EnergyNetwork: mobilenet_v2, head (8, 5) maps, (7, 3) hidden\nepoch: 3\n" in stdout
    exported = tmp_path / "e.pth.tar"
    run("export", paper, "--out", exported)
    shown = run("show", exported)[1]
    assert "network: ATOMnet: resnet18" in shown and "built by: ltr.models.bbreg.atom.atom_resnet18" in shown
    assert "written by: ebm weights export" in shown and sha256_of(paper) in shown


def test_show_of_neither(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("text")
    for path, expected in ((tmp_path / "x", "no file of torch.save"), (tmp_path / "none", "checkpoint not found")):
        code, stdout, err = run("show", path)
        assert code == 2 and stdout == "" and expected in err
