"""`ebm doctor`: what the page says of sound and of broken installations, and what --hide-paths takes out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from ebm_tracker import build
from ebm_tracker.cli import doctor, doctor_files, doctor_machine
from ebm_tracker.cli.doctor import HIDDEN, Finding, Level, hide
from ebm_tracker.cli.parser import main
from ebm_tracker.parameters import preset
from ebm_tracker.version import __version__

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for name in ("EBM_SETTINGS", "EBM_DATA_OTB", "EBM_DATA_LASOT", "EBM_BACKBONE_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "config"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def called(*arguments: str) -> tuple[int, str]:
        code = main(["doctor", *arguments])
        done = capsys.readouterr()
        assert done.err == ""
        return code, done.out

    return called


def lines(page: str, level: str) -> list[str]:
    return [line[8:] for line in page.splitlines() if line.startswith(f"  {level:4}  ")]


def found(check: Iterable[Finding], level: Level) -> list[str]:
    return [finding.text for finding in check if finding.level is level]


def installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str | None]) -> None:
    """As if these packages had these versions; None: not installed."""
    real = metadata.version

    def version(name: str) -> str:
        given = versions.get(name, "")
        if given is None:
            raise metadata.PackageNotFoundError(name)
        return given or real(name)

    monkeypatch.setattr(metadata, "version", version)


def test_the_page_of_this_installation(run: Run) -> None:
    code, page = run("--device", "cpu")
    assert code == 0 and page.startswith(f"ebm-tracker {__version__}: ebm doctor\n")
    assert lines(page, "FAIL") == []
    assert f"torch {metadata.version('torch')}" in lines(page, "ok")
    assert any(line.startswith("default: default.safetensors, efficientnet_lite0, ") for line in lines(page, "ok"))
    assert preset("default").weights.sha256 in page  # type: ignore[operator]
    (tested,) = (line for line in lines(page, "ok") if line.startswith("IoU "))
    assert float(tested.split()[1]) > 0.5 and "after 6 frames on cpu" in tested
    titles = [line for line in page.splitlines() if line and not line.startswith(" ")][1:-1]
    assert titles == [
        "System", "Packages", "Devices", "Video and images", "Networks", "Data paths", "Environment", "Self-test"
    ]  # fmt: skip


def test_a_broken_line_makes_the_code_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Iterable[Finding]:
        yield Finding(Level.GOOD, "first")
        raise OSError("libavcodec.so: cannot open\nshared object")

    monkeypatch.setattr(doctor_machine, "codecs", fails)
    code, page = run("--no-self-test")
    assert code == 1 and page.endswith("\n1 broken, 0 warnings\n") or "1 broken" in page
    assert lines(page, "FAIL") == ["OSError: libavcodec.so: cannot open shared object"]
    assert "first" in lines(page, "ok") and "\nEnvironment\n" in page and "Self-test" not in page


def test_opencv_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    none = dict.fromkeys(doctor_machine.OPENCV_WHEELS)
    installed(monkeypatch, {**none})
    assert list(doctor_machine.opencv_wheels()) == []
    installed(monkeypatch, {**none, "opencv-python": "4.11.0", "opencv-contrib-python-headless": "5.0.0"})
    (warning,) = found(doctor_machine.opencv_wheels(), Level.WARNING)
    assert warning.startswith("2 OpenCV wheels") and "opencv-python 4.11.0, opencv-contrib-python-headless 5" in warning


def test_packages_with_the_names_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, {"pytracking": None, "ltr": None})
    assert list(doctor_machine.foreign_packages()) == []
    installed(monkeypatch, {"pytracking": "0.2.2", "ltr": None})
    (warning,) = found(doctor_machine.foreign_packages(), Level.WARNING)
    assert warning.startswith("pytracking 0.2.2 ") and warning.endswith("pip uninstall pytracking")


def test_what_keeps_visdoms_page_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    installed(monkeypatch, {"visdom": None, "tornado": "6.6"})
    assert list(doctor_machine.visdom_page()) == []
    installed(monkeypatch, {"visdom": "0.3.0", "tornado": "6.5.10"})
    (fact,) = found(doctor_machine.visdom_page(), Level.FACT)
    assert "never started here" in fact
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "version.built").write_text("0.3.0")
    assert list(doctor_machine.visdom_page()) == []
    installed(monkeypatch, {"visdom": "0.3.0", "tornado": "6.6.1"})
    (warning,) = found(doctor_machine.visdom_page(), Level.WARNING)
    assert warning.startswith("tornado 6.6.1: ") and warning.endswith("pip install 'tornado<6.6'")


def test_missing_and_old_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["torch>=2.4", "numpy>=1.26", "safetensors>=0.4", 'tomli>=2; python_version < "3.11"']
    extras = ['matplotlib>=3.8; extra == "eval"', 'jinja2>=3.1; extra == "eval"', 'pytest>=8; extra == "test"']
    # Given here: an installation that is edited in place keeps the list of the day it was made.
    monkeypatch.setattr(metadata, "requires", lambda name: [*needed, *extras, 'ebm-tracker[eval]; extra == "test"'])
    installed(monkeypatch, {"safetensors": None, "torch": "2.3.1", "matplotlib": None, "jinja2": None})
    findings = list(doctor_machine.packages())
    broken = found(findings, Level.BROKEN)
    assert "safetensors is not installed: pip install 'safetensors>=0.4'" in broken
    assert "torch 2.3.1 is too old: pip install 'torch>=2.4'" in broken and len(broken) == 2
    missing = [text for text in found(findings, Level.FACT) if "[eval]" in text]
    assert missing == ["not installed: matplotlib, jinja2 (pip install 'ebm-tracker[eval]')"]
    installed(monkeypatch, {"torch": "2.10.0+cu130"})  # 10 is more than 4
    assert not any(text.startswith("torch ") for text in found(doctor_machine.packages(), Level.BROKEN))


def test_networks_are_compared_with_their_hashes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(build.WEIGHTS_FOLDER, folder)
    monkeypatch.setattr(build, "WEIGHTS_FOLDER", folder)
    assert found(doctor_files.networks(), Level.BROKEN) == []
    path = folder / "default.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (text,) = found(doctor_files.networks(), Level.BROKEN)
    assert text.startswith(f"default: {path} is damaged or another file: SHA-256 ") and text.endswith(
        f"expected {preset('default').weights.sha256}"
    )
    path.unlink()
    assert found(doctor_files.networks(), Level.BROKEN) == ["default: default.safetensors is not there"]


def test_backbones(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, page = run("--no-self-test")
    assert "backbone resnet18: resnet18-f37072fd.pth is not in" in page
    cached = tmp_path / "torch/hub/checkpoints/resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half a download")
    code, page = run("--no-self-test")
    assert code == 1 and any("is damaged" in line and str(cached) in line for line in lines(page, "FAIL"))
    monkeypatch.setenv("EBM_BACKBONE_WEIGHTS", str(tmp_path / "absent.pth"))
    assert any("EBM_BACKBONE_WEIGHTS names" in line for line in lines(run("--no-self-test")[1], "FAIL"))


def test_data_paths(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EBM_DATA_OTB", str(tmp_path))
    monkeypatch.setenv("EBM_DATA_LASOT", str(tmp_path / "gone"))
    code, page = run("--no-self-test")
    assert code == 0 and f"data.otb = {tmp_path} (EBM_DATA_OTB)" in lines(page, "ok")
    assert f"data.lasot = {tmp_path / 'gone'}, which is not there (EBM_DATA_LASOT)" in lines(page, "warn")
    monkeypatch.setenv("EBM_SETTINGS", str(tmp_path / "bad.toml"))
    (tmp_path / "bad.toml").write_text("[data]\notbb = '/x'\n")
    code, page = run("--no-self-test")
    assert code == 1 and any("unknown key data.otbb" in line for line in lines(page, "FAIL"))


def test_hidden_paths(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spaced = tmp_path / "project of Jane" / "otb"
    monkeypatch.setenv("EBM_DATA_OTB", str(spaced))
    monkeypatch.setenv("EBM_DATA_LASOT", "~/lasot")
    _, shown = run("--no-self-test")
    assert str(spaced) in shown
    _, page = run("--no-self-test", "--hide-paths")
    assert f"data.otb = {HIDDEN}, which is not there (EBM_DATA_OTB)" in page and f"EBM_DATA_OTB={HIDDEN}" in page
    for part in ("Jane", "lasot_", str(tmp_path), str(Path.home()), str(build.WEIGHTS_FOLDER), "/"):
        kept = page.replace("`ebm data paths --write-template`", "").replace("frames/s", "")
        assert part not in kept, part
    assert preset("default").weights.sha256 in page  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file /home/jane/x.pth is damaged", f"file {HIDDEN} is damaged"),
        (r"file C:\Users\Jane\x.pth, gone", f"file {HIDDEN}, gone"),
        ("(~/jane)", f"({HIDDEN})"),
        ("12 frames/s, https://example.org/a", "12 frames/s, https://example.org/a"),
        ("in /data/my sets/otb now", f"in {HIDDEN} now"),
    ],
)
def test_hide(text: str, expected: str) -> None:
    assert hide(text, [Path("/data/my sets")]) == expected


def test_a_self_test_that_loses_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_files, "SELF_TEST_IOU", 1.01)
    (text,) = found(doctor_files.self_test("cpu"), Level.BROKEN)
    assert text.endswith("the object was lost")
    assert replace(Finding(Level.GOOD, text)).text == text and doctor.Level("FAIL") is Level.BROKEN
