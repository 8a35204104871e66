from __future__ import annotations

import dataclasses

import pytest

from ebm_tracker.tracking.state import Status, TargetState, TrackOutput


def test_box_of_a_state_covers_whole_pixels() -> None:
    """A box of pixels 10 .. 13 has its centre at pixel index 11.5."""
    assert TargetState((11.5, 7.0), (4.0, 3.0), 1.0).box_xywh == (10.0, 6.0, 4.0, 3.0)


def test_resized_scales_the_box() -> None:
    state = TargetState((59.5, 29.5), (40.0, 20.0), 0.5)
    big = state.resized((2.0, 3.0))
    # Corner and size scale as edges do, which is not what pixel indices do.
    assert state.box_xywh == (40.0, 20.0, 40.0, 20.0)
    assert big.box_xywh == pytest.approx((80.0, 60.0, 80.0, 60.0))
    assert big.scale == pytest.approx(0.5 * 6**0.5)


def test_resized_there_and_back_is_the_identity() -> None:
    state = TargetState((33.3, 71.9), (12.5, 41.0), 0.7)
    back = state.resized((1.5, 0.4)).resized((1 / 1.5, 1 / 0.4))
    assert back.box_xywh == pytest.approx(state.box_xywh)
    assert back.scale == pytest.approx(state.scale)


@pytest.mark.parametrize(
    ("value", "field"),
    [(TargetState((0.0, 0.0), (1.0, 1.0), 1.0), "scale"), (TrackOutput((0, 0, 1, 1), 1.0, Status.LOST), "score")],
)
def test_states_and_outputs_are_frozen(value: object, field: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, 0.0)
