"""install and remove, on checkouts of the stand-in host."""

from __future__ import annotations

import errno
import os
import py_compile
from pathlib import Path

import pytest

from ebm_tracker.cli import main
from ebm_tracker.parameters import preset_names
from ebm_tracker.plugin import install as module
from ebm_tracker.plugin.install import install, remove
from ebm_tracker.plugin.stubs import PluginError, recipe_names, stub_version, stubs
from ebm_tracker.version import __version__

TRACKER = Path("pytracking", "tracker", "ebm", "__init__.py")
DEFAULT = Path("pytracking", "parameter", "ebm", "default.py")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file, and every folder as an empty one."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def test_what_is_written(bare_checkout: Path) -> None:
    before = tree(bare_checkout)
    changes = install(bare_checkout)
    after = tree(bare_checkout)
    assert {name: after[name] for name in before} == before
    new = {name for name in after.keys() - before.keys() if name.endswith(".py")}
    assert new == {str(TRACKER), "pytracking/parameter/ebm/__init__.py"} | {
        f"pytracking/parameter/ebm/{name}.py" for name in preset_names()
    }
    assert {str(change.path) for change in changes} == new and {change.verb for change in changes} == {"wrote"}
    for name in new:
        assert stub_version(bare_checkout / name) == __version__
    assert 'preset_parameters("default")' in (bare_checkout / DEFAULT).read_text()


def test_training_files_on_demand(bare_checkout: Path) -> None:
    install(bare_checkout, training=True)
    found = {path.stem for path in (bare_checkout / "ltr" / "train_settings" / "ebm").glob("*.py")}
    assert found == {"__init__", "atom", "atom_star", "ebm_tracking"} == {"__init__", *recipe_names()}


def test_a_second_time_changes_nothing(bare_checkout: Path) -> None:
    install(bare_checkout, training=True)
    before = tree(bare_checkout)
    assert {change.verb for change in install(bare_checkout)} == {"kept"}
    assert tree(bare_checkout) == before


def test_another_version_is_updated_and_said(bare_checkout: Path) -> None:
    install(bare_checkout)
    path = bare_checkout / DEFAULT
    new = path.read_text()
    path.write_text(new.replace(f"version {__version__}:", "version 0.0.1:"))
    gone = path.with_name("dropped_preset.py")
    gone.write_text(path.read_text())
    changes = {str(change) for change in install(bare_checkout) if change.verb != "kept"}
    assert changes == {
        f"updated {DEFAULT} (was of version 0.0.1)",
        f"removed {DEFAULT.with_name('dropped_preset.py')} (of version 0.0.1, not in {__version__})",
    }
    assert path.read_text() == new and not gone.exists()


def test_remove_takes_exactly_that_away(bare_checkout: Path) -> None:
    before = tree(bare_checkout)
    install(bare_checkout, training=True)
    for stub in stubs(training=True):
        py_compile.compile(str(bare_checkout / stub.path))
    assert list(bare_checkout.glob("pytracking/parameter/ebm/__pycache__/default.*.pyc"))
    remove(bare_checkout)
    assert tree(bare_checkout) == before
    assert remove(bare_checkout) == []


def test_presets_of_ones_own_stay(bare_checkout: Path) -> None:
    install(bare_checkout)
    own = bare_checkout / DEFAULT.with_name("mine.py")
    own.write_text((bare_checkout / DEFAULT).read_text().split("\n", 1)[1])
    assert {change.verb for change in install(bare_checkout)} == {"kept"}
    said = [str(change) for change in remove(bare_checkout)]
    assert f"left alone {own.relative_to(bare_checkout)} (not this plugin's)" in said
    assert list(own.parent.iterdir()) == [own] and not (bare_checkout / TRACKER).parent.exists()
    assert {change.verb for change in install(bare_checkout)} == {"wrote"}  # beside it, again


@pytest.mark.parametrize("kind", ["file", "package", "namespace", "link", "plain"])
def test_somebody_elses_ebm_is_refused(bare_checkout: Path, kind: str) -> None:
    folder = bare_checkout / "pytracking" / "tracker" / "ebm"
    if kind == "plain":
        folder.write_text("a file")
    elif kind == "link":
        (bare_checkout / "elsewhere").mkdir()
        folder.symlink_to(bare_checkout / "elsewhere")
    else:
        folder.mkdir()
        name = {"file": "__init__.py", "package": "__init__.py", "namespace": "ebm.py"}[kind]
        (folder / name).write_text("class EBM: ...\n" if kind != "file" else "")
    before = tree(bare_checkout)
    for change in (install, remove):
        with pytest.raises(PluginError, match="is not this plugin's and is left alone"):
            change(bare_checkout)
    assert tree(bare_checkout) == before


def test_a_stub_that_lost_its_marker_is_foreign(bare_checkout: Path) -> None:
    install(bare_checkout)
    (bare_checkout / DEFAULT).write_text("def parameters(): ...\n")
    before = tree(bare_checkout)
    with pytest.raises(PluginError, match="default.py is not this plugin's"):
        remove(bare_checkout)
    assert tree(bare_checkout) == before


def test_other_directories_are_refused(tmp_path: Path, bare_checkout: Path) -> None:
    with pytest.raises(PluginError, match="nowhere is not a directory"):
        install(tmp_path / "nowhere")
    other = tmp_path / "OSTrack"
    (other / "lib" / "test").mkdir(parents=True)
    with pytest.raises(PluginError, match="is not a checkout of .*: looked for pytracking/run_tracker.py"):
        install(other)
    assert list(other.iterdir()) == [other / "lib"]
    with pytest.raises(PluginError, match=f"its parent is one: give {bare_checkout}"):
        install(bare_checkout / "pytracking")
    (bare_checkout / "ltr" / "run_training.py").unlink()
    with pytest.raises(PluginError, match="not there: ltr/run_training.py$"):
        install(bare_checkout, training=True)


def test_a_disk_that_refuses_is_one_sentence_and_leaves_nothing(
    bare_checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(bare_checkout)
    write = module.write_text_atomic

    def refuse(path: Path, text: str) -> None:
        if path.name == "resnet18.py":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        write(path, text)

    monkeypatch.setattr(module, "write_text_atomic", refuse)
    with pytest.raises(PluginError, match=r"^the checkout cannot be written to: .*resnet18.py: Read-only file system$"):
        install(bare_checkout)
    assert tree(bare_checkout) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_checkout(bare_checkout: Path) -> None:
    folder = bare_checkout / "pytracking" / "tracker"
    folder.chmod(0o555)
    try:
        with pytest.raises(PluginError, match="the checkout cannot be written to: .*Permission denied"):
            install(bare_checkout)
    finally:
        folder.chmod(0o755)


def test_the_commands(bare_checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "install", str(bare_checkout)]) == 0
    out = capsys.readouterr().out
    assert f"  wrote {TRACKER}\n" in out and f"next: ebm plugin check {bare_checkout}\n" in out
    assert main(["plugin", "remove", str(bare_checkout)]) == 0
    assert f"  removed {DEFAULT}\n" in capsys.readouterr().out
    assert main(["plugin", "remove", str(bare_checkout)]) == 0
    assert "nothing of this plugin was there" in capsys.readouterr().out
    assert main(["plugin", "install", str(bare_checkout / "ltr")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
