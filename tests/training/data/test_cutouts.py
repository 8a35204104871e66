"""The substitute set, from a made-up package: what is kept, what it looks like, and that it is the same each time."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ebm_tracker.training.data.cutouts import (
    CutoutSettings,
    build_cutouts,
    fetch_packages,
    paste_object,
    picture_statistics,
)
from ebm_tracker.training.data.packages import package_files
from ebm_tracker.training.data.sequence import DataSetError
from ebm_tracker.training.photos import load_ecssd


def photo(seed: int, size_wh: tuple[int, int] = (400, 300)) -> Image.Image:
    """Smooth colour fields with noise: statistics of a photo."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(20, 235, (9, 12, 3), dtype=np.uint8)).resize(
        size_wh, Image.Resampling.BICUBIC
    )
    noisy = np.asarray(coarse).astype(np.int16) + rng.integers(-6, 7, (size_wh[1], size_wh[0], 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def stamp(seed: int, side: int = 120, alpha: int = 255) -> Image.Image:
    image = photo(seed, (side, side)).convert("RGBA")
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse((5, 10, side - 6, side - 11), fill=alpha)
    image.putalpha(mask)
    return image


def drawing(side: int = 120) -> Image.Image:
    image = Image.new("RGBA", (side, side))
    ImageDraw.Draw(image).ellipse((5, 5, side - 6, side - 6), fill=(250, 200, 0, 255), outline=(0, 0, 0, 255), width=4)
    return image


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "packages" / "pictures"
    (folder / "stamps" / "cartoon").mkdir(parents=True)
    (folder / "photos").mkdir()
    for i in range(3):
        stamp(i).save(folder / "stamps" / f"s{i}.png")
        photo(10 + i).save(folder / "photos" / f"p{i}.jpg", quality=95)
    photo(13, (800, 600)).save(folder / "photos" / "q_larger.png")
    stamp(7).save(folder / "stamps" / "cartoon" / "s7.png")
    drawing().save(folder / "stamps" / "drawing.png")
    stamp(8, side=28).save(folder / "stamps" / "small.png")
    stamp(9, alpha=120).save(folder / "stamps" / "smoke.png")
    drawing(400).convert("RGB").save(folder / "photos" / "logo.png")
    photo(20, (200, 200)).save(folder / "photos" / "icon.png")
    (folder / "photos" / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    return folder.parent


def test_what_is_kept_and_why_the_rest_is_not(package: Path, tmp_path: Path) -> None:
    names: list[str] = []
    report = build_cutouts([package], tmp_path / "set", on_file=names.append)
    assert (report.objects, report.backgrounds) == (3, 4)
    assert report.left_out == {
        "drawings and puzzles by their folder": 1,
        "a drawing, or mostly one colour": 2,
        "too small": 2,
        "nothing but glass or smoke": 1,
        "not readable": 1,
    }
    assert len(names) == 14
    rows = [line.split("\t") for line in (tmp_path / "set" / "sources.tsv").read_text().splitlines()]
    assert rows[0] == ["file", "package", "path"]
    assert ["images/object_pictures_stamps_s0.jpg", "pictures", "pictures/stamps/s0.png"] in rows


def test_photos_reads_it_back(package: Path, tmp_path: Path) -> None:
    report = build_cutouts([package], tmp_path / "set")
    photos = load_ecssd(tmp_path / "set")
    objects = [p for p in photos if p.cutouts]
    assert len(photos) == report.objects + report.backgrounds and len(objects) == report.objects
    assert all(max(p.image.shape) <= 500 and not p.outlines for p in photos if not p.cutouts)
    for p in objects:
        rgba = p.cutouts[0].rgba
        height, width = rgba.shape[0] - 4, rgba.shape[1] - 4  # cut_out's margin of two pixels
        assert (width, height) == (110, 100)
        assert (rgba[..., 3] > 0).sum() == pytest.approx(math.pi / 4 * 110 * 100, rel=0.01)
    original = np.asarray(stamp(0))[60, 40:80, :3].astype(int)
    found = next(p for p in objects if p.name.endswith("s0")).cutouts[0].rgba[52, 37:77, :3].astype(int)
    assert np.abs(original - found).mean() < 4  # JPEG


def test_the_same_packages_give_the_same_files(package: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        build_cutouts([package], tmp_path / name)
    first, second = (sorted(p for p in (tmp_path / n).rglob("*") if p.is_file()) for n in ("one", "two"))
    assert [p.name for p in first] == [p.name for p in second] and len(first) > 10
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True))


def test_transparent_pictures_of_a_game_are_no_objects(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [file._replace(in_resource=True) for file in package_files(package)]
    monkeypatch.setattr("ebm_tracker.training.data.cutouts.package_files", lambda source: files)
    with pytest.raises(DataSetError, match="found 0 and 4"):
        build_cutouts([package], tmp_path / "set")


def test_a_picture_in_two_sizes_is_one(package: Path, tmp_path: Path) -> None:
    with Image.open(package / "pictures/photos/p1.jpg") as image:
        image.resize((1600, 1200)).save(package / "pictures/photos/r.png")
    report = build_cutouts([package], tmp_path / "set")
    assert report.backgrounds == 4 and report.left_out["seen before"] == 1
    assert "photos_r." not in (tmp_path / "set/sources.tsv").read_text()


def test_nothing_is_overwritten_and_nothing_half_written(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    out.mkdir()
    (out / "mine").write_text("x")
    with pytest.raises(DataSetError, match="is there already"):
        build_cutouts([package], out)
    assert [p.name for p in out.iterdir()] == ["mine"]

    def stops(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ebm_tracker.training.data.cutouts.cut_out", stops)
    with pytest.raises(KeyboardInterrupt):
        build_cutouts([package], tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["packages", "set"]


def test_a_set_needs_both_kinds(package: Path, tmp_path: Path) -> None:
    shutil.rmtree(package / "pictures/photos")
    with pytest.raises(DataSetError, match="found 3 and 0"):
        build_cutouts([package], tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_statistics_of_known_pictures() -> None:
    everywhere = np.ones((8, 8), dtype=np.bool_)
    plain = np.full((8, 8, 3), 77, dtype=np.uint8)
    one = picture_statistics(plain, everywhere)
    assert (one.flat, one.bits, one.dominant) == (1, 0, 1)
    stripes = plain.copy()
    stripes[:, ::2] = 200
    two = picture_statistics(stripes, everywhere)
    assert (two.flat, two.bits, two.dominant) == (0, 1, 0.5)
    half = everywhere.copy()
    half[:, 1::2] = False  # one colour only, and no two neighbours
    masked = picture_statistics(stripes, half)
    assert (masked.flat, masked.bits, masked.dominant) == (1, 0, 1)
    steps = np.repeat(np.arange(8, dtype=np.uint8)[None, :, None], 8, axis=0).repeat(3, axis=2)
    assert picture_statistics(steps, everywhere).flat == 1  # neighbours differ by 1
    assert picture_statistics(steps * 2, everywhere).flat == 0


def test_pasting_keeps_the_objects_own_colours() -> None:
    red = Image.new("RGBA", (60, 40), (255, 0, 0, 255))
    alpha = np.full((40, 60), 255, dtype=np.uint8)
    alpha[:, :10] = 100  # outside the mask: mixed
    alpha[:, 10:20] = 200  # inside: not mixed
    red.putalpha(Image.fromarray(alpha))
    ground = Image.new("RGB", (200, 100), (0, 0, 250))
    image, mask = paste_object(red, ground, np.random.default_rng(0), CutoutSettings())
    assert mask.sum() == 50 * 40 and (image[mask] == (255, 0, 0)).all()
    mixed = image[(image[..., 0] > 0) & ~mask]
    assert len(mixed) == 10 * 40 and (mixed == (100, 0, 151)).all()
    assert (image[(image[..., 0] == 0)] == (0, 0, 250)).all()


@pytest.mark.parametrize("seed", range(20))
def test_an_object_fits_its_ground_and_stays_clear_of_the_border(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = tuple(int(s) for s in rng.integers(32, 500, 2))
    ground = Image.new("RGB", (240, 333))
    image, mask = paste_object(Image.new("RGBA", size, (9, 9, 9, 255)), ground, rng, CutoutSettings())
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert image.shape == (333, 240, 3)
    assert rows[0] >= 2 and rows[-1] <= 330 and columns[0] >= 2 and columns[-1] <= 237
    assert len(columns) <= 0.8 * 240 + 1 and len(rows) <= 0.8 * 333 + 1
    assert len(columns) / len(rows) == pytest.approx(size[0] / size[1], rel=0.05)


def test_fetching_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataSetError, match="--from"):
        fetch_packages(tmp_path)


def test_fetching_names_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$3" = good ] || exit 100\n: > "$3_1_all.deb"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")
    assert fetch_packages(tmp_path, ["bad", "good"]) == ["bad"]
    assert (tmp_path / "good_1_all.deb").is_file()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataSetError, match="none of bad"):
        fetch_packages(tmp_path / "empty", ["bad"])
