"""`ebm plugin check`: what is missing is named in one run, and nothing is written."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from ebm_tracker.cli import main
from ebm_tracker.plugin import check as module
from ebm_tracker.plugin.check import Finding, check
from ebm_tracker.plugin.install import install
from ebm_tracker.plugin.settings_check import settings_findings
from ebm_tracker.plugin.stubs import PluginError
from tests.plugin.conftest import write_local
from tests.plugin.test_install import tree


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter without any package."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    return str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)


def text_of(findings: list[Finding]) -> str:
    return "\n".join(map(str, findings))


def find(findings: list[Finding], part: str) -> Finding:
    (found,) = [finding for finding in findings if part in finding.what]
    return found


def test_a_bare_environment_is_told_all_at_once(bare_checkout: Path, bare_python: str, no_display: None) -> None:
    before = tree(bare_checkout)
    findings = check(bare_checkout, training=True, python=bare_python)
    assert tree(bare_checkout) == before
    for name in ("cv2", "matplotlib", "visdom", "jpeg4py", "pandas", "pycocotools", "lvis", "scipy", "tqdm"):
        assert find(findings, f"module {name} is missing").blocks, name
        assert bare_python in find(findings, f"module {name} is missing").mend
    assert find(findings, "module torch.utils.tensorboard is missing").mend.endswith("pip install tensorboard")
    visdom = find(findings, "module visdom").mend
    assert '"setuptools<81"' in visdom and visdom.endswith('--no-build-isolation visdom "tornado<6.6"')
    ours = find(findings, "this package, ebm_tracker, is not installed")
    assert ours.blocks and "numpy, torch" in ours.what and "pip install -e" in ours.mend
    local = bare_checkout / "pytracking" / "evaluation" / "local.py"
    assert "create_default_local_file" in find(findings, f"{local} is not there yet").mend
    assert find(findings, str(Path("ltr", "admin", "local.py"))).blocks
    plugin = find(findings, "files of the plugin are not in the checkout: pytracking/tracker/ebm/__init__.py, ")
    assert plugin.blocks and plugin.mend == f"ebm plugin install {bare_checkout} --ltr"
    for note in ("libturbojpeg", "no display", "module trax", "PreciseRoIPooling", "timm"):
        if note == "no display" and not sys.platform.startswith("linux"):
            continue
        assert not find(findings, note).blocks, note
    assert "apt-get install libturbojpeg0" in find(findings, "libturbojpeg").mend
    blocks = [finding.blocks for finding in findings]
    assert blocks == sorted(blocks, reverse=True)
    assert all("\n" not in str(finding) for finding in findings)


def test_the_command_says_how_many_block(
    bare_checkout: Path, bare_python: str, no_display: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugin", "check", str(bare_checkout), "--python", bare_python]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("BLOCKS: ") and lines[-1].endswith("of these block a run")
    assert main(["plugin", "check", str(bare_checkout), "--python", "/no/such/python"]) == 2
    assert "the interpreter /no/such/python does not run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("import os\nsettings = = 3\n", "SyntaxError: invalid syntax, line 2"),
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module', line 1"),
        ("\n\ndef local_env_settings():\n    return settngs\n", "NameError: name 'settngs' is not defined, line 4"),
        ("", "AttributeError"),
        ("raise SystemExit(3)\n", "SystemExit: 3, line 1"),
        ("def local_env_settings():\n    open(__file__, 'w')\n", "PermissionError"),
    ],
)
def test_a_local_file_that_fails_is_told_and_stays(
    bare_checkout: Path, bare_python: str, content: str, error: str
) -> None:
    """pytracking would overwrite it; the check must not give it the chance."""
    install(bare_checkout)
    path = bare_checkout / "pytracking" / "evaluation" / "local.py"
    path.write_text(content)
    before = tree(bare_checkout)
    found = find(check(bare_checkout, python=bare_python), "OVERWRITE")
    assert found.blocks and str(path) in found.what and error in found.what and str(path) in found.mend
    assert tree(bare_checkout) == before


def test_the_stand_in_would_have_overwritten_it(bare_checkout: Path) -> None:
    """So that the test above can fail."""
    path = bare_checkout / "pytracking" / "evaluation" / "local.py"
    path.write_text("import os\nsettings = = 3\n")
    call = "from pytracking.evaluation.environment import env_settings; env_settings()"
    done = subprocess.run([sys.executable, "-c", call], cwd=bare_checkout, capture_output=True)
    assert done.returncode and "EnvSettings" in path.read_text()


def test_packages_of_the_same_name_are_seen(
    bare_checkout: Path, bare_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index has an unrelated `pytracking`; scripts append the checkout at the end of the path."""
    script = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    run = subprocess.run([bare_python, "-c", script], capture_output=True, text=True, check=True)
    wrong = Path(run.stdout.strip()) / "pytracking"
    wrong.mkdir()
    (wrong / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    (tmp_path / "ltr").mkdir()
    (tmp_path / "ltr" / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    try:
        findings = check(bare_checkout, python=bare_python)
    finally:
        (wrong / "__init__.py").unlink()
        wrong.rmdir()
    found = find(findings, "`import pytracking` finds")
    assert found.blocks and str(wrong) in found.what and found.mend.endswith("-m pip uninstall pytracking")
    found = find(findings, "`import ltr` finds")
    assert found.blocks and str(tmp_path / "ltr") in found.what and "PYTHONPATH" in found.mend


def test_stubs_of_all_kinds(bare_checkout: Path, bare_python: str) -> None:
    install(bare_checkout)
    folder = bare_checkout / "pytracking" / "parameter" / "ebm"
    (folder / "atom.py").write_text("def parameters(): ...\n")
    text = (folder / "default.py").read_text()
    (folder / "default.py").write_text(text.replace("version ", "version 0.0.", 1))
    (folder / "resnet18.py").unlink()
    findings = check(bare_checkout, python=bare_python)
    assert find(findings, "atom.py is not this plugin's").blocks
    old = find(findings, f"{folder / 'default.py'} is of version 0.0.")
    assert not old.blocks and old.mend == f"ebm plugin install {bare_checkout}"
    lacking = find(findings, "files of the plugin are not in the checkout").what
    assert lacking.endswith(": pytracking/parameter/ebm/resnet18.py")


def test_no_checkout_is_one_sentence(tmp_path: Path, bare_python: str) -> None:
    with pytest.raises(PluginError, match="is not a checkout"):
        check(tmp_path, python=bare_python)


@pytest.mark.slow
def test_the_last_step_imports_tracker_and_presets(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the modules that only the real house needs."""
    monkeypatch.setattr(module, "RUN_MODULES", ())
    monkeypatch.setattr(module, "WITH_OURS", ())
    monkeypatch.setattr(module, "_notes", lambda place, imported: [])
    (checkout.parent / "otb" / "Other").mkdir(exist_ok=True)
    (checkout.parent / "otb" / "Other" / "groundtruth_rect.txt").write_text("0,0,1,1\n")
    assert not [str(finding) for finding in check(checkout) if finding.blocks]
    preset = checkout / "pytracking" / "parameter" / "ebm" / "default.py"
    text = preset.read_text()
    preset.write_text(text.replace('"default"', '"default", serach_area=4'))
    try:
        found = list(module._run_findings(module._Place(checkout, sys.executable, False)))
    finally:
        preset.write_text(text)
    assert len(found) == 1 and found[0].blocks
    assert "importing pytracking.parameter.ebm.default fails" in found[0].what
    assert "did you mean 'search_area'?" in found[0].what


def paths_of(checkout: Path, answer: dict[str, object], inner: str = "pytracking") -> list[tuple[bool, str]]:
    return [(blocks, what) for blocks, what, _ in settings_findings(checkout, inner, answer)]


def test_paths_that_are_not_set(bare_checkout: Path, tmp_path: Path) -> None:
    def values(**paths: str) -> dict[str, object]:
        return {"state": "read", "values": {"results_path": "/r", **paths}}

    ((blocks, what),) = paths_of(bare_checkout, values())
    assert blocks and "not set: otb_path, nfs_path" in what and what.endswith("finds no data set")
    lasot = values(lasot_path=str(tmp_path))
    ((blocks, what),) = paths_of(bare_checkout, lasot)
    assert not blocks and "lasot_path" not in what
    found = paths_of(bare_checkout, values(otb_path=str(tmp_path / "nowhere")))
    assert found[1][0] and f"otb_path is no folder: {tmp_path / 'nowhere'}" in found[1][1]
    (tmp_path / "Square").mkdir()
    (tmp_path / "Square" / "groundtruth_rect.txt").write_text("0,0,1,1\n")
    found = paths_of(bare_checkout, values(otb_path=str(tmp_path)))
    assert found[1][0] and "1 of the 2 ground-truth files of otb are not in" in found[1][1]
    assert "Other/groundtruth_rect.txt" in found[1][1]


def test_training_paths(bare_checkout: Path, tmp_path: Path) -> None:
    answer = {"state": "read", "values": {"workspace_dir": "", "lasot_dir": str(tmp_path), "coco_dir": "/no/where"}}
    found = paths_of(bare_checkout, answer, "ltr")
    assert all(blocks for blocks, _ in found) and len(found) == 3
    assert "workspace_dir is not set" in found[0][1]
    assert "not set: got10k_dir, trackingnet_dir:" in found[1][1]
    assert "coco_dir is no folder: /no/where" in found[2][1]


def test_a_good_local_file_is_read(bare_checkout: Path, bare_python: str, tmp_path: Path) -> None:
    write_local(bare_checkout, tmp_path / "nowhere")
    findings = check(bare_checkout, python=bare_python)
    assert f"otb_path is no folder: {tmp_path / 'nowhere'}" in text_of(findings)
    assert "OVERWRITE" not in text_of(findings)
