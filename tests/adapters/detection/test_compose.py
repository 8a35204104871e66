from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.collage import ComposeSettings, compose_image
from ebm_tracker.adapters.detection.compose import compose_set, find_photos, load_stock, split_names
from ebm_tracker.adapters.detection.data import open_detection_images
from tests.adapters.detection.conftest import ellipse

SMALL = ComposeSettings(counts=(5, 2, 3), size_wh=(160, 128), sides=(24.0, 90.0), photo_shares=(0.25, 0.25))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 in ECSSD's layout: an ellipse of its own colour, wide, tall or round, on a ground of another; two without."""
    root = tmp_path_factory.mktemp("photos")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        w, h = [(110, 44), (44, 110), (70, 70)][number % 3]
        x, y = int(rng.integers(10, 80)), int(rng.integers(10, 30))
        mask = ellipse((200, 150), (x, y, x + w, y + h))
        if number >= 22:
            mask = np.zeros_like(mask)
        pixels = np.empty((150, 200, 3), np.uint8)
        pixels[:] = rng.integers(0, 256, 3)
        pixels[mask] = rng.integers(0, 256, 3)
        Image.fromarray(pixels).save(root / "images" / f"{number:03d}.jpg", quality=95, subsampling=0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / f"{number:03d}.png")
    return root


def test_splits_share_no_photo(photos: Path) -> None:
    listed = find_photos(photos)
    assert len(listed) == 24 and list(listed)[0] == "ecssd/000"
    parts = split_names(listed, SMALL)
    assert {split: len(names) for split, names in parts.items()} == {"train": 12, "val": 6, "test": 6}
    assert set().union(*parts.values()) == set(listed)
    assert parts != split_names(listed, replace(SMALL, seed=1)) and parts == split_names(listed, SMALL)
    stock = load_stock(parts["val"], SMALL)
    assert stock.photos == set(parts["val"]) and {f"ecssd/{path.stem}" for path, _ in stock.grounds} <= stock.photos


def test_black_masks_are_grounds_only(photos: Path) -> None:
    listed = find_photos(photos)
    stock = load_stock({name: listed[name] for name in ("ecssd/021", "ecssd/022")}, SMALL)
    assert len(stock.objects) == 1 and [mask is None for _, mask in stock.grounds] == [False, True]
    with pytest.raises(DetectionDataError, match=r"got 0 and 1 of 1 photos"):
        load_stock({"ecssd/022": listed["ecssd/022"]}, SMALL)


def test_a_set_is_one_in_cocos_format(photos: Path, tmp_path: Path) -> None:
    folder = compose_set(photos, tmp_path / "set", SMALL, quiet=True)
    for split, count in zip(("train", "val", "test"), SMALL.counts, strict=True):
        images = open_detection_images(folder, split, training=True, outputs=4)
        assert len(images) == count and not images.left_out and images.classes.names == ("wide", "compact", "tall")
        for number in range(count):
            assert images.read(number).shape == (128, 160, 3)
            boxes = images.objects[number].boxes_xyxy
            assert bool((boxes[:, :2] >= 0).all()) and bool((boxes[:, 2:] <= boxes.new_tensor([160, 128])).all())
    document = json.loads((folder / "annotations" / "instances_train.json").read_text())
    numbers = [annotation["id"] for annotation in document["annotations"]]
    assert numbers == list(range(1, len(numbers) + 1))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_again_and_gone_on_with(photos: Path, tmp_path: Path) -> None:
    first = contents(compose_set(photos, tmp_path / "a", SMALL, quiet=True))
    assert first == contents(compose_set(photos, tmp_path / "b", SMALL, quiet=True))
    (tmp_path / "b" / "annotations" / "instances_test.json").unlink()  # as if it had been stopped
    (tmp_path / "b" / "test" / "000002.jpg").unlink()
    kept = tmp_path / "b" / "train" / "000001.jpg"
    kept.write_bytes(b"mine")  # a finished split is left alone
    again = contents(compose_set(photos, tmp_path / "b", SMALL, quiet=True))
    assert {**again, "train/000001.jpg": b""} == {**first, "train/000001.jpg": b""} and kept.read_bytes() == b"mine"
    with pytest.raises(DetectionDataError, match="another counts, seed: choose another folder"):
        compose_set(photos, tmp_path / "a", replace(SMALL, seed=2, counts=(5, 2, 4)), quiet=True)


def test_other_photos_are_noticed(photos: Path, tmp_path: Path) -> None:
    compose_set(photos, tmp_path / "set", SMALL, quiet=True)
    fewer = tmp_path / "fewer"
    for kind in ("images", "masks"):
        (fewer / kind).mkdir(parents=True)
        for path in sorted((photos / kind).iterdir())[1:]:
            (fewer / kind / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DetectionDataError, match="another photos"):
        compose_set(fewer, tmp_path / "set", SMALL, quiet=True)


def test_bad_photos_are_one_error(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DetectionDataError, match="holds no photos"):
        compose_set(tmp_path, tmp_path / "set", quiet=True)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for path in (photos / kind).iterdir():
            (tmp_path / kind / path.name).write_bytes(path.read_bytes())
    (tmp_path / "masks" / "005.png").write_bytes(b"")
    with pytest.raises(DetectionDataError, match="005.png cannot be read as a mask"):
        compose_set(tmp_path, tmp_path / "set", SMALL, quiet=True)
    Image.new("L", (3, 3)).save(tmp_path / "masks" / "005.png")
    with pytest.raises(DetectionDataError, match="005.png is 3 x 3, its photo"):
        compose_set(tmp_path, tmp_path / "set", SMALL, quiet=True)
    (tmp_path / "masks" / "005.png").write_bytes((photos / "masks" / "005.png").read_bytes())
    assert len(open_detection_images(compose_set(tmp_path, tmp_path / "set", SMALL, quiet=True), "test")) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"classes": "colour"},
        {"counts": (1, 0, 1)},
        {"objects": (3, 2)},
        {"photo_shares": (0.5, 0.5)},
        {"sides": (20.0, 400.0)},
    ],
)
def test_settings_are_checked(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        ComposeSettings(**change)  # type: ignore[arg-type]


def test_real_photos(shared_dir: Path) -> None:
    """Of ECSSD and COCO128, as the small experiment uses them."""
    settings = ComposeSettings(photo_shares=(0.05, 0.2))
    parts = split_names(find_photos(shared_dir / "train_images"), settings)
    assert sum(map(len, parts.values())) == 1128 and len(parts["val"]) == 56
    stock = load_stock(parts["val"], settings)
    assert len(stock.objects) > 40 and len(stock.grounds) > 30
    made = [compose_image(stock, settings, np.random.default_rng(number)) for number in range(6)]
    assert all(image.image.shape == (288, 384, 3) for image in made) and sum(len(image.labels) for image in made) > 10
