from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ebm_tracker.training.pairs import (
    Pair,
    PairDataset,
    PairMaker,
    PairSettings,
    _bend,
    _motion,
    _Pose,
    has_a_place,
    part_of,
    paste,
    place,
)
from ebm_tracker.training.photos import Photo
from ebm_tracker.training.warp import Window, apply, bounding_box_xywh, warp

PhotoMaker = Callable[..., Photo]
CLEAN = PairSettings(
    center_jitter=1.0,
    scale_jitter=0.1,
    gray=0.0,
    bend=0.0,
    occlusion=0.0,
    twin=0.0,
    max_distractors=0,
    motion_blur=0.0,
    low_resolution=0.0,
    noise=0.0,
    jpeg=0.0,
    frame_border=0.0,
)
"""No effect that hides where the object ends."""


@pytest.fixture(scope="module")
def maker(make_photo: PhotoMaker) -> PairMaker:
    return PairMaker([make_photo(i) for i in range(4)])


def drawn_extent(mask: torch.Tensor) -> tuple[float, float, float, float]:
    """Left, top, right, bottom edges of a mask (H, W), in pixel indices."""
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return float(columns[0]) - 0.5, float(rows[0]) - 0.5, float(columns[-1]) + 0.5, float(rows[-1]) + 0.5


def edges(box: tuple[float, ...] | torch.Tensor) -> tuple[float, ...]:
    x, y, w, h = (float(v) for v in box)
    return x, y, x + w, y + h


# Boxes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bent", [False, True])
def test_box_is_the_extent_of_the_rendered_object(make_photo: PhotoMaker, bent: bool) -> None:
    rng = np.random.default_rng(0)
    for seed in range(15):
        cutout = make_photo(seed, plain=True).cutouts[0]
        pose = _Pose(rng.uniform(-3, 3), rng.normal(0, 0.2), rng.normal(0, 0.15), rng.random() < 0.5)
        side = rng.uniform(30, 90)
        matrix = place(cutout.outline, pose, side, (140.0, 150.0))
        bend = _bend(rng, side) if bent else None
        picture = paste(torch.zeros(3, 288, 288), cutout, matrix, bend=bend)
        outline = apply(matrix, cutout.outline)
        box = bounding_box_xywh(bend.apply(outline) if bend else outline)
        np.testing.assert_allclose(drawn_extent(picture[0] > 127), edges(box), atol=1)


@pytest.mark.parametrize(
    ("share", "bend"), [(1.0, 0.0), (1.0, 1.0), (0.0, 0.0)], ids=["composite", "composite-bent", "natural"]
)
def test_boxes_of_whole_pairs(make_photo: PhotoMaker, share: float, bend: float) -> None:
    """White objects on black grounds: what is bright in the finished crops is the object."""
    black = Photo("made/black", np.zeros((150, 200, 3), np.uint8), (), (), ())
    owner = make_photo(0, plain=True)
    # Wide grounds, so that no mirrored object comes into a crop of a natural pair.
    wide = np.pad(owner.image, ((400, 400), (400, 400), (0, 0)))
    owner = replace(owner, image=wide, outlines=(owner.outlines[0] + 400,))
    maker = PairMaker([owner, black], replace(CLEAN, composite_share=share, bend=bend))
    for i in range(12):
        pair = maker.make(np.random.default_rng(i))
        for image, box in ((pair.reference_image, pair.reference_box), (pair.test_image, pair.test_box)):
            bright = image.float().mean(0)
            mask = bright > (bright.min() + bright.max()) / 2
            np.testing.assert_allclose(drawn_extent(mask), edges(box), atol=1, err_msg=f"pair {i}")


def test_place_sizes_and_centres_the_outline(make_photo: PhotoMaker) -> None:
    outline = make_photo(0).outlines[0]
    rng = np.random.default_rng(1)
    for _ in range(20):
        pose = _Pose(rng.uniform(-3, 3), rng.normal(0, 0.3), rng.normal(0, 0.2), rng.random() < 0.5)
        x, y, w, h = bounding_box_xywh(apply(place(outline, pose, 50.0, (100.0, 70.0)), outline))
        assert math.sqrt(w * h) == pytest.approx(50)
        assert (x + w / 2, y + h / 2) == pytest.approx((100, 70))


def test_reference_is_centred_at_a_fifth_of_the_crop(maker: PairMaker) -> None:
    """Area factor 5: sqrt(wh) is 288 / 5 = 57.6; the reference centre is the crop's centre."""
    boxes = torch.stack([maker.make(np.random.default_rng((7, i))).reference_box for i in range(40)]).double()
    centers, sides = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:].prod(1).sqrt()
    torch.testing.assert_close(centers, torch.full_like(centers, 143.5), rtol=0, atol=1e-3)
    assert float(sides.mean()) == pytest.approx(57.6, rel=0.05)
    assert float(sides.min()) > 57.6 * 0.8 and float(sides.max()) < 57.6 * 1.25


def test_test_view_jitters_as_atom_does(maker: PairMaker) -> None:
    """Centre uniform within 4.5 / 2 sides, log of the size normal with 0.5 (two draws of half that) per side."""
    rng = np.random.default_rng(0)
    views = [maker._test_view(rng) for _ in range(2000)]
    log_sides = np.log([side / 57.6 for side, _ in views])
    offsets = (np.array([center for _, center in views]) - 143.5) / 57.6
    assert np.abs(offsets).max() <= 2.25 and np.abs(offsets).max() > 2.2
    assert offsets.std() == pytest.approx(4.5 / math.sqrt(12), rel=0.05)
    assert log_sides.mean() == pytest.approx(0, abs=0.03)
    assert log_sides.std() == pytest.approx(0.5 / math.sqrt(2), rel=0.06)


# Pixels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_pairs_are_uint8_crops_with_finite_boxes(make_photo: PhotoMaker, share: float) -> None:
    always = {name: 1.0 for name in ("gray", "bend", "occlusion", "twin", "motion_blur", "low_resolution", "noise")}
    settings = PairSettings(composite_share=share, jpeg=1.0, frame_border=1.0, **always)  # type: ignore[arg-type]
    maker = PairMaker([make_photo(i) for i in range(3)], settings)
    for i in range(6):
        pair = maker.make(np.random.default_rng(i))
        for image in (pair.reference_image, pair.test_image):
            assert image.shape == (3, 288, 288) and image.dtype == torch.uint8 and image.is_contiguous()
            assert int(image.max()) > int(image.min())
        for box in (pair.reference_box, pair.test_box):
            assert box.shape == (4,) and box.dtype == torch.float32
            assert bool(box.isfinite().all()) and float(box[2:].min()) > 1


def test_crop_size_is_a_setting(make_photo: PhotoMaker) -> None:
    maker = PairMaker([make_photo(i) for i in range(3)], PairSettings(crop_size=96))
    pair = maker.make(np.random.default_rng(0))
    assert pair.test_image.shape == (3, 96, 96)
    assert float(pair.reference_box[2:].prod().sqrt()) == pytest.approx(96 / 5, rel=0.3)


def test_paste_leaves_the_canvas_beside_the_object(make_photo: PhotoMaker) -> None:
    cutout = make_photo(0, plain=True).cutouts[0]
    canvas = torch.full((3, 288, 288), 40.0)
    picture = paste(canvas, cutout, place(cutout.outline, _Pose(0.3, 0, 0, False), 50.0, (140.0, 140.0)), shade=0.5)
    assert (picture[:, :100] == 40).all() and (picture[:, :, :100] == 40).all()
    assert float(picture[0, 140, 140]) == pytest.approx(127.5)


@pytest.mark.parametrize("center", [(140.0, 150.0), (5.0, 280.0), (-90.0, 140.0)])
def test_the_window_that_is_pasted_holds_all_of_the_object(
    make_photo: PhotoMaker, center: tuple[float, float]
) -> None:
    """Bent and smeared, the object is the same as drawn on a plane with room around it."""
    cutout = make_photo(1).cutouts[0]
    rng = np.random.default_rng(0)
    bend, blur = _bend(rng, 60.0), _motion(rng)
    matrix = place(cutout.outline, _Pose(0.4, 0.1, 0.1, False), 60.0, center)
    picture = paste(torch.full((3, 288, 288), 9.0), cutout, matrix, blur=blur, bend=bend)
    layer = torch.from_numpy(cutout.rgba).permute(2, 0, 1).float()
    alpha = layer[3:] / 255
    layer = warp(torch.cat((layer[:3] * alpha, alpha)), matrix, Window(-100, -100, 488, 488), "zeros", bend)
    shifted = [layer.roll((dy, dx), (1, 2)) for dx, dy in blur]
    layer = torch.stack(shifted).mean(0)[:, 100:388, 100:388]
    torch.testing.assert_close(picture, 9 * (1 - layer[3:]) + layer[:3], rtol=0, atol=1e-3)


def test_motion_is_a_centred_line() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        offsets = np.array(_motion(rng))
        assert np.abs(offsets.mean(0)).max() < 0.5 and 1 <= np.abs(offsets).max() <= 7
        direction = np.linalg.svd(offsets.astype(float))[2][1]
        assert np.abs(offsets @ direction).max() < 1  # half a pixel of rounding either way


def test_parts_lie_on_the_object(make_photo: PhotoMaker) -> None:
    rng = np.random.default_rng(0)
    for seed in range(10):
        cutout = make_photo(seed).cutouts[0]
        part = part_of(cutout, rng)
        assert part is not None
        x, y, w, h = bounding_box_xywh(part)
        whole = bounding_box_xywh(cutout.outline)
        assert 0.35 <= w / whole[2] <= 0.8 and 0.35 <= h / whole[3] <= 0.8
        rows, columns = np.mgrid[: cutout.rgba.shape[0], : cutout.rgba.shape[1]]
        inside = (columns >= x) & (columns <= x + w) & (rows >= y) & (rows <= y + h)
        assert (cutout.rgba[inside][:, 3] > 0).mean() > 0.6


def test_a_bare_wall_and_an_edge_have_no_place() -> None:
    rng = np.random.default_rng(0)
    wall = rng.normal(120, 3, (40, 50, 3))
    edge = wall.copy()
    edge[:, 25:] += 100
    corner = edge.copy()
    corner[:20] = 120
    assert [has_a_place(pixels) for pixels in (wall, edge, corner)] == [False, False, True]


# Reproducibility -----------------------------------------------------------------------------------------------------


def _all(dataset: PairDataset, workers: int) -> list[Pair]:
    return [Pair(*batch) for batch in DataLoader(dataset, batch_size=None, num_workers=workers)]


def test_pair_i_is_the_same_for_any_number_of_workers(maker: PairMaker) -> None:
    dataset = PairDataset(maker, 6, seed=3)
    alone = _all(dataset, 0)
    assert len(dataset) == len(alone) == 6
    for one, other in zip(alone, _all(dataset, 2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    late = dataset[5]
    assert all(torch.equal(a, b) for a, b in zip(late, alone[5], strict=True))


def test_pairs_differ_by_number_and_by_seed(maker: PairMaker) -> None:
    first, second = PairDataset(maker, 2, seed=0), PairDataset(maker, 2, seed=1)
    assert not torch.equal(first[0].test_image, first[1].test_image)
    assert not torch.equal(first[0].test_image, second[0].test_image)


def test_too_little_material_is_refused(make_photo: PhotoMaker) -> None:
    with pytest.raises(ValueError, match=r"at least two photos, one cut-out and one outline .*got 1 photos"):
        PairMaker([make_photo(0)])
    bare = Photo("made/bare", np.zeros((50, 50, 3), np.uint8), (), (), ())
    with pytest.raises(ValueError, match="0 cut-outs, 0 outlines"):
        PairMaker([bare, bare])
