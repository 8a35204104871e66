from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ebm_tracker.adapters.age.augment import Augmentation
from ebm_tracker.adapters.age.data import (
    AgeError,
    AugmentImage,
    FaceImages,
    FaceList,
    FaceViews,
    age_of,
    find_faces,
    hold_out,
    hold_out_count,
    open_split,
    read_split,
)


def write_face(path: Path, shade: int = 120, size: tuple[int, int] = (200, 200)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size[::-1], 3), shade, np.uint8)).save(path, "JPEG")


def write_faces(folder: Path, ages: list[int]) -> list[str]:
    names = [f"{age}_0_1_2017{number:04d}.jpg.chip.jpg" for number, age in enumerate(ages)]
    for name in names:
        write_face(folder / name, shade=2 * age_of(name))
    return names


def write_split(path: Path, names: list[str], shift: int = 21) -> None:
    rows = [f"{3 * i},{name},{age_of(name) - shift}" for i, name in enumerate(names)]
    path.write_text("\n".join([",file,age", *rows]) + "\n")


def test_age_is_the_number_before_the_first_underscore() -> None:
    assert age_of("39_1_20170116174525125.jpg.chip.jpg") == 39  # a field is missing in this one
    assert age_of("116_1_0_20170112213001988.jpg.chip.jpg") == 116
    for name in ("face.jpg", "_1_0_2017.jpg", "12_1_0_2017.txt", "1234_0.jpg"):
        with pytest.raises(ValueError, match="AGE_"):
            age_of(name)


def test_faces_are_found_in_the_folder_or_in_the_one_inside(tmp_path: Path) -> None:
    names = write_faces(tmp_path / "UTKFace", [30, 7, 116])
    (tmp_path / "UTKFace" / "notes.txt").write_text("no face")
    found = find_faces(tmp_path)
    assert found.folder == tmp_path / "UTKFace" and sorted(names) == list(found.names)
    assert sorted(found.ages.tolist()) == [7, 30, 116]
    assert find_faces(tmp_path / "UTKFace").digest == found.digest != found.part([0, 1]).digest
    with pytest.raises(AgeError, match="there is no such folder"):
        find_faces(tmp_path / "nowhere")
    with pytest.raises(AgeError, match="none is there"):
        (tmp_path / "empty").mkdir()
        find_faces(tmp_path / "empty")


def test_an_image_that_is_none_or_of_another_size_is_named(tmp_path: Path) -> None:
    write_face(tmp_path / "20_0_0_1.jpg", size=(180, 200))
    (tmp_path / "21_0_0_2.jpg").write_bytes(b"no image")
    faces = find_faces(tmp_path)
    with pytest.raises(AgeError, match=r"20_0_0_1.jpg must be 200 x 200.*got 180 x 200"):
        faces.image(0)
    with pytest.raises(AgeError, match=r"21_0_0_2.jpg cannot be read"):
        faces.image(1)


def test_hold_out_is_disjoint_and_follows_the_seed(tmp_path: Path) -> None:
    faces = FaceList(tmp_path, tuple(f"{age}_0_0_0.jpg" for age in range(1, 101)))
    train, test = hold_out(faces, 0.2, seed=0)
    assert (len(train), len(test)) == (80, 20) and set(train.names) | set(test.names) == set(faces.names)
    assert hold_out(faces, 0.2, seed=0)[1] == test != hold_out(faces, 0.2, seed=1)[1]
    assert len(hold_out_count(faces, 3, seed=0)[1]) == 3
    for count in (0, 100):
        with pytest.raises(ValueError, match="count must lie between"):
            hold_out_count(faces, count, seed=0)


def test_the_split_counts_ages_from_21(tmp_path: Path) -> None:
    names = write_faces(tmp_path, [21, 60, 33])
    write_split(tmp_path / "split.csv", names)
    assert read_split(tmp_path / "split.csv") == tuple(names)
    write_split(tmp_path / "split.csv", names, shift=20)
    with pytest.raises(AgeError, match="line 2 of .*split.csv must name a face and its age minus 21"):
        read_split(tmp_path / "split.csv")
    (tmp_path / "split.csv").write_text("name,years\na,1\n")
    with pytest.raises(AgeError, match="columns file and age"):
        read_split(tmp_path / "split.csv")
    with pytest.raises(AgeError, match="no split file"):
        read_split(tmp_path / "other.csv")


def test_what_is_missing_of_the_split_is_said(tmp_path: Path) -> None:
    names = write_faces(tmp_path, [21, 60, 33, 40])
    absent = "59_0_0_20170101.jpg.chip.jpg"
    write_split(tmp_path / "utk_train.csv", [*names[:3], absent])
    write_split(tmp_path / "utk_test.csv", names[3:])
    train, test, remarks = open_split(tmp_path, tmp_path)
    assert train.names == tuple(names[:3]) and test.names == tuple(names[3:])
    text = " | ".join(remarks)
    assert "holds 4 faces, the whole set has 23708" in text
    assert "utk_train.csv lists 4 faces, that of Cao et al. 13147" in text
    assert f"1 of the 4 faces of utk_train.csv are missing, such as {absent}" in text
    write_split(tmp_path / "utk_test.csv", [absent])
    with pytest.raises(AgeError, match="none of the 1 faces of .*utk_test.csv is in"):
        open_split(tmp_path, tmp_path)


def test_the_real_split_has_the_published_counts(shared_dir: Path) -> None:
    folder = shared_dir / "docs" / "splits"
    for name, count, digest in (
        ("utk_train.csv", 13_147, "6c4619ca88451ed8ae6c974c4c82d4bf"),
        ("utk_test.csv", 3_287, "920445165212824c565882ae3f76309e"),
    ):
        if not (folder / name).is_file():
            pytest.skip(f"no split file {folder / name}")
        assert hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest() == digest
        names = read_split(folder / name)
        ages = [age_of(face) for face in names]
        assert len(names) == len(set(names)) == count and (min(ages), max(ages)) == (21, 60)


def test_the_faces_at_hand(shared_dir: Path) -> None:
    folder = shared_dir / "faces" / "utkface"
    if not folder.is_dir():
        pytest.skip(f"no faces: {folder} is not a folder")
    faces = find_faces(folder)
    assert len(faces) == 1_520 and faces.image(0).shape == (200, 200, 3)
    numbers, counts = np.unique(faces.ages, return_counts=True)
    assert (numbers[0], numbers[-1], counts.max()) == (1, 116, 16)


def test_views_follow_from_seed_and_face(tmp_path: Path) -> None:
    write_faces(tmp_path, [30, 50])
    faces = find_faces(tmp_path)
    views = FaceViews(faces, Augmentation(), 5, seed=3)
    images, targets = views[1]
    assert images.shape == (5, 200, 200, 3) and targets.tolist() == [[50.0]] * 5
    np.testing.assert_array_equal(images, FaceViews(faces, Augmentation(), 5, seed=3)[1][0])
    assert not np.array_equal(images, FaceViews(faces, Augmentation(), 5, seed=4)[1][0])
    plain, _ = FaceViews(faces)[1]
    np.testing.assert_array_equal(plain[0], faces.image(1))
    with pytest.raises(ValueError, match="count must be 1"):
        FaceViews(faces, None, 2)


def test_images_for_a_trained_extractor(tmp_path: Path) -> None:
    write_faces(tmp_path, [30, 50, 70])
    images = FaceImages(find_faces(tmp_path))
    assert images[1].shape == (3, 200, 200) and images[1].dtype == torch.uint8
    assert torch.equal(images[1:][0], images[1])
    stored = images[0].clone()
    x, y = AugmentImage(Augmentation())(stored, torch.tensor([30.0]), np.random.default_rng(0))
    assert x.shape == stored.shape and y.tolist() == [30.0] and torch.equal(stored, images[0])
