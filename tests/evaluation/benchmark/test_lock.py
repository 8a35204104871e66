from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from ebm_tracker.evaluation.benchmark import lock as lock_module
from ebm_tracker.evaluation.benchmark.lock import FileLock

HOLD = """
import sys, time
from pathlib import Path
from ebm_tracker.evaluation.benchmark.lock import FileLock
print(FileLock(Path(sys.argv[1])).acquire(), flush=True)
time.sleep(60)
"""


def test_a_second_lock_is_refused_until_the_first_is_given_back(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert not (tmp_path / "l").exists()
    assert second.acquire()
    second.release()


def test_releasing_what_is_not_held_does_nothing(tmp_path: Path) -> None:
    holder, other = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    assert holder.acquire() and not other.acquire()
    other.release()
    assert not FileLock(tmp_path / "l").acquire()


def test_a_killed_process_loses_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "l"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        assert not FileLock(path).acquire()
    finally:
        process.kill()
        process.communicate()
    assert path.exists()  # the file stays, and locks nothing
    assert FileLock(path).acquire()


def test_a_lock_on_a_file_that_was_replaced_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l"
    real, calls = lock_module._lock, []

    def lock_after_removal(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 1:  # the last holder gives it back between our open and our lock
            path.unlink()
        real(handle)

    monkeypatch.setattr(lock_module, "_lock", lock_after_removal)
    assert FileLock(path).acquire()
    assert len(calls) == 2
    assert not FileLock(path).acquire()


def test_without_locks_in_the_file_system_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module, "_lock", refuse)
    lock = FileLock(tmp_path / "l")
    assert lock.acquire() and not lock.is_real
    lock.release()


def test_other_errors_come_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "nowhere" / "l").acquire()
