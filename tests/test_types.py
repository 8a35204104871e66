"""mypy over the installed shape of the package: at the repository root it would see three files of twelve."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("types") / "tree"
    subprocess.run([sys.executable, "setup.py", "-q", "build_py", "-d", str(tree)], cwd=REPO, check=True)
    script = REPO / "run_tracker.py"
    if script.exists():
        shutil.copy(script, tree)
    return tree


@pytest.fixture(scope="module")
def cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kept between runs where pytest has a cache: most of the first one goes into reading torch."""
    kept = getattr(pytestconfig, "cache", None)  # no attribute under -p no:cacheprovider
    return kept.mkdir("mypy") if kept else tmp_path_factory.mktemp("mypy")


def mypy(tree: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--config-file", str(REPO / "pyproject.toml")]
    command += ["--cache-dir", str(cache), "-p", "ebm_tracker"]
    if (tree / "run_tracker.py").exists():
        command += ["-m", "run_tracker"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True)


def test_types_are_right(built: Path, cache: Path) -> None:
    result = mypy(built, cache)
    assert result.returncode == 0, result.stdout + result.stderr
    checked = int(result.stdout.split(" source file")[0].split()[-1])
    # At least: folders of data count as namespace packages.
    assert checked >= len(list(built.rglob("*.py"))), "mypy did not read every module"


def test_a_planted_error_is_seen(built: Path, cache: Path, tmp_path: Path) -> None:
    """In a mapped folder: there the check at the repository root stays green whatever stands in it."""
    tree = tmp_path / "tree"
    shutil.copytree(built, tree)
    with (tree / "ebm_tracker" / "evaluation" / "__init__.py").open("a") as file:
        file.write("\nplanted: int = 'text'\n")
    result = mypy(tree, cache)
    assert result.returncode == 1 and "Incompatible types in assignment" in result.stdout, result.stdout
