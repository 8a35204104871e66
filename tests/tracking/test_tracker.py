"""Behaviour of the tracker that no single part answers for."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ebm_tracker.boxes import BoxXYWH
from ebm_tracker.models import EnergyNetwork
from ebm_tracker.parameters import preset
from ebm_tracker.tracking import Status, Tracker, TrackOutput
from ebm_tracker.tracking.localize import LocalizationSettings

Frames = Callable[..., np.ndarray]
Trackers = Callable[..., Tracker]
Overlap = Callable[[BoxXYWH, BoxXYWH], float]
BOX = (100.0, 80.0, 40.0, 40.0)


def follow(tracker: Tracker, frames: Sequence[Any], box: Any) -> list[TrackOutput]:
    tracker.initialize(frames[0], box)
    return [tracker.track(f) for f in frames[1:]]


def touches(box: BoxXYWH, width: int, height: int) -> bool:
    x, y, w, h = box
    return x < width and y < height and x + w > 0 and y + h > 0


def resident_mib() -> float:
    """Resident memory of this process now; skips where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        pytest.skip("no /proc/self/statm on this system")


# Order of calls ------------------------------------------------------------------------------------------------


def test_track_before_initialize(frame: Frames, make_tracker: Trackers) -> None:
    with pytest.raises(RuntimeError, match="initialize"):
        make_tracker().track(frame(100, 80))


@pytest.mark.parametrize(
    ("image", "box"),
    [
        (None, (100, 80, 0, 40)),
        (None, (500, 80, 40, 40)),
        (None, (100, 80, 40)),
        (None, (100, math.nan, 40, 40)),
        (None, "100,80,40,40"),
        (np.zeros((240, 320, 2), np.uint8), BOX),
        (np.full((240, 320, 3), 7.0), BOX),
    ],
    ids=["zero-size", "outside", "three", "nan", "text", "two-channels", "float-range"],
)
def test_a_refused_start_leaves_the_running_target_alone(
    frame: Frames, make_tracker: Trackers, image: np.ndarray | None, box: Any
) -> None:
    frames = [frame(100 + 3 * i, 80) for i in range(4)]
    expected = follow(make_tracker(), frames, BOX)
    tracker = make_tracker()
    tracker.initialize(frames[0], BOX)
    outputs = [tracker.track(frames[1])]
    with pytest.raises(ValueError):
        tracker.initialize(frame(10, 10) if image is None else image, box)
    outputs += [tracker.track(f) for f in frames[2:]]
    assert outputs == expected


def test_a_frame_of_a_wrong_type_is_refused_and_changes_nothing(frame: Frames, make_tracker: Trackers) -> None:
    frames = [frame(100 + 3 * i, 80) for i in range(3)]
    expected = follow(make_tracker(), frames, BOX)
    tracker = make_tracker()
    tracker.initialize(frames[0], BOX)
    with pytest.raises(ValueError, match="uint8, uint16 or float"):
        tracker.track(frames[1].astype(np.int32))
    assert [tracker.track(f) for f in frames[1:]] == expected


def test_unreadable_frames_change_nothing(frame: Frames, make_tracker: Trackers) -> None:
    frames = [frame(100 + 3 * i, 80) for i in range(12)]
    holes = [frames[0], None, frames[1], None, np.zeros((0, 5, 3), np.uint8), *frames[2:]]
    outputs = follow(make_tracker(), holes, BOX)
    assert [o for o in outputs if o.score > 0] == follow(make_tracker(), frames, BOX)


# Independence --------------------------------------------------------------------------------------------------


def test_trackers_that_share_a_network_do_not_disturb_each_other(
    frame: Frames, make_tracker: Trackers, network: EnergyNetwork
) -> None:
    first = [frame(100 + 3 * i, 80) for i in range(12)]
    second = [frame(200 - 4 * i, 100 + i) for i in range(12)]
    alone = follow(make_tracker(1), first, BOX), follow(make_tracker(2), second, (200, 100, 40, 40))
    a, b = make_tracker(1), make_tracker(2)
    assert a._network is b._network
    a.initialize(first[0], BOX)
    b.initialize(second[0], (200, 100, 40, 40))
    together = [(a.track(f), b.track(g)) for f, g in zip(first[1:], second[1:], strict=True)]
    assert ([o for o, _ in together], [o for _, o in together]) == alone


def test_the_network_and_the_global_generator_are_not_touched(
    frame: Frames, make_tracker: Trackers, network: EnergyNetwork
) -> None:
    tracker = make_tracker()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    random, numpy_random = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    follow(tracker, [frame(100, 80)] * 3, BOX)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert torch.equal(random, torch.random.get_rng_state())
    np.testing.assert_array_equal(numpy_random, np.random.get_state()[1])


@pytest.mark.filterwarnings("error")
def test_frames_are_never_written_to(frame: Frames, make_tracker: Trackers) -> None:
    images = [frame(100 + 3 * i, 80) for i in range(3)]
    copies = [image.copy() for image in images]
    for image in images:
        image.flags.writeable = False
    assert follow(make_tracker(), images, BOX) == follow(make_tracker(), copies, BOX)
    assert all((image == copy).all() for image, copy in zip(images, copies, strict=True))


# Frames that change ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 3])
def test_a_larger_frame_rescales_the_box(frame: Frames, make_tracker: Trackers, iou: Overlap, factor: int) -> None:
    large = frame(104, 82).repeat(factor, axis=0).repeat(factor, axis=1)
    output = follow(make_tracker(), [frame(100, 80), frame(102, 81), large], BOX)[-1]
    assert output.status is Status.TRACKED
    assert iou(output.box_xywh, (104 * factor, 82 * factor, 40 * factor, 40 * factor)) > 0.5


def test_a_smaller_frame_rescales_the_box(frame: Frames, make_tracker: Trackers, iou: Overlap) -> None:
    output = follow(make_tracker(), [frame(100, 80), frame(100, 80)[::2, ::2]], BOX)[-1]
    assert output.status is Status.TRACKED
    assert iou(output.box_xywh, (50, 40, 20, 20)) > 0.4


def test_a_frame_turned_on_its_side_keeps_a_sound_box(frame: Frames, make_tracker: Trackers) -> None:
    turned = np.ascontiguousarray(frame(100, 80).transpose(1, 0, 2))
    for output in follow(make_tracker(), [frame(100, 80)] * 2 + [turned] * 3, BOX):
        assert all(math.isfinite(v) for v in output.box_xywh) and min(output.box_xywh[2:]) > 0
        assert touches(output.box_xywh, 320, 240)


# Soundness under nonsense ------------------------------------------------------------------------------------------


def _nonsense(kind: str, count: int, frame: Frames) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    noise = [rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for _ in range(count)]
    if kind == "noise":
        return noise
    if kind == "flicker":
        black, white = np.zeros((120, 160, 3), np.uint8), np.full((120, 160, 3), 255, np.uint8)
        return [(noise[i], black, white, frame(60, 40, 40, 160, 120))[i % 4] for i in range(count)]
    jumps = rng.integers(-30, 150, (count, 2))
    return [frame(int(x), int(y), 40, 160, 120) for x, y in jumps]


@pytest.mark.parametrize("kind", ["noise", "flicker", "jumps"])
@pytest.mark.parametrize(
    "box",
    [(60, 40, 40, 40), (-25, -20, 30, 30), (150, 110, 40, 30), (2, 2, 1.5, 1.0), (0, 0, 160, 120)],
    ids=["middle", "corner", "far-corner", "tiny", "whole"],
)
def test_boxes_stay_sound(
    frame: Frames, make_tracker: Trackers, kind: str, box: tuple[float, float, float, float]
) -> None:
    """Whatever comes: a finite box with a positive size that touches the frame and changes by a bounded factor. The
    threshold is lowered so that nonsense is followed instead of called lost."""
    tracker = make_tracker(localization=LocalizationSettings(target_not_found=-1.0))
    previous: BoxXYWH = box
    bound = tracker.config.max_size_change * (1 + 1e-6)
    for output in follow(tracker, [frame(60, 40, 40, 160, 120), *_nonsense(kind, 12, frame)], box):
        assert all(math.isfinite(v) for v in output.box_xywh), output
        assert min(output.box_xywh[2:]) > 0, output
        assert touches(output.box_xywh, 160, 120), output
        assert 0 <= output.score <= 1
        for new, old in zip(output.box_xywh[2:], previous[2:], strict=True):
            assert 1 / bound <= new / old <= bound, (previous, output)
        previous = output.box_xywh


def test_sixty_frames_of_noise_are_lost(frame: Frames, make_tracker: Trackers) -> None:
    """A lost target is LOST, with the box that was known last."""
    outputs = follow(make_tracker(), [frame(60, 40, 40, 160, 120), *_nonsense("noise", 60, frame)], (60, 40, 40, 40))
    lost = [o for o in outputs if o.status is Status.LOST]
    assert len(lost) >= 55
    assert all(touches(o.box_xywh, 160, 120) for o in outputs)


def test_box_wider_than_the_frame_shrinks_by_a_bounded_factor(frame: Frames, make_tracker: Trackers) -> None:
    """A first box that hangs far over the frame must not jump to the frame's size at once."""
    box = (-300.0, 20.0, 600.0, 80.0)
    tracker = make_tracker(localization=LocalizationSettings(target_not_found=-1.0))
    (output,) = follow(tracker, [frame(60, 40, 40, 160, 120)] * 2, box)
    assert output.box_xywh[2] >= box[2] / tracker.config.max_size_change * (1 - 1e-6)


def test_a_share_of_the_target_stays_in_the_frame(make_tracker: Trackers) -> None:
    """The rule that keeps a share of the target inside holds for boxes of two pixels, too."""
    tracker = make_tracker()
    for size in (2.0, 3.0, 40.0):
        for corner in ((-500.0, -500.0), (500.0, 500.0), (-500.0, 500.0)):
            x, y = tracker._kept_inside(corner, (size, size), (160, 120))
            left, top = x - (size - 1) / 2, y - (size - 1) / 2
            inside = min(left + size, 160) - max(left, 0), min(top + size, 120) - max(top, 0)
            assert inside == pytest.approx((0.2 * size, 0.2 * size)), (size, corner)
    assert tracker._kept_inside((80.0, 60.0), (40.0, 40.0), (160, 120)) == (80.0, 60.0)


# Memory ------------------------------------------------------------------------------------------------------------


def test_sample_memory_keeps_its_size(frame: Frames, make_tracker: Trackers) -> None:
    tracker = make_tracker()
    tracker.initialize(frame(100, 80), BOX)
    assert tracker._target is not None
    memory = tracker._target.memory
    address, shape = memory._samples.data_ptr(), memory._samples.shape
    for i in range(15):
        tracker.track(frame(100 + i, 80))
    assert (memory._samples.data_ptr(), memory._samples.shape) == (address, shape)
    assert shape[0] == tracker.config.memory.capacity and len(memory) <= shape[0]


def test_memory_does_not_grow_in_300_frames(frame: Frames, make_tracker: Trackers) -> None:
    """More frames than the memory has slots; a small crop keeps the test short."""
    tracker = make_tracker(crop_size=96)
    tracker.initialize(frame(100, 80), BOX)
    positions = [100 + round(40 * math.sin(i / 15)) for i in range(300)]
    for x in positions[:100]:
        tracker.track(frame(x, 80))
    before = resident_mib()
    for x in positions[100:]:
        tracker.track(frame(x, 80))
    assert resident_mib() - before < 20


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("EBM_LONG") != "1", reason="5,000 frames take minutes; set EBM_LONG=1 to run it")
def test_memory_does_not_grow_in_5000_frames(frame: Frames, make_tracker: Trackers) -> None:
    tracker = make_tracker()
    frames = [frame(100 + round(40 * math.sin(2 * math.pi * i / 94)), 80) for i in range(94)]
    tracker.initialize(frames[0], BOX)
    before = 0.0
    for i in range(5000):
        tracker.track(frames[i % 94])
        if i == 500:
            before = resident_mib()
    assert resident_mib() - before < 20


# Options -----------------------------------------------------------------------------------------------------------


def test_upstream_compat_drifts_on_a_still_target_and_the_default_does_not(
    frame: Frames, make_tracker: Trackers, iou: Overlap
) -> None:
    """Upstream puts a box into the crop half a pixel off and takes it out without, frame after frame. Without
    refinement nothing else moves the box of a still target."""
    still = replace(preset("default").refinement, boxes=1, best=1, steps=0)
    frames = [frame(100, 80)] * 31
    drifts = []
    for upstream in (False, True):
        tracker = make_tracker(refinement=still, upstream_compat=upstream)
        outputs = follow(tracker, frames, BOX)
        assert all(o.status is Status.TRACKED for o in outputs)
        x, y = outputs[-1].box_xywh[:2]
        drifts.append(math.hypot(x - 100, y - 80))
        assert iou(outputs[-1].box_xywh, BOX) > 0.5
    right, upstream_drift = drifts
    # One crop pixel is 0.69 frame pixels here: the classifier, which sees whole crop pixels, ends the drift after it.
    assert right < 0.01 < 0.25 < upstream_drift < 1.5, drifts


@pytest.mark.parametrize("upstream", [False, True])
def test_both_geometries_track(frame: Frames, make_tracker: Trackers, iou: Overlap, upstream: bool) -> None:
    frames = [frame(100 + 3 * i, 80 + i) for i in range(12)]
    output = follow(make_tracker(upstream_compat=upstream), frames, BOX)[-1]
    assert output.status is Status.TRACKED
    assert iou(output.box_xywh, (133, 91, 40, 40)) > 0.6


def test_details_only_when_asked_for(frame: Frames, network: EnergyNetwork, make_tracker: Trackers) -> None:
    """What the last frame's steps saw: the peak is the score, the best boxes' mean the box; nothing is changed."""
    frames = [frame(100 + 3 * i, 80) for i in range(4)]
    plain = make_tracker()
    told = Tracker(network, preset("default"), keep_details=True)
    outputs = follow(plain, frames, BOX)
    assert told.details is None and follow(told, frames, BOX) == outputs
    assert plain.details is None
    details = told.details
    assert details is not None and details.climb is not None
    assert details.patch.shape == (1, 3, 288, 288) and 0 <= details.patch.min() <= details.patch.max() <= 255
    assert float(details.scores.max()) == details.location.peak
    assert outputs[-1].score == min(details.location.peak, 1)
    climb = details.climb
    assert climb.start_xywh.shape == climb.final_xywh.shape == (10, 4) and climb.energies.shape == (10,)
    # The crop's scale on this frame: the new box over the mean of the best refined ones.
    best = climb.final_xywh[climb.energies.topk(3).indices].mean(0)
    ratio = torch.tensor(outputs[-1].box_xywh[2:]) / best[2:]
    assert float(ratio[0]) == pytest.approx(float(ratio[1]), rel=1e-3)
    told.track(np.zeros((240, 320, 3), np.uint8))
    assert told.details is not None and told.details.climb is None  # black: nothing to climb from
    told.initialize(frames[0], BOX)
    assert told.details is None


def test_stage_times_only_with_profile(frame: Frames, make_tracker: Trackers) -> None:
    frames = [frame(100, 80)] * 3
    plain, profiled = make_tracker(), make_tracker(profile=True)
    assert follow(plain, frames, BOX) == follow(profiled, frames, BOX)
    assert plain.stage_times == {}
    times = profiled.stage_times
    stages = {"crop", "backbone", "localize", "energy features", "refine", "learn"}
    assert {name: len(values) for name, values in times.items()} == {"initialize": 1, **dict.fromkeys(stages, 2)}
    assert all(s >= 0 for values in times.values() for s in values)


# Outcomes of localisation ------------------------------------------------------------------------------------------


def test_twin_makes_the_target_uncertain(frame: Frames, make_tracker: Trackers, iou: Overlap) -> None:
    """An equal twin appears well within the search region (half a side is 100 pixels): nobody can tell which of the
    two it was, so the frame is not learned."""
    tracker = make_tracker()
    tracker.initialize(frame(100, 80), BOX)
    assert tracker._target is not None
    count = len(tracker._target.memory)
    output = tracker.track(frame(100, 80, more=((166, 80),)))
    assert output.status is Status.UNCERTAIN and output.score > 0.25
    assert max(iou(output.box_xywh, twin) for twin in (BOX, (166.0, 80.0, 40.0, 40.0))) > 0.5
    assert len(tracker._target.memory) == count
    assert tracker.track(frame(100, 80)).status is Status.TRACKED
    assert len(tracker._target.memory) == count + 1


def test_far_twin_is_learned_at_once(frame: Frames, make_tracker: Trackers, iou: Overlap) -> None:
    """A twin too far away for the target to have moved there is a hard negative: the target is tracked, the frame
    stored with twice the weight, and the filter updated outside its rhythm."""
    tracker = make_tracker()
    tracker.initialize(frame(100, 80), BOX)
    assert tracker._target is not None
    kernel = tracker._target.classifier.kernel.clone()
    output = tracker.track(frame(100, 80, more=((190, 80),)))
    assert output.status is Status.TRACKED
    assert iou(output.box_xywh, BOX) > 0.5
    assert not torch.equal(tracker._target.classifier.kernel, kernel)
    rate = tracker.config.memory.hard_negative_learning_rate
    assert float(tracker._target.memory.weights[-1]) == pytest.approx(rate / (1 + rate), rel=0.05)


def test_ordinary_frames_are_learned_in_a_rhythm(frame: Frames, make_tracker: Trackers) -> None:
    tracker = make_tracker()
    tracker.initialize(frame(100, 80), BOX)
    assert tracker._target is not None
    kernels = [tracker._target.classifier.kernel.clone()]
    for i in range(12):
        assert tracker.track(frame(100 + i, 80)).status is Status.TRACKED
        kernels.append(tracker._target.classifier.kernel.clone())
    changed = [n for n in range(1, 13) if not torch.equal(kernels[n], kernels[n - 1])]
    assert changed == [tracker.config.classifier.update_every]


def test_lost_frames_are_not_learned(frame: Frames, make_tracker: Trackers) -> None:
    tracker = make_tracker()
    tracker.initialize(frame(100, 80), BOX)
    assert tracker._target is not None
    count = len(tracker._target.memory)
    assert tracker.track(frame(-500, 80)).status is Status.LOST
    assert len(tracker._target.memory) == count


def test_no_sound_box_keeps_the_size_where_the_classifier_points(
    frame: Frames, make_tracker: Trackers, iou: Overlap
) -> None:
    """With an aspect limit that no box meets, refinement has no answer."""
    settings = replace(preset("default").refinement, max_aspect=1 + 1e-9)
    tracker = make_tracker(refinement=settings)
    (output,) = follow(tracker, [frame(100, 80), frame(130, 80)], (100, 80, 40, 39))
    assert output.box_xywh[2:] == (40, 39)
    assert iou(output.box_xywh, (130, 80, 40, 40)) > 0.8
    # pytracking forgets what the classifier found.
    tracker = make_tracker(refinement=settings, upstream_compat=True)
    (output,) = follow(tracker, [frame(100, 80), frame(130, 80)], (100, 80, 40, 39))
    assert output.box_xywh == pytest.approx((100, 80, 40, 39))
