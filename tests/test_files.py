"""Files are complete or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebm_tracker.files import atomic_path, write_text_atomic


def test_text_is_written_as_it_is(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "a.txt", "1\r\n2\n")
    assert (tmp_path / "a.txt").read_bytes() == b"1\r\n2\n"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as part:
        part.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_part_keeps_folder_and_ending(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "sheet.png") as part:
        assert part.parent == tmp_path
        assert part.suffix == ".png"
        part.touch()
