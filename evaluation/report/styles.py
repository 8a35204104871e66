"""How each tracker is drawn: one colour and one kind of line, the same in every plot and in the player."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Told apart by people who see no red and green, on white paper, on a dark page and over a picture. The first is for
# one's own tracker.
_COLORS = ("#d7301f", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#7a4fbf", "#8c6d31", "#767676")
# Lengths of line and gap in line widths. As many as share no factor with the colours, so that pairs repeat late; in
# gray print neighbours differ by these.
_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2), (2, 1.4), (6, 1.6, 1.4, 1.6), (9, 1.6, 1.4, 1.6, 1.4, 1.6))
_MARKERS = "osD^vPX*"


@dataclass(frozen=True)
class Style:
    """Attributes: ``color`` as ``#rrggbb``; ``dash``: lengths of line and gap in line widths, empty for a whole line;
    ``marker``: matplotlib's sign."""

    color: str
    dash: tuple[float, ...]
    marker: str


def styles_of(names: Sequence[str]) -> dict[str, Style]:
    """A style for each tracker, by its place."""
    return {
        name: Style(_COLORS[i % len(_COLORS)], _DASHES[i % len(_DASHES)], _MARKERS[i % len(_MARKERS)])
        for i, name in enumerate(names)
    }
