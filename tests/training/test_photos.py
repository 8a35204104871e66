from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.photos import (
    Photo,
    box_outline,
    cut_out,
    load_coco128,
    load_ecssd,
    mask_outline,
    split_photos,
)


def save_photo(root: Path, name: str, size_wh: tuple[int, int] = (120, 90)) -> None:
    (root / "images").mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "images" / f"{name}.jpg")


def save_mask(root: Path, name: str, mask: np.ndarray) -> None:
    (root / "masks").mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / f"{name}.png")


def block(x0: int, y0: int, x1: int, y1: int, size_wh: tuple[int, int] = (120, 90)) -> np.ndarray:
    mask = np.zeros((size_wh[1], size_wh[0]), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def hull(points: np.ndarray) -> tuple[float, ...]:
    return (*points.min(0).tolist(), *points.max(0).tolist())


# ECSSD ---------------------------------------------------------------------------------------------------------------


def test_ecssd_mask_gives_outline_and_cutout(tmp_path: Path) -> None:
    save_photo(tmp_path, "a")
    save_mask(tmp_path, "a", block(30, 20, 70, 60))
    (photo,) = load_ecssd(tmp_path)
    assert (photo.name, photo.image.shape, photo.image.dtype) == ("ecssd/a", (90, 120, 3), np.uint8)
    assert photo.may_rotate == (True,)
    assert hull(photo.outlines[0]) == (29.5, 19.5, 69.5, 59.5)  # pixels 30..69, 20..59 with their edges
    (cutout,) = photo.cutouts
    assert cutout.rgba.shape == (44, 44, 4)  # two pixels of margin
    assert hull(cutout.outline) == (1.5, 1.5, 41.5, 41.5)
    assert (cutout.rgba[2:-2, 2:-2, 3] == 255).all() and cutout.rgba[..., 3].sum() == 255 * 40 * 40
    np.testing.assert_array_equal(cutout.rgba[..., :3], photo.image[18:62, 28:72])


@pytest.mark.parametrize("box", [(0, 20, 40, 60), (80, 20, 120, 60), (30, 0, 70, 40), (30, 50, 70, 90)])
def test_mask_on_the_border_is_an_object_but_no_cutout(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    """Part of it may be missing, so it cannot be pasted; where it lies is known all the same."""
    save_photo(tmp_path, "a")
    save_mask(tmp_path, "a", block(*box))
    (photo,) = load_ecssd(tmp_path)
    assert len(photo.outlines) == 1 and photo.cutouts == ()


@pytest.mark.parametrize(
    "box", [(30, 20, 40, 80), (30, 20, 110, 43), (3, 30, 117, 48)], ids=["narrow", "just-too-low", "thin"]
)
def test_small_or_thin_objects_are_not_cut_out(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    save_photo(tmp_path, "a")
    save_mask(tmp_path, "a", block(*box))
    assert load_ecssd(tmp_path)[0].cutouts == ()


def test_empty_mask_is_a_background(tmp_path: Path) -> None:
    save_photo(tmp_path, "a")
    save_mask(tmp_path, "a", block(0, 0, 0, 0))
    (photo,) = load_ecssd(tmp_path)
    assert (photo.outlines, photo.may_rotate, photo.cutouts) == ((), (), ())


def test_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    save_photo(tmp_path, "a")
    save_mask(tmp_path, "a", block(3, 3, 9, 9, (60, 45)))
    with pytest.raises(ValueError, match=r"a\.png is \(60, 45\), its photo \(120, 90\)"):
        load_ecssd(tmp_path)


def test_missing_mask_is_named(tmp_path: Path) -> None:
    save_photo(tmp_path, "lonely")
    with pytest.raises(FileNotFoundError, match=r"lonely\.png"):
        load_ecssd(tmp_path)


@pytest.mark.parametrize("load", [load_ecssd, load_coco128])
def test_folder_without_photos_is_named(tmp_path: Path, load: object) -> None:
    with pytest.raises(FileNotFoundError, match="no images") as error:
        load(tmp_path / "empty")  # type: ignore[operator]
    assert str(tmp_path / "empty") in str(error.value)


def test_photos_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("0003", "0001", "0002"):
        save_photo(tmp_path, name)
        save_mask(tmp_path, name, block(30, 20, 70, 60))
    assert [photo.name for photo in load_ecssd(tmp_path)] == ["ecssd/0001", "ecssd/0002", "ecssd/0003"]


# COCO128 -------------------------------------------------------------------------------------------------------------


def save_labels(root: Path, folder: str, name: str, *rows: str) -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"{name}.txt").write_text("".join(row + "\n" for row in rows))


def polygon(*points: tuple[float, float], size_wh: tuple[int, int] = (120, 90)) -> str:
    return "7 " + " ".join(f"{x / size_wh[0]:.6f} {y / size_wh[1]:.6f}" for x, y in points)


def test_coco_polygons_give_outlines_and_cutouts(tmp_path: Path) -> None:
    save_photo(tmp_path, "a")
    save_labels(tmp_path, "seg_labels", "a", polygon((30, 20), (80, 20), (80, 70), (30, 70)), "")
    save_labels(tmp_path, "det_labels", "a", "7 0.5 0.5 0.9 0.9")  # polygons come first
    (photo,) = load_coco128(tmp_path)
    assert photo.name == "coco128/a" and photo.may_rotate == (True,)
    np.testing.assert_allclose(hull(photo.outlines[0]), (29.5, 19.5, 79.5, 69.5), atol=1e-3)
    (cutout,) = photo.cutouts
    # Drawing may or may not take the pixels that the outline only touches.
    np.testing.assert_allclose(hull(cutout.outline), (1.5, 1.5, 51.5, 51.5), atol=1.01)
    assert abs(int((cutout.rgba[..., 3] > 0).sum()) - 2500) <= 101


def test_coco_boxes_serve_where_there_are_no_polygons(tmp_path: Path) -> None:
    save_photo(tmp_path, "a")
    save_labels(tmp_path, "det_labels", "a", f"7 0.5 0.5 {60 / 120} {30 / 90}", "1 0.1 0.1 0.05 0.05")
    (photo,) = load_coco128(tmp_path)
    assert photo.may_rotate == (False,) and photo.cutouts == ()
    np.testing.assert_allclose(hull(photo.outlines[0]), (29.5, 29.5, 89.5, 59.5), atol=1e-9)


def test_coco_tiny_objects_are_left_out(tmp_path: Path) -> None:
    save_photo(tmp_path, "a")
    tiny = polygon((30, 20), (49, 20), (49, 70), (30, 70))  # 19 pixels wide
    small = polygon((60, 20), (85, 20), (85, 60), (60, 60))  # an object, but too small to be cut out
    save_labels(tmp_path, "seg_labels", "a", tiny, small)
    (photo,) = load_coco128(tmp_path)
    assert len(photo.outlines) == len(photo.may_rotate) == 1 and photo.cutouts == ()
    assert photo.outlines[0][:, 0].min() > 59


def test_coco_photo_without_labels_is_a_background(tmp_path: Path) -> None:
    save_photo(tmp_path, "a")
    (photo,) = load_coco128(tmp_path)
    assert (photo.outlines, photo.cutouts) == ((), ())


def test_gray_photos_become_rgb(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((50, 60), 99, np.uint8)).save(tmp_path / "images" / "g.jpg")
    assert load_coco128(tmp_path)[0].image.shape == (50, 60, 3)


# Parts ---------------------------------------------------------------------------------------------------------------


def test_mask_outline_has_both_ends_of_every_row_and_column() -> None:
    mask = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]], bool)
    points = {tuple(p) for p in mask_outline(mask).tolist()}
    assert points == {(0.5, 0.5), (0.5, 1.5), (2.5, 0.5), (2.5, 1.5), (2.5, 2.5), (1.5, 1.5), (1.5, 2.5), (1.5, 0.5)}


def test_box_outline_is_in_pixel_indices() -> None:
    assert hull(box_outline(0, 0, 10, 5)) == (-0.5, -0.5, 9.5, 4.5)


def test_cut_out_of_nothing() -> None:
    assert cut_out(np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50), bool)) is None


def test_split_holds_out_every_tenth_photo() -> None:
    photos = [Photo(str(i), np.zeros((1, 1, 3), np.uint8), (), (), ()) for i in range(21)]
    training, held_out = split_photos(photos)
    assert [p.name for p in held_out] == ["0", "10", "20"]
    assert sorted(int(p.name) for p in training + held_out) == list(range(21))


def test_the_photos_of_the_recipe(shared_dir: Path) -> None:
    """The numbers that the model card states."""
    root = shared_dir / "train_images"
    photos = load_coco128(root / "coco128")
    assert len(photos) == len(list((root / "coco128" / "images").glob("*.jpg")))
    assert sum(len(p.cutouts) for p in photos) > 50
    for photo in photos:
        height, width = photo.image.shape[:2]
        for outline in photo.outlines:
            assert (outline >= -0.51).all() and (outline <= np.array([width, height]) - 0.49).all()
