"""FSA-Net's files: BGR to RGB, and a clear sentence for everything else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ebm_tracker.adapters.pose.data import PoseData, PoseError, hold_out, open_biwi, read_pose_file, write_pose_file

POSES = np.array([[10, -5, 3], [-70.5, 20, 0]])


def arrays(**changes: Any) -> dict[str, Any]:
    bgr = np.zeros((2, 64, 64, 3), np.uint8)
    bgr[0, 1, 2] = (30, 20, 10)
    return {"image": bgr, "pose": POSES, "img_size": np.array(64)} | changes


def write(path: Path, **changes: Any) -> Path:
    np.savez(path, **{name: value for name, value in arrays(**changes).items() if value is not None})
    return path


def test_images_come_as_rgb_and_angles_as_they_are(tmp_path: Path) -> None:
    data = read_pose_file(write(tmp_path / "a.npz"))
    assert data.images[0, 1, 2].tolist() == [10, 20, 30]
    assert data.poses.tolist() == POSES.tolist()
    assert data.images.dtype == np.uint8 and data.poses.dtype == np.float32


def test_a_file_without_the_size_is_read(tmp_path: Path) -> None:
    assert len(read_pose_file(write(tmp_path / "a.npz", img_size=None))) == 2


def test_what_is_written_is_read_again_and_stored_as_bgr(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = PoseData(rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8), rng.normal(0, 20, (3, 3)).astype(np.float32))
    write_pose_file(tmp_path / "folder" / "heads.npz", data)
    again = read_pose_file(tmp_path / "folder" / "heads.npz")
    assert (again.images == data.images).all() and (again.poses == data.poses).all()
    with np.load(tmp_path / "folder" / "heads.npz") as stored:
        assert (stored["image"][..., 0] == data.images[..., 2]).all()
        assert stored["img_size"] == 64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": None}, "must hold the arrays image and pose"),
        ({"pose": None}, "must hold the arrays image and pose"),
        ({"image": np.zeros((2, 32, 32, 3), np.uint8)}, r"shape \(N, 64, 64, 3\)"),
        ({"image": np.zeros((2, 64, 64, 3), np.float32)}, "uint8"),
        ({"image": np.zeros((2, 64, 64), np.uint8)}, "uint8 of shape"),
        ({"image": np.zeros((0, 64, 64, 3), np.uint8), "pose": np.zeros((0, 3))}, "no image"),
        ({"pose": np.zeros((3, 3))}, r"shape \(2, 3\)"),
        ({"pose": np.zeros((2, 2))}, r"shape \(2, 3\)"),
        ({"pose": np.array([["a", "b", "c"]] * 2)}, "must be numbers"),
        ({"pose": np.array([[0, 0, 0], [0, np.nan, 0]])}, "row 1"),
        ({"pose": np.array([[0, 0, 0], [0, 999, 0]])}, "row 1"),
        ({"img_size": np.array(224)}, "img_size"),
        ({"img_size": np.array([64, 64])}, "img_size"),
        ({"img_size": np.array("big")}, "img_size"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(PoseError, match=words) as caught:
        read_pose_file(write(tmp_path / "a.npz", **changes))
    assert "a.npz" in str(caught.value)


class Harm:
    """Pickled, it makes a folder when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["image", "pose", "img_size"])
def test_objects_in_a_file_are_not_run(tmp_path: Path, name: str) -> None:
    target = tmp_path / "harm"
    write(tmp_path / "a.npz", **{name: np.array([Harm(str(target))], dtype=object)})
    with pytest.raises(PoseError, match="cannot be read"):
        read_pose_file(tmp_path / "a.npz")
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"hello", b"\x93NUMPY\x01\x00"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(PoseError, match="cannot be read as an archive of arrays: it is no .npz file"):
        read_pose_file(tmp_path / "a.npz")


def test_a_cut_and_a_changed_file_are_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    changed = bytearray(whole)
    changed[2000] ^= 255  # inside the pixels: the checksum tells
    (tmp_path / "changed.npz").write_bytes(bytes(changed))
    for name in ("cut", "changed"):
        with pytest.raises(PoseError, match="cannot be read"):
            read_pose_file(tmp_path / f"{name}.npz")


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(PoseError, match="single array"):
        read_pose_file(tmp_path / "a.npz")


def test_missing_files_are_named(tmp_path: Path) -> None:
    write(tmp_path / "BIWI_train.npz")
    with pytest.raises(PoseError, match=r"missing: BIWI_test\.npz"):
        open_biwi(tmp_path)
    with pytest.raises(PoseError, match="no file"):
        read_pose_file(tmp_path / "b.npz")


def test_other_counts_are_remarked_on(tmp_path: Path) -> None:
    write(tmp_path / "BIWI_train.npz")
    write(tmp_path / "BIWI_test.npz")
    train, test, remarks = open_biwi(tmp_path)
    assert (len(train), len(test)) == (2, 2)
    assert len(remarks) == 2 and "10613" in remarks[0] and "5065" in remarks[1]


def test_hold_out_splits_without_overlap() -> None:
    data = PoseData(np.zeros((20, 64, 64, 3), np.uint8), np.arange(60, dtype=np.float32).reshape(20, 3))
    rest, held = hold_out(data, 5, seed=1)
    assert (len(rest), len(held)) == (15, 5)
    assert sorted([*rest.poses[:, 0], *held.poses[:, 0]]) == data.poses[:, 0].tolist()
    assert (hold_out(data, 5, seed=1)[1].poses == held.poses).all()
    assert (hold_out(data, 5, seed=2)[1].poses != held.poses).any()
    with pytest.raises(ValueError, match="count"):
        hold_out(data, 20, seed=0)
