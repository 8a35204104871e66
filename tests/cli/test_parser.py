"""The commands from outside: help, exit codes, and what is not imported."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from ebm_tracker.cli import build_parser, main
from ebm_tracker.cli.parser import VERBS
from ebm_tracker.errors import one_line
from ebm_tracker.parameters import preset_names

REPO = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=REPO, capture_output=True, text=True, timeout=60)


def test_help_does_not_import_torch() -> None:
    code = "import sys, ebm_tracker.cli as c; c.main(['track', '--help']); print('torch' in sys.modules)"
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert "--video FILE" in done.stdout
    assert ", ".join(preset_names()) in " ".join(done.stdout.split())
    assert done.stdout.splitlines()[-1] == "False"


def test_run_tracker_from_the_checkout() -> None:
    done = run("run_tracker.py", "--help")
    assert done.returncode == 0, done.stderr
    assert "tracker_name" in done.stdout and "tracker_param" in done.stdout
    done = run("run_tracker.py", "ebm", "default", "--init", "1,2,3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("run_tracker.py: error: argument --init: must be four numbers x,y,w,h")


def test_module_is_the_command() -> None:
    done = run("-m", "ebm_tracker.cli", "--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "ebm")


@pytest.mark.parametrize("arguments", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help_of_every_verb(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("usage: ebm")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["track", "--nothing"]])
def test_usage_errors_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_verb_sets_run() -> None:
    parser = build_parser()
    assert isinstance(parser, argparse.ArgumentParser)
    needed = {"train": ["lite"], "data": ["paths"], "eval": ["datasets"], "experiment": ["toy"]}
    needed |= {"weights": ["show", "x"], "plugin": ["check", "x"]}
    for verb, module in VERBS.items():
        assert parser.parse_args([verb, *needed.get(verb, [])]).run is module.run


def test_one_line() -> None:
    assert one_line(ValueError("two\n  lines")) == "two lines"
    assert one_line(FileNotFoundError(2, "No such file", "a.txt")) == "a.txt: No such file"
    assert one_line(ValueError()) == "ValueError"
