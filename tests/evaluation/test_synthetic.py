"""The made-up video: repeatable, and its boxes are where the object is."""

from __future__ import annotations

import numpy as np
import pytest

from ebm_tracker.evaluation.synthetic import MovingTexture


def test_repeatable_and_streamed() -> None:
    video, again = MovingTexture((96, 64), 5, seed=3), MovingTexture((96, 64), 5, seed=3)
    frames = list(video)
    assert len(frames) == len(video) == 5
    assert all(frame.shape == (64, 96, 3) and frame.dtype == np.uint8 for frame in frames)
    for frame, other in zip(frames, again, strict=True):
        np.testing.assert_array_equal(frame, other)
    assert not np.array_equal(frames[0], MovingTexture((96, 64), 5, seed=4).frame(0))


@pytest.mark.parametrize("size_wh", [(640, 480), (32, 32), (50, 200)])
def test_boxes_are_inside_and_move(size_wh: tuple[int, int]) -> None:
    video = MovingTexture(size_wh, 300)
    truth = video.sequence().truth_xywh
    assert truth is not None
    assert (truth[:, :2] >= 0).all() and (truth[:, :2] + truth[:, 2:] <= np.array(size_wh)).all()
    steps = np.abs(np.diff(truth[:, :2], axis=0))
    assert 0 < steps.max() <= 0.02 * max(size_wh) + 1


def test_object_differs_from_the_background() -> None:
    video = MovingTexture((320, 240), 100)
    x, y, w, h = (int(value) for value in video.box_xywh(40))
    frame = video.frame(40).astype(float)
    inside = frame[y + h // 4 : y + 3 * h // 4, x + w // 4 : x + 3 * w // 4]
    assert inside.std() > 1.5 * frame[:40, :60].std()


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        MovingTexture((16, 480), 5)
    with pytest.raises(ValueError, match="1 frame"):
        MovingTexture((64, 64), 0)
