"""Real processes that are killed, interrupted, run side by side, or find the disk full."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent
LONG = os.environ.get("EBM_LONG") == "1"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


def command(out: Path, *flags: object) -> list[str]:
    return [sys.executable, str(HERE / "run_made.py"), str(out), *map(str, flags)]


def start(out: Path, *flags: object) -> subprocess.Popen[str]:
    """In a session of its own, as a terminal has it: a signal to the group reaches the workers too."""
    words = command(out, *flags)
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def finish(out: Path, *flags: object) -> str:
    done = subprocess.run(command(out, *flags), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"ended without {text!r}")


def workers_gone(log: Path, within_s: float = 10.0) -> bool:
    """Whether the processes that the log names have ended; those that have not are killed."""
    pids = {int(line.split()[-1]) for line in log.read_text().splitlines()}
    assert pids
    end = time.monotonic() + within_s
    while (left := [pid for pid in pids if not is_over(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return not left


def is_over(pid: int) -> bool:
    """Gone, or a zombie."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return done.stdout.strip()[:1] in ("", "Z")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    assert "done 10, skipped 0, failed 0, left 0" in finish(out)
    return out


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_and_started_again_it_ends_with_the_same_files(
    made: ModuleType, tmp_path: Path, unbroken: Path, workers: int
) -> None:
    rng = random.Random(workers)
    log = tmp_path / "log"
    flags = ("--workers", workers, "--pause", 0.03 if LONG else 0.005, "--log", log)
    for _ in range(20 if LONG else 2):
        process = start(tmp_path / "out", *flags)
        wait_for(process, "frames are coming")
        time.sleep(rng.uniform(0, 0.4))
        process.kill()
        process.wait()
        assert workers_gone(log)
        process.communicate()
    finish(tmp_path / "out", *flags)
    assert made.files_of(tmp_path / "out") == made.files_of(unbroken)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_to_the_group_ends_it_soon_and_it_goes_on_later(
    made: ModuleType, tmp_path: Path, unbroken: Path, workers: int, number: signal.Signals
) -> None:
    log = tmp_path / "log"
    process = start(tmp_path / "out", "--workers", workers, "--pause", 0.01, "--log", log)
    wait_for(process, "frames are coming")
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "Traceback" not in output and "KeyboardInterrupt" not in output
    left = re.search(r"left (\d+)", output)
    assert left is not None and int(left[1]) > 0
    assert workers_gone(log)
    hidden = [path for path in (tmp_path / "out").rglob(".*")]
    assert hidden == []
    finish(tmp_path / "out", "--workers", workers)
    assert made.files_of(tmp_path / "out") == made.files_of(unbroken)


def test_workers_end_when_their_parent_is_killed_in_the_middle_of_a_long_step(tmp_path: Path) -> None:
    log = tmp_path / "log"
    trap = f"hang {tmp_path / 'sprung'}"
    process = start(tmp_path / "out", "--workers", 2, "--log", log, "--trap", trap)
    end = time.monotonic() + 60
    while not (tmp_path / "sprung").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert (tmp_path / "sprung").exists()
    process.kill()
    process.wait()  # its workers have the pipe too: reading it to the end would wait for them
    assert workers_gone(log)
    process.communicate()


def test_two_commands_in_one_folder_share_the_work(made: ModuleType, tmp_path: Path, unbroken: Path) -> None:
    flags = ("--pause", 0.005)
    processes = [start(tmp_path / "out", *flags), start(tmp_path / "out", *flags, "--workers", 2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    done = [int(match[1]) for output in outputs if (match := re.search(r"done (\d+)", output))]
    assert sum(done) == 10 and len(done) == 2 and min(done) > 0, outputs
    assert "failed 0" in outputs[0] and "failed 0" in outputs[1] and 0 in {p.returncode for p in processes}
    assert made.files_of(tmp_path / "out") == made.files_of(unbroken)
    assert not list((tmp_path / "out").rglob(".*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not sys.platform.startswith("linux"):
        pytest.skip("mounting a small tmpfs needs root on Linux")
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_it_with_one_line_and_what_was_written_stays(
    made: ModuleType, small_disk: Path, unbroken: Path, workers: int
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(220 * 1024))  # leaves room for two manifests and some sequences
    done = subprocess.run(command(small_disk / "out", "--workers", workers), capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    (line,) = (line for line in lines if "disk" in line)
    assert "the disk is full" in line and "what was written stays" in line
    assert "Traceback" not in done.stdout + done.stderr
    everything = made.files_of(unbroken)
    kept = {name: text for name, text in made.files_of(small_disk / "out").items() if "_failed" not in name}
    assert 0 < len(kept) < len(everything) and kept.items() <= everything.items()
    assert not list((small_disk / "out").rglob(".*"))
    ballast.unlink()
    finish(small_disk / "out", "--workers", workers)
    assert made.files_of(small_disk / "out") == everything
