from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.data.miniature import SIZE_WH, draw_miniature, draw_photo
from ebm_tracker.training.photos import load_ecssd, split_photos


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "new" / "set"
    assert draw_miniature(folder) == 24
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_it_holds_24_images_with_masks_and_nothing_else(miniature: Path) -> None:
    names = [f"{i:04}" for i in range(24)]
    expected = {f"images/{name}.jpg" for name in names} | {f"masks/{name}.png" for name in names}
    assert contents(miniature).keys() == expected
    for name in names:
        with Image.open(miniature / "images" / f"{name}.jpg") as image:
            assert image.size == SIZE_WH and image.mode == "RGB"
        mask = np.asarray(Image.open(miniature / "masks" / f"{name}.png"))
        assert mask.shape == SIZE_WH[::-1] and set(np.unique(mask)) == {0, 255}


def test_each_photo_gives_an_object_to_paste(miniature: Path) -> None:
    photos = load_ecssd(miniature)
    assert len(photos) == 24 and all(len(photo.outlines) == 1 for photo in photos)
    assert all(len(photo.cutouts) == 1 for photo in photos)
    sides = np.array([photo.cutouts[0].rgba.shape[:2] for photo in photos]) - 4  # a margin of two pixels each
    assert sides.min() >= 24 and (sides < SIZE_WH[::-1]).all()
    training, held_out = split_photos(photos)
    assert (len(training), len(held_out)) == (21, 3)


def test_object_and_ground_look_different(miniature: Path) -> None:
    """Else there is nothing to learn from: the mean colours inside and outside the mask are 40 apart or more."""
    distances = []
    for number in range(24):
        image, mask = draw_photo(np.random.default_rng((0, number)))
        distances.append(float(np.linalg.norm(image[mask].mean(0) - image[~mask].mean(0))))
        assert 0.02 < mask.mean() < 0.5 and image[mask].std() > 10 and image[~mask].std() > 10
    assert np.median(distances) > 40


def test_files_are_what_was_drawn(miniature: Path) -> None:
    image, mask = draw_photo(np.random.default_rng((0, 7)))
    assert np.array_equal(np.asarray(Image.open(miniature / "masks" / "0007.png")) > 127, mask)
    stored = np.asarray(Image.open(miniature / "images" / "0007.jpg"), np.float64)
    assert np.abs(stored - image).mean() < 8  # the noise of the finest scale is what JPEG leaves out


def test_the_same_seed_draws_the_same_files(miniature: Path, tmp_path: Path) -> None:
    draw_miniature(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(miniature)
    assert draw_miniature(tmp_path / "three", count=3, seed=1) == 3
    three = contents(tmp_path / "three")
    assert len(three) == 6
    assert all(contents(miniature)[name] != data for name, data in three.items() if name.startswith("images"))
    assert len(set(three.values())) == 6


def test_a_folder_that_holds_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="new or empty folder .*which holds files"):
        draw_miniature(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert draw_miniature(tmp_path / "empty", count=1) == 1
