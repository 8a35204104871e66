"""The augmented samples of the first frame (ATOM, "Online tracking approach").

All transforms act on a patch of twice the wanted side around the target and are cut back to the wanted side,
so that rotated and shifted samples show real surroundings. A positive shift moves the content right and down.
The dropout copies act on features, see `dropout_copies`.

Only what survives the cut is computed: rotations sample the cut's pixels alone, blurs get the cut and their
margin.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import torch
from torch import Tensor


class AugmentationKind(enum.Enum):
    """Which transform made a sample."""

    IDENTITY = "identity"
    TRANSLATION = "translation"
    FLIP = "flip"
    BLUR = "blur"
    ROTATION = "rotation"


@dataclass(frozen=True)
class AugmentationSettings:
    """The transforms of the first frame; the defaults are ATOM's 23 patches and 7 dropout copies.

    Args:
        translation: length of the four diagonal translations per axis, as a share of half the side.
        flip: add the mirror image.
        blur_sigmas_xy: standard deviations of the blurs in pixels, horizontal and vertical, positive.
        rotations_degrees: angles, positive turning the content counter-clockwise as seen.
        random_shift: range of the random shifts of flip, blurs and rotations, as a share of the side.
        dropout_count: number of dropout copies of the identity's features.
        dropout_probability: share of the channels each of them loses, in [0, 1).
    """

    translation: float = 0.6
    flip: bool = True
    blur_sigmas_xy: tuple[tuple[float, float], ...] = (
        (0.2, 2.0),
        (2.0, 0.2),
        (1.0, 3.0),
        (3.0, 1.0),
        (2.0, 2.0),
    )
    rotations_degrees: tuple[float, ...] = (5, -5, 10, -10, 20, -20, 30, -30, 45, -45, -60, 60)
    random_shift: float = 1.0 / 3.0
    dropout_count: int = 7
    dropout_probability: float = 0.2

    @property
    def kinds(self) -> tuple[AugmentationKind, ...]:
        """Kind of every patch, in the order of the patches."""
        return (
            AugmentationKind.IDENTITY,
            *[AugmentationKind.TRANSLATION] * 4,
            *[AugmentationKind.FLIP] * int(self.flip),
            *[AugmentationKind.BLUR] * len(self.blur_sigmas_xy),
            *[AugmentationKind.ROTATION] * len(self.rotations_degrees),
        )


def sample_shifts(settings: AugmentationSettings, size: int, generator: torch.Generator) -> Tensor:
    """Shift of every patch in pixels.

    Args:
        settings: transforms.
        size: side S of the cut patches.
        generator: source of the random shifts.

    Returns:
        Whole numbers (n, 2), x and y, int64 on the CPU: 0 for the identity, fixed for the translations,
        random up to ``random_shift * S / 2`` per axis for the others.
    """
    length = int(settings.translation * size / 2)
    fixed = [(0, 0), (length, length), (length, -length), (-length, length), (-length, -length)]
    count = len(settings.kinds) - len(fixed)
    uniform = torch.rand(
        count, 2, generator=generator, device=generator.device, dtype=torch.float32
    ).cpu()  # y before x, as upstream draws
    random = ((uniform - 0.5) * size * settings.random_shift).long().flip(1)
    return torch.cat([torch.tensor(fixed), random])


def augment_patch(patch: Tensor, size: int, settings: AugmentationSettings, shifts_xy: Tensor) -> Tensor:
    """Apply all transforms with given shifts.

    Args:
        patch: image (channels, H, W) around the target, usually with H = W = 2 * `size`; uint8 or floating.
        size: side S of the cut patches.
        settings: transforms.
        shifts_xy: shift of every patch (n, 2), see `sample_shifts`.

    Returns:
        Patches (n, channels, S, S) in the order of ``settings.kinds``, float32 for a uint8 patch, otherwise
        in the patch's dtype.

    Raises:
        ValueError: if the number of shifts is not that of the transforms.
    """
    kinds = settings.kinds
    if tuple(shifts_xy.shape) != (len(kinds), 2):
        raise ValueError(f"shifts_xy must have shape {(len(kinds), 2)}, received {tuple(shifts_xy.shape)}")
    image = patch if patch.is_floating_point() else patch.float()
    shifts = [(int(x), int(y)) for x, y in shifts_xy.tolist()]
    patches = image.new_empty(len(kinds), image.shape[0], size, size)
    blurs = iter(settings.blur_sigmas_xy)
    for index, (kind, shift) in enumerate(zip(kinds, shifts, strict=True)):
        if kind is AugmentationKind.BLUR:
            patches[index] = blur_crop(image, size, next(blurs), shift)
        elif kind is AugmentationKind.FLIP:
            patches[index] = shifted_crop(image.flip(2), size, shift)
        elif kind is not AugmentationKind.ROTATION:
            patches[index] = shifted_crop(image, size, shift)
    rotated = len(settings.rotations_degrees)
    if rotated:
        patches[-rotated:] = rotated_crops(image, size, settings.rotations_degrees, shifts[-rotated:])
    return patches


def first_frame_patches(
    patch: Tensor, size: int, generator: torch.Generator, settings: AugmentationSettings | None = None
) -> tuple[Tensor, tuple[AugmentationKind, ...], Tensor]:
    """Augmented patches of the first frame with random shifts.

    Args:
        patch: image (channels, 2 * S, 2 * S) around the target, uint8 or floating.
        size: side S of the cut patches.
        generator: source of the shifts.
        settings: transforms, defaults if None.

    Returns:
        Patches (n, channels, S, S) as from `augment_patch`, their kinds and their shifts (n, 2), x and y in
        pixels.
    """
    settings = settings or AugmentationSettings()
    shifts_xy = sample_shifts(settings, size, generator)
    return augment_patch(patch, size, settings, shifts_xy), settings.kinds, shifts_xy


def dropout_copies(features: Tensor, count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Copies of one sample that lack random channels, the others scaled by 1 / (1 - probability).

    Args:
        features: (1, C, h, w).
        count: number of copies.
        probability: chance of a channel to be lost, in [0, 1).
        generator: source of the choice.

    Returns:
        Copies (count, C, h, w).

    Raises:
        ValueError: if the probability is outside [0, 1).
    """
    if not 0.0 <= probability < 1.0:
        raise ValueError(f"probability must lie in [0, 1), received {probability}")
    shape = (count, features.shape[1], 1, 1)
    uniform = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)
    return features * ((uniform >= probability) / (1.0 - probability)).to(features)


def shifted_crop(image: Tensor, size: int, shift_xy: tuple[int, int]) -> Tensor:
    """Central crop (channels, S, S) of an image whose content moved by `shift_xy`, borders replicated."""
    height, width = image.shape[1:]
    left, top = _crop_start(width, size, shift_xy[0]), _crop_start(height, size, shift_xy[1])
    columns, rows = _inside(left, size, width), _inside(top, size, height)
    return _replicate(image[:, slice(*rows), slice(*columns)], size, left, top, columns, rows)


def blur_crop(image: Tensor, size: int, sigma_xy: tuple[float, float], shift_xy: tuple[int, int]) -> Tensor:
    """As `shifted_crop` of the image blurred by a Gaussian.

    The Gaussian is cut off at ceil(2 sigma) and normalised; beyond the image it meets zeros.
    """
    height, width = image.shape[1:]
    left, top = _crop_start(width, size, shift_xy[0]), _crop_start(height, size, shift_xy[1])
    columns, rows = _inside(left, size, width), _inside(top, size, height)
    # The first pass keeps the columns that the second one reads.
    margin = _blur_margin(sigma_xy[0])
    near, far = max(columns[0] - margin, 0), min(columns[1] + margin, width)
    blurred = _blur_axis(image[:, :, near:far], 1, rows, sigma_xy[1])
    blurred = _blur_axis(blurred, 2, (columns[0] - near, columns[1] - near), sigma_xy[0])
    return _replicate(blurred, size, left, top, columns, rows)


def rotated_crops(
    image: Tensor, size: int, angles_degrees: tuple[float, ...], shifts_xy: list[tuple[int, int]]
) -> Tensor:
    """As `shifted_crop` of the image rotated about its centre, one crop per angle.

    Bilinear interpolation with replicated borders. The content at p (x right, y down, from the centre) moves
    to ``[[cos, sin], [-sin, cos]] p``.

    Args:
        image: (channels, H, W), floating.
        size: side S of the crops.
        angles_degrees: n angles.
        shifts_xy: n shifts in pixels.

    Returns:
        Crops (n, channels, S, S).
    """
    height, width = image.shape[1:]
    count = len(angles_degrees)
    angles = torch.tensor([math.radians(angle) for angle in angles_degrees], dtype=torch.float64)[:, None]
    starts = [(_crop_start(width, size, x), _crop_start(height, size, y)) for x, y in shifts_xy]
    left, top = torch.tensor(starts, dtype=torch.float64).reshape(count, 2).t()
    cells = torch.arange(size, dtype=torch.float64)
    # Destination pixels from the image's centre; the clamp replicates the rotated image beyond its border.
    x = (left[:, None] + cells).clamp(0, width - 1) - (width - 1) / 2  # (n, S)
    y = (top[:, None] + cells).clamp(0, height - 1) - (height - 1) / 2
    cos, sin = angles.cos(), angles.sin()
    # grid_sample wants -1 and 1 at the centres of the first and the last pixel; each coordinate is a sum of
    # one term per column and one per row, so the full-size work is two additions.
    half_width, half_height = max((width - 1) / 2, 0.5), max((height - 1) / 2, 0.5)
    column_terms = torch.stack([cos * x / half_width, sin * x / half_height], dim=-1).to(image)  # (n, S, 2)
    row_terms = torch.stack([-sin * y / half_width, cos * y / half_height], dim=-1).to(image)
    grid = row_terms[:, :, None] + column_terms[:, None]  # (n, S, S, 2)
    batch = image.expand(count, *image.shape)
    return torch.nn.functional.grid_sample(
        batch, grid, mode="bilinear", padding_mode="border", align_corners=True
    )


def _crop_start(full: int, size: int, shift: int) -> int:
    """First index of a central crop of content moved by `shift`; an odd margin is larger before the crop."""
    return -((size - full) // 2) - shift


def _inside(start: int, size: int, limit: int) -> tuple[int, int]:
    """The part of a range that lies in an image, at least one pixel at its nearest edge."""
    return min(max(start, 0), limit - 1), max(min(start + size, limit), 1)


def _replicate(
    part: Tensor, size: int, left: int, top: int, columns: tuple[int, int], rows: tuple[int, int]
) -> Tensor:
    """Extend the inside part of a crop (channels, rows, columns) to (channels, size, size) by its border."""
    before_x, before_y = min(max(columns[0] - left, 0), size - 1), min(max(rows[0] - top, 0), size - 1)
    after_x, after_y = size - before_x - part.shape[2], size - before_y - part.shape[1]
    if before_x == before_y == after_x == after_y == 0:
        return part
    padding = (before_x, after_x, before_y, after_y)
    return torch.nn.functional.pad(part[None], padding, mode="replicate")[0]


def _blur_margin(sigma: float) -> int:
    return math.ceil(2 * sigma)


def _blur_axis(image: Tensor, axis: int, wanted: tuple[int, int], sigma: float) -> Tensor:
    """The indices `wanted` of `axis` of an image blurred along it, one addition per weight."""
    margin, limit = _blur_margin(sigma), image.shape[axis]
    weights = [math.exp(-(offset**2) / (2.0 * sigma**2)) for offset in range(-margin, margin + 1)]
    total = sum(weights)
    shape = list(image.shape)
    shape[axis] = wanted[1] - wanted[0]
    blurred = image.new_zeros(shape)
    for offset, weight in zip(range(-margin, margin + 1), weights, strict=True):
        start, stop = max(wanted[0] + offset, 0), min(wanted[1] + offset, limit)
        if start < stop:
            target = blurred.narrow(axis, start - offset - wanted[0], stop - start)
            target.add_(image.narrow(axis, start, stop - start), alpha=weight / total)
    return blurred
