"""The pictures: where the heat lies and what stays as it was."""

from __future__ import annotations

import numpy as np

from ebm_tracker.density import DensityMap, figure, normalized, overlay
from ebm_tracker.density.picture import ramp

BOX = (50.0, 60.0, 60.0, 80.0)


def bump(kind: str = "corner") -> DensityMap:
    """A narrow Gaussian at the corner (110, 60), grid of 30 x 40 pixels around it."""
    x, y = np.linspace(95, 125, 31), np.linspace(40, 80, 41)
    energy = -0.5 * (((x[None] - 110) / 3) ** 2 + ((y[:, None] - 60) / 4) ** 2)
    return normalized(energy, x, y, kind, BOX)


def test_the_ramp_grows_lighter_all_the_way() -> None:
    colors = ramp(np.linspace(0, 1, 256)).astype(float) / 255
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > -1e-4).all() and luminance[-1] > 0.9 and luminance[0] < 0.03


def test_heat_lies_at_the_corner_and_nowhere_else() -> None:
    frame = np.full((200, 240, 3), 128, np.uint8)
    before = frame.copy()
    shown = overlay(frame, bump())
    assert shown.shape == frame.shape and (frame == before).all()
    assert shown[60, 110].astype(int).tolist()[0] > 220  # the peak: light yellow
    assert shown[60, 110].astype(int).tolist()[2] < 200
    changed = np.argwhere((shown != frame).any(-1))
    left = changed[changed[:, 1] < 180]
    assert left[:, 1].min() > 95 and left[:, 1].max() < 126 and left[:, 0].min() > 40 and left[:, 0].max() < 81
    assert abs(left[:, 1].mean() - 110) < 1 and abs(left[:, 0].mean() - 60) < 1
    assert (changed[:, 1] > 220).any()  # the colour bar


def test_a_size_has_no_place_in_the_frame() -> None:
    frame = np.full((200, 240, 3), 128, np.uint8)
    assert (overlay(frame, bump("size")) == frame).all()


def test_the_corner_may_lie_outside_the_frame() -> None:
    frame = np.full((40, 60, 3), 128, np.uint8)
    assert overlay(frame, bump()).shape == frame.shape


def test_the_figure_holds_both_panels() -> None:
    frame = np.full((200, 240, 3), 128, np.uint8)
    sheet = np.asarray(figure(frame, bump(), bump("size"), "name", (52.0, 58.0, 60.0, 80.0)))
    assert 1000 < sheet.shape[1] < 1400 and 450 < sheet.shape[0] < 620
    yellow = (np.abs(sheet.astype(int) - ramp(np.array(1.0)).astype(int)).sum(-1) < 12).nonzero()[1]
    assert (yellow < sheet.shape[1] // 2).any() and (yellow > sheet.shape[1] // 2).any()
    plain = np.asarray(figure(frame, bump(), bump("size"), "name", (np.nan,) * 4))
    assert plain.shape == sheet.shape
