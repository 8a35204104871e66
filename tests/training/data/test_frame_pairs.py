from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from ebm_tracker.crops import sample_patch
from ebm_tracker.training.data.faults import Faults
from ebm_tracker.training.data.frame_pairs import CropSettings, FramePairs, crop, jittered, resample
from ebm_tracker.training.data.sampler import PairSampler, SamplerSettings
from ebm_tracker.training.data.sequence import AnnotatedVideo, DataSetError

PLAIN = CropSettings(brightness=0, gray=0)
STILL = replace(PLAIN, scale_jitter=0, center_jitter=0)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def padded_and_interpolated(frame: np.ndarray, left: int, top: int, side: int, size: int) -> np.ndarray:
    """The same by other means: pad, slice, torch."""
    margin = 2 * side + max(frame.shape) + max(abs(left), abs(top))
    padded = np.pad(frame, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    cut = padded[top + margin : top + margin + side, left + margin : left + margin + side]
    planes = torch.from_numpy(cut.astype(np.float64)).permute(2, 0, 1)[None]
    resized = functional.interpolate(planes, (size, size), mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("left", "top", "side"),
    [
        (10, 5, 20),  # inside, enlarged
        (0, 0, 37),
        (5, 3, 30),  # ends with the frame's last row: no padding
        (-15, -9, 90),  # over all four borders, reduced
        (48, 20, 33),
        (-200, 300, 60),  # wholly outside
        (3, 3, 1),
        (-300, -300, 700),
    ],
)
def test_resample_is_replicate_padding_and_plain_bilinear(left: int, top: int, side: int) -> None:
    frame = noise(33, 50)
    expected = padded_and_interpolated(frame, left, top, side, 48)
    np.testing.assert_allclose(resample(frame, left, top, side, 48), expected, atol=1e-3)


@pytest.mark.parametrize("upstream", [False, True])
@pytest.mark.parametrize("region", [(40.0, 30.0, 20.0, 12.0), (40.3, 29.8, 17.4, 13.9), (1.0, 60.0, 50.0, 9.0)])
def test_edges_of_a_box_lie_on_its_edges_in_the_crop(region: tuple[float, ...], upstream: bool) -> None:
    """On a frame whose pixels hold their own column and row, interpolation tells which frame position a crop
    pixel shows: pixel i covers [i, i + 1), so an edge at e has the value e - 1/2."""
    columns, rows = np.meshgrid(np.arange(120), np.arange(100))
    frame = np.stack((columns, rows, 0 * rows), axis=-1).astype(np.uint8)
    box = (44.0, 33.0, 9.0, 6.0)
    settings = replace(PLAIN, crop_size=96, upstream=upstream)
    pixels, (x, y, w, h) = crop(frame, box, region, settings)  # type: ignore[arg-type]
    side = math.ceil(5 * math.sqrt(region[2] * region[3]))
    assert (w, h) == pytest.approx((9 * 96 / side, 6 * 96 / side))
    shown = [np.interp(edge, np.arange(96), pixels[48, :, 0]) for edge in (x, x + w)]
    shown += [np.interp(edge, np.arange(96), pixels[:, 48, 1]) for edge in (y, y + h)]
    error = np.abs(np.array(shown) - (43.5, 52.5, 32.5, 38.5)).max()
    assert error < 1e-4 if not upstream else error <= 0.5 + 1e-4


def test_upstream_boxes_follow_the_published_formula() -> None:
    region, box = (40.3, 29.8, 17.4, 13.9), (44.25, 33.5, 9.0, 6.0)
    _, (x, y, w, h) = crop(noise(100, 120), box, region, replace(PLAIN, upstream=True))
    ratio = 288 / math.ceil(5 * math.sqrt(17.4 * 13.9))
    centers = [143.5 + (b - r) * ratio for b, r in ((44.25 + 4.5, 40.3 + 8.7), (33.5 + 3, 29.8 + 6.95))]
    assert (x + w / 2, y + h / 2) == pytest.approx(centers)
    assert (w, h) == pytest.approx((9 * ratio, 6 * ratio))


@pytest.mark.parametrize("center", [(60, 50), (4, 97)])
def test_agrees_with_the_crops_of_the_tracker(center: tuple[int, int]) -> None:
    frame = noise(100, 120)
    side = 85  # odd: both are centred on a whole pixel
    box = (center[0] + 0.5 - 8.5, center[1] + 0.5 - 8.5, 17.0, 17.0)
    pixels, mapped = crop(frame, box, box, replace(PLAIN, crop_size=64))
    patch, window = sample_patch(frame, center, side, 64)
    np.testing.assert_allclose(pixels, patch[0].permute(1, 2, 0).numpy(), atol=1e-3)
    assert mapped == pytest.approx(window.box_to_crop((float(center[0]), float(center[1])), (17.0, 17.0)))


def test_jitter_has_the_published_distribution() -> None:
    rng = np.random.default_rng(0)
    box = (100.0, 50.0, 40.0, 10.0)
    boxes = np.array([jittered(box, CropSettings(), rng) for _ in range(20_000)])
    logs = np.log(boxes[:, 2:] / (40, 10))
    assert np.abs(logs.mean(0)).max() < 5 * 0.5 / math.sqrt(len(boxes))
    assert logs.std(0) == pytest.approx((0.5, 0.5), rel=0.03)
    assert abs(np.corrcoef(logs.T)[0, 1]) < 0.04  # each side its own
    moved = (boxes[:, :2] + boxes[:, 2:] / 2 - (120, 55)) / np.sqrt(boxes[:, 2] * boxes[:, 3])[:, None]
    assert np.abs(moved).max() <= 2.25 and np.abs(moved).max() > 2.24
    assert moved.std(0) == pytest.approx((4.5 / math.sqrt(12),) * 2, rel=0.03)
    assert np.abs(np.corrcoef(np.c_[moved, logs].T) - np.eye(4)).max() < 0.04


@pytest.fixture
def video(array_frames: Any) -> AnnotatedVideo:
    images = [noise(80, 100, i) for i in range(20)]
    boxes = np.array([(20 + i, 30, 12, 8) for i in range(20)], np.float32)
    return AnnotatedVideo("v", array_frames(images), boxes, np.ones(20, bool))


@pytest.fixture
def make_pairs(video: AnnotatedVideo, make_set: Any) -> Any:
    def make(settings: CropSettings, is_video: bool = True) -> FramePairs:
        return FramePairs(PairSampler([make_set("s", [video], is_video)], [1]), settings)

    return make


def test_reference_is_centred_and_the_test_crop_is_not(make_pairs: Any) -> None:
    pairs = [make_pairs(PLAIN).make(np.random.default_rng(i)) for i in range(40)]
    side = math.ceil(5 * math.sqrt(96))
    for pair in pairs:
        assert pair.reference_image.shape == pair.test_image.shape == (3, 288, 288)
        assert pair.reference_image.dtype == pair.test_image.dtype == torch.uint8
        assert pair.reference_image.is_contiguous() and pair.reference_box.dtype == torch.float32
        center = pair.reference_box[:2] + pair.reference_box[2:] / 2
        assert (center - 143.5).abs().max() <= 0.5 * 288 / side + 1e-4
        assert pair.reference_box[2:].tolist() == pytest.approx([12 * 288 / side, 8 * 288 / side])
    offsets = torch.stack([p.test_box[:2] + p.test_box[2:] / 2 - 143.5 for p in pairs])
    assert offsets.abs().max() > 60 and offsets.std() > 30
    assert any(p.test_box[2] / p.test_box[3] == pytest.approx(1.5, rel=1e-3) for p in pairs)  # the box keeps its shape


def test_crops_are_those_of_the_drawn_frames(make_pairs: Any, video: AnnotatedVideo) -> None:
    pairs = make_pairs(STILL)
    drawn = pairs.sampler.draw(np.random.default_rng(3))
    assert drawn.reference_index != drawn.test_index
    pair = pairs.make(np.random.default_rng(3))
    for image, index in ((pair.reference_image, drawn.reference_index), (pair.test_image, drawn.test_index)):
        box = tuple(float(v) for v in video.boxes_xywh[index])
        pixels, _ = crop(video.frames.read(index), box, box, STILL)  # type: ignore[arg-type]
        assert torch.equal(image, torch.from_numpy(np.rint(pixels).astype(np.uint8)).permute(2, 0, 1))


def test_gray_is_joint_and_luma(make_pairs: Any) -> None:
    colour, gray = make_pairs(PLAIN), make_pairs(replace(PLAIN, gray=1.0))
    in_colour, in_gray = (p.make(np.random.default_rng(5)) for p in (colour, gray))
    luma = torch.tensor([0.299, 0.587, 0.114])
    for before, after in ((in_colour[0], in_gray[0]), (in_colour[2], in_gray[2])):
        assert torch.equal(after[0], after[1]) and torch.equal(after[0], after[2])
        expected = (before.float() * luma[:, None, None]).sum(0)
        assert (after[0].float() - expected).abs().max() <= 1.01  # rounded before and after
    assert torch.equal(in_colour.test_box, in_gray.test_box)
    share = replace(CropSettings(crop_size=8))
    made = [make_pairs(share).make(np.random.default_rng(i)) for i in range(1000)]
    both = [[torch.equal(image[0], image[1]) for image in (p.reference_image, p.test_image)] for p in made]
    assert all(first == second for first, second in both)
    assert 15 <= sum(first for first, _ in both) <= 85  # five deviations around 50


def test_brightness_is_a_factor_for_each_image_and_clamps(array_frames: Any, make_set: Any) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:] = (100, 150, 250)
    video = AnnotatedVideo("v", array_frames([image]), np.array([[10, 10, 8, 8]], np.float32), np.array([True]))
    pairs = FramePairs(PairSampler([make_set("s", [video], False)], [1]), CropSettings(gray=0, crop_size=16))
    factors = []
    for i in range(400):
        pair = pairs.make(np.random.default_rng(i))
        for crops in (pair.reference_image, pair.test_image):
            red, green, blue = crops.flatten(1).unique(dim=1)[:, 0].tolist()
            assert crops.flatten(1).unique(dim=1).shape == (3, 1)
            assert abs(green - 1.5 * red) <= 1.26 and abs(blue - min(2.5 * red, 255)) <= 1.76
            factors.append(red / 100)
    reference, test = np.array(factors[::2]), np.array(factors[1::2])
    assert 0.8 <= min(factors) < 0.81 and 1.19 < max(factors) <= 1.2
    assert abs(np.corrcoef(reference, test)[0, 1]) < 0.25  # each its own
    assert np.mean(factors) == pytest.approx(1, abs=0.02)


def test_one_frame_is_read_once(make_pairs: Any, video: AnnotatedVideo) -> None:
    pair = make_pairs(STILL, is_video=False).make(np.random.default_rng(0))
    assert len(video.frames.reads) == 1  # type: ignore[attr-defined]
    assert torch.equal(pair.reference_image, pair.test_image)


def test_the_same_seed_gives_the_same_pair(make_pairs: Any) -> None:
    first, second = (make_pairs(CropSettings()).make(np.random.default_rng((7, 3))) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("box", [(5, 5, 0.5, 20), (5, 5, 20, 0), (math.nan, 5, 9, 9), (5, 5, 1e9, 1e9)])
def test_boxes_that_no_crop_can_show_are_skipped(box: tuple[float, ...], video: AnnotatedVideo, make_set: Any) -> None:
    boxes = video.boxes_xywh.copy()
    boxes[::2] = box
    made = make_set("s", [replace(video, boxes_xywh=boxes)])
    faults = Faults()
    pairs = FramePairs(PairSampler([made], [1], SamplerSettings(max_gap=5)), replace(PLAIN, crop_size=32), faults)
    for i in range(50):
        assert torch.isfinite(pairs.make(np.random.default_rng(i)).test_box).all()
    assert faults.made == 50 and 75 <= faults.skipped <= 250  # three of four draws hit an even frame


def test_endless_failures_end(video: AnnotatedVideo, make_set: Any) -> None:
    made = make_set("s", [replace(video, boxes_xywh=np.zeros_like(video.boxes_xywh))])
    pairs = FramePairs(PairSampler([made], [1]))
    with pytest.raises(DataSetError, match=r"100 training pairs in a row.*v, frame \d+: sides of the box"):
        pairs.make(np.random.default_rng(0))
    assert pairs.faults.skipped == 100
