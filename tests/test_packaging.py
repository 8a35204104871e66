"""What a wheel holds, and that it works without the repository around it."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ebm_tracker.version import __version__

REPO = Path(__file__).resolve().parents[1]
MAPPED = ("ltr_settings", "parameters", "train_settings", "evaluation")
OPENCV = "opencv"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is packed: building leaves a build/ behind, whose stale modules the next wheel would ship."""
    copy = tmp_path_factory.mktemp("packaging") / "copy"
    copy.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE", "MANIFEST.in", "run_tracker.py"):
        if (REPO / name).exists():
            shutil.copy(REPO / name, copy)
    for name in ("ebm_tracker", "tests", *MAPPED):
        shutil.copytree(REPO / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def pack(copy: Path, command: str, folder: Path) -> Path:
    words = [sys.executable, "setup.py", "-q", command, "-d", str(folder)]
    result = subprocess.run(words, cwd=copy, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(copy, "bdist_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist_names(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Files of the source distribution, below its own folder."""
    with tarfile.open(pack(copy, "sdist", tmp_path_factory.mktemp("sdist"))) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def expected_files() -> set[str]:
    core = REPO / "ebm_tracker"
    paths = [*core.rglob("*.py"), core / "py.typed"]
    paths += [path for path in (core / "weights").iterdir() if not path.name.startswith(".")]
    paths += (core / "lists").glob("*.txt")
    paths += (core / "live" / "web" / "page").iterdir()
    files = {path.relative_to(REPO).as_posix() for path in paths}
    mapped = [path for folder in MAPPED for path in (REPO / folder).rglob("*.py")]
    evaluation = REPO / "evaluation"
    mapped += [*evaluation.glob("*.csv"), *evaluation.glob("datasets/tables/*")]
    mapped += [*evaluation.glob("report/templates/*"), *evaluation.glob("report/assets/*")]
    return files | {f"ebm_tracker/{path.relative_to(REPO).as_posix()}" for path in mapped}


def test_the_wheel_holds_every_module_and_nothing_else(names: set[str]) -> None:
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == expected_files()


def test_the_source_distribution_holds_what_the_wheel_is_made_of(sdist_names: set[str]) -> None:
    needed = {"pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE", "run_tracker.py"}
    for name in expected_files():
        inner = name.removeprefix("ebm_tracker/")
        needed.add(inner if inner.split("/")[0] in MAPPED else name)
    tests = {path.relative_to(REPO).as_posix() for path in (REPO / "tests").rglob("*.py")}
    made = {name for name in sdist_names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg", "MANIFEST.in"}
    assert needed | tests <= sdist_names
    assert sdist_names - made == needed | tests


def test_lasots_test_videos_are_a_file_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.read("ebm_tracker/lists/lasot_testing.txt").decode().split()
    assert len(names) == len(set(names)) == 280


def test_the_wheel_holds_licences_and_command(wheel: Path, names: set[str]) -> None:
    info = f"ebm_tracker-{__version__}.dist-info"
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} <= names
    with zipfile.ZipFile(wheel) as archive:
        assert "ebm = ebm_tracker.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert f"\nVersion: {__version__}\n" in metadata


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 40 * 2**20  # a network file or two below 12 MiB each, and the code


def test_the_wheel_imports_without_the_repository(wheel: Path, tmp_path: Path) -> None:
    """Every module. -S keeps site-packages' .pth files out, through which an editable install would help."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    path = [str(tmp_path / "site"), *(entry for entry in sys.path if entry.endswith("-packages"))]
    script = (
        f"import sys; sys.path[:0] = {path!r}\n"
        "import importlib, pkgutil, ebm_tracker\n"
        "names = [m.name for m in pkgutil.walk_packages(ebm_tracker.__path__, 'ebm_tracker.')]\n"
        "[importlib.import_module(n) for n in names if not n.endswith('.__main__')]\n"
        "print(len(names), ebm_tracker.__file__)\n"
    )
    command = [sys.executable, "-S", "-c", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    count, file = result.stdout.splitlines()[-1].split(" ", 1)
    assert file.startswith(str(tmp_path))
    modules = {name for name in expected_files() if name.endswith(".py")} - {"ebm_tracker/__init__.py"}
    assert int(count) == len(modules)


def test_versions_are_equal() -> None:
    import ebm_tracker

    assert ebm_tracker.__version__ == __version__ == importlib.metadata.version("ebm-tracker")


def test_the_command_is_installed() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="ebm")
    assert command.value == "ebm_tracker.cli:main"
    assert callable(command.load())


@pytest.fixture(scope="module")
def requires(wheel: Path) -> list[str]:
    """Of the wheel, not of what is installed: an old editable install names old ones."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"ebm_tracker-{__version__}.dist-info/METADATA").decode()
    marker = "Requires-Dist: "
    return [line.removeprefix(marker).lower() for line in metadata.splitlines() if line.startswith(marker)]


def test_no_install_brings_opencv(requires: list[str]) -> None:
    """But the extra that asks for OpenCV's trackers: the OpenCV wheels overwrite one another's cv2."""
    assert [line for line in requires if OPENCV in line] == [
        'opencv-contrib-python-headless>=4.8; extra == "baselines"'
    ]


def test_dependencies_are_the_listed_ones(requires: list[str]) -> None:
    found: dict[str, set[str]] = {}
    for line in requires:
        needed, _, condition = line.partition(";")
        found.setdefault(condition.strip().replace("'", '"'), set()).add(re.split("[<>=]", needed)[0].strip())
    assert found.pop("") == {"torch", "torchvision", "numpy", "av", "safetensors", "rich", "pillow"}
    assert found.pop('python_version < "3.11"') == {"tomli"}  # tomllib came with 3.11
    assert found.pop('extra == "train"') == {"simplejpeg", "tensorboard"}
    assert found.pop('extra == "eval"') == {"matplotlib", "jinja2"}
    assert found.pop('extra == "ray"') == {"ray"}
    assert found.pop('extra == "live"') == {"pygame-ce"}
    assert found.pop('extra == "web"') == {"starlette", "uvicorn", "websockets"}
    assert found.pop('extra == "visdom"') == {"visdom", "tornado"}
    assert found.pop('extra == "examples"') == {"scikit-learn"}
    assert found.pop('extra == "coco"') == {"faster-coco-eval"}
    assert found.pop('extra == "baselines"') == {"opencv-contrib-python-headless"}
    assert found.pop('sys_platform == "linux" and extra == "test"') == {"vot-trax"}
    assert found.pop('python_version < "3.14" and extra == "test"') == {"ray"}  # has no wheels for newer ones
    assert set(found) == {'extra == "demo"', 'extra == "test"'}
