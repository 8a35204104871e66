"""A substitute photo set, made from pictures in Debian packages: objects with masks, and backgrounds.

For those who have no ECSSD and COCO128 at hand, only a package index. Tux Paint's stamps are photos of animals,
fruit, tools and vehicles with an alpha channel; GCompris and the desktops' wallpaper packages hold photos. Both
kinds come mixed with drawings, which colour statistics keep out. The set is the user's to build: nothing of it
is shipped, each package has its own licences (``/usr/share/doc/PACKAGE/copyright``), and ``sources.tsv`` in the
set says which file came from where.

Layout: ECSSD's, as ``ebm_tracker.training.photos.load_ecssd`` reads it. ``images/NAME.jpg`` beside
``masks/NAME.png``; an object is pasted on one of the backgrounds, a background's mask is black all over.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ebm_tracker.training.data.packages import PackageFile, package_files
from ebm_tracker.training.data.sequence import DataSetError
from ebm_tracker.training.photos import cut_out
from ebm_tracker.video import PILLOW_ERRORS

STAMP_PACKAGES = ("tuxpaint-stamps-default",)
PHOTO_PACKAGES = (
    "gcompris-qt-data",
    "gnome-backgrounds",
    "mate-backgrounds",
    "plasma-workspace-wallpapers",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "ukui-wallpapers",
)
# Parts of paths: drawings, letters, photos with white holes for a puzzle's pieces, screenshots of the manual
_NOT_PHOTOS = frozenset({"cartoon", "alphabets", "babyshapes", "babyshapes.rcc", "HTML"})
_MEASURED_SIDE = 240  # statistics are of the picture at this size: they depend on it


@dataclass(frozen=True)
class CutoutSettings:
    """What is kept. Sides in pixels, shares in [0, 1]; the limits were set by eye on Debian 12's packages.

    ``max_flat``: neighbouring pixels that are the same (drawings have areas of one colour); ``min_bits``: entropy
    of the colours, 5 bits per channel; ``max_dominant``: share of the most frequent colour, 4 bits per channel
    (things on white paper); ``min_coverage``: of the object in its box; ``min_opaque``: of its pixels (glass and
    smoke have few); ``same_bits``: pictures whose 64-bit fingerprints differ by no more are one picture.
    """

    max_side: int = 500
    min_photo_side: int = 240
    photo_max_flat: float = 0.45
    photo_min_bits: float = 6.0
    photo_max_dominant: float = 0.25
    min_object_side: int = 32
    object_share: float = 0.8
    object_max_flat: float = 0.3
    object_min_bits: float = 4.5
    min_coverage: float = 0.15
    min_opaque: float = 0.6
    photo_same_bits: int = 5
    object_same_bits: int = 2
    max_blur: float = 3.0


@dataclass(frozen=True)
class PictureStatistics:
    """``flat`` and ``dominant`` are shares, ``bits`` is the entropy of the colours; see CutoutSettings."""

    flat: float
    bits: float
    dominant: float


@dataclass(frozen=True)
class CutoutReport:
    """How many photos of each kind were written, and what was left out: reason -> count."""

    objects: int
    backgrounds: int
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class _Picture:
    name: str
    source: PackageFile  # without its data
    image: Image.Image  # RGB photo, or RGBA object cropped to its box
    fingerprint: NDArray[np.bool_]


class _LeftOut(Exception):
    """Why a picture is not used."""


def picture_statistics(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> PictureStatistics:
    """Of the pixels (H, W, 3) uint8 where ``mask`` (H, W) is True; at least one must be.

    ``flat``: of the pairs of horizontal neighbours, both in the mask, those that differ by at most 1 of 255.
    """
    pair = mask[:, 1:] & mask[:, :-1]
    step = np.abs(np.diff(rgb.astype(np.int16), axis=1)).max(axis=2)[pair]
    flat = float((step <= 1).mean()) if len(step) else 1.0
    share = np.unique(_codes(rgb[mask], 5), return_counts=True)[1] / mask.sum()
    dominant = np.unique(_codes(rgb[mask], 4), return_counts=True)[1].max() / mask.sum()
    return PictureStatistics(flat, float(-(share * np.log2(share)).sum()), float(dominant))


def _codes(colors: NDArray[np.uint8], bits: int) -> NDArray[np.int64]:
    coarse = (colors >> (8 - bits)).astype(np.int64)
    return (coarse[:, 0] << (2 * bits)) | (coarse[:, 1] << bits) | coarse[:, 2]


def build_cutouts(
    sources: Sequence[Path],
    out: Path,
    settings: CutoutSettings | None = None,
    on_file: Callable[[str], None] | None = None,
) -> CutoutReport:
    """Reads packages (``.deb`` files, or folders of them or of unpacked ones) and writes the set to ``out``.

    The same packages give the same set. ``out`` is there only when it is complete. ``on_file`` is called with the
    name of every picture that is read.

    Raises DataSetError when ``out`` is not empty, a package cannot be read, or no object or background is left.
    """
    settings = settings or CutoutSettings()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataSetError(f"{out} is there already: name a folder that is not, or an empty one")
    photos, objects, left_out = _choose(sources, settings, on_file)
    if not photos or not objects:
        names = ", ".join(map(str, sources))
        raise DataSetError(f"a set needs objects and backgrounds (found {len(objects)} and {len(photos)} in {names})")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    try:
        rows = _write(part, photos, objects, settings, left_out)
        (part / "sources.tsv").write_text("file\tpackage\tpath\n" + "".join(rows), encoding="utf-8")
        part.chmod(0o755)  # mkdtemp's folders are the user's alone
        if out.exists():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return CutoutReport(len(rows) - len(photos), len(photos), dict(left_out))


def fetch_packages(folder: Path, names: Iterable[str] = (*STAMP_PACKAGES, *PHOTO_PACKAGES)) -> list[str]:
    """Downloads packages into ``folder`` with ``apt-get download`` and returns the names of those that the
    system's package index lacks. Raises DataSetError without apt-get, or when none came."""
    program = shutil.which("apt-get")
    if program is None:
        raise DataSetError("--fetch needs apt-get, which this system has not: name the packages with --from")
    missing = []
    for name in names:  # one by one, because apt-get refuses all when it does not know one
        done = subprocess.run([program, "-qq", "download", name], cwd=folder, check=False, capture_output=True)
        if done.returncode:
            missing.append(name)
    if not any(folder.glob("*.deb")):
        raise DataSetError(f"apt-get could download none of {', '.join(missing)} (try apt-get update before)")
    return missing


def _choose(
    sources: Sequence[Path], settings: CutoutSettings, on_file: Callable[[str], None] | None
) -> tuple[list[_Picture], list[_Picture], Counter[str]]:
    photos: list[_Picture] = []
    objects: list[_Picture] = []
    left_out: Counter[str] = Counter()
    for source in sources:
        for file in package_files(source):
            if on_file is not None:
                on_file(file.path)
            try:
                picture = _read(file, settings)
                is_photo = picture.image.mode == "RGB"
                kept, limit = (photos, settings.photo_same_bits) if is_photo else (objects, settings.object_same_bits)
                if any((picture.fingerprint != other.fingerprint).sum() <= limit for other in kept):
                    raise _LeftOut("seen before")
            except _LeftOut as reason:
                left_out[str(reason)] += 1
            else:
                kept.append(picture)
    return photos, objects, left_out


def _read(file: PackageFile, settings: CutoutSettings) -> _Picture:
    if _NOT_PHOTOS & set(Path(file.path).parts):
        raise _LeftOut("drawings and puzzles by their folder")
    try:
        with Image.open(io.BytesIO(file.data)) as opened:
            if min(opened.size) < settings.min_object_side:
                raise _LeftOut("too small")
            opened.draft("RGB", (settings.max_side, settings.max_side))  # JPEGs are decoded smaller, not below
            image = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    except PILLOW_ERRORS:
        raise _LeftOut("not readable") from None
    if image.mode == "RGBA" and np.asarray(image)[..., 3].min() == 255:
        image = image.convert("RGB")
    if image.mode == "RGBA":
        if file.in_resource:
            raise _LeftOut("pieces of a game")
        image = _object(image, settings)
    else:
        image = _photo(image, settings)
    # The end of the path, so that packed and unpacked packages give the same names
    end = "_".join(Path(file.path).with_suffix("").parts[-4:]).lower()
    name = re.sub(r"[^a-z0-9]+", "_", end).strip("_")[-80:] or "picture"
    return _Picture(name, file._replace(data=b""), image, _fingerprint(image))


def _photo(image: Image.Image, settings: CutoutSettings) -> Image.Image:
    if min(image.size) < settings.min_photo_side:
        raise _LeftOut("too small")
    image = _at_most(image, settings.max_side)
    small = np.asarray(_at_most(image, _MEASURED_SIDE))
    found = picture_statistics(small, np.ones(small.shape[:2], dtype=np.bool_))
    if found.flat > settings.photo_max_flat or found.dominant > settings.photo_max_dominant:
        raise _LeftOut("a drawing, or mostly one colour")
    if found.bits < settings.photo_min_bits:
        raise _LeftOut("few colours")
    return image


def _object(image: Image.Image, settings: CutoutSettings) -> Image.Image:
    solid = image.getchannel("A").point(lambda alpha: 255 * (alpha > 127))
    box = solid.getbbox()
    if box is None:
        raise _LeftOut("nothing but glass or smoke")
    image = _at_most(image.crop(box), settings.max_side)
    if min(image.size) < settings.min_object_side or max(image.size) > 6 * min(image.size):
        raise _LeftOut("too small or thin")
    pixels = np.asarray(image)
    alpha = pixels[..., 3]
    if (alpha > 127).mean() < settings.min_coverage or (alpha > 230).sum() < settings.min_opaque * (alpha > 127).sum():
        raise _LeftOut("nothing but glass or smoke")
    small = np.asarray(_at_most(image, _MEASURED_SIDE))
    found = picture_statistics(small[..., :3], small[..., 3] > 127)
    if found.flat > settings.object_max_flat:
        raise _LeftOut("a drawing, or mostly one colour")
    if found.bits < settings.object_min_bits:
        raise _LeftOut("few colours")
    return image


def _at_most(image: Image.Image, side: int) -> Image.Image:
    """Scaled down to ``side`` if it is larger; colours are weighted by alpha, so that edges keep theirs."""
    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if image.mode == "RGBA":
        return image.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _fingerprint(image: Image.Image) -> NDArray[np.bool_]:
    """(64,) whether each of 8 x 8 areas is brighter than its left neighbour: the same for other sizes of it."""
    ground = Image.new("RGB", image.size, (128, 128, 128))
    ground.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    gray = np.asarray(ground.convert("L").resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    return (np.diff(gray, axis=1) > 0).ravel()


def _write(
    folder: Path,
    photos: Sequence[_Picture],
    objects: Sequence[_Picture],
    settings: CutoutSettings,
    left_out: Counter[str],
) -> list[str]:
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    rows = []
    used: Counter[str] = Counter()

    def save(kind: str, picture: _Picture, image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
        used[picture.name] += 1
        name = f"{kind}_{picture.name}" + (f"_{used[picture.name]}" if used[picture.name] > 1 else "")
        # 4:4:4, so that the colour of the ground does not creep into the object
        Image.fromarray(image).save(folder / "images" / f"{name}.jpg", quality=92, subsampling=0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")
        rows.append(f"images/{name}.jpg\t{picture.source.package}\t{picture.source.path}\n")

    for picture in photos:
        pixels = np.asarray(picture.image)
        save("background", picture, pixels, np.zeros(pixels.shape[:2], dtype=np.bool_))
    for picture in objects:
        rng = np.random.default_rng(zlib.crc32(picture.name.encode()))
        ground = photos[int(rng.integers(len(photos)))].image
        image, mask = paste_object(picture.image, ground, rng, settings)
        if cut_out(image, mask) is None:
            left_out["too small or thin"] += 1
        else:
            save("object", picture, image, mask)
    return rows


def paste_object(
    stamp: Image.Image, ground: Image.Image, rng: np.random.Generator, settings: CutoutSettings
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An RGBA object somewhere on an RGB ground, which is blurred by a random amount: the photo (H, W, 3) uint8
    and the object's mask (H, W), which stays clear of the border.

    Inside the mask the photo has the object's own colours, unmixed with the ground, also along its soft edge.
    """
    ground = ground.filter(ImageFilter.GaussianBlur(rng.uniform(0, settings.max_blur)))
    room = (settings.object_share * ground.width, settings.object_share * ground.height)
    stamp = _at_most(stamp, int(min(1.0, room[0] / stamp.width, room[1] / stamp.height) * max(stamp.size)))
    left = int(rng.integers(2, ground.width - stamp.width - 1))
    top = int(rng.integers(2, ground.height - stamp.height - 1))
    pixels = np.asarray(stamp)
    alpha = pixels[..., 3:]
    image = np.array(ground)
    window = image[top : top + stamp.height, left : left + stamp.width]
    blended = (pixels[..., :3].astype(np.uint32) * alpha + window.astype(np.uint32) * (255 - alpha)) // 255
    window[:] = np.where(alpha > 127, pixels[..., :3], blended)
    mask = np.zeros(image.shape[:2], dtype=np.bool_)
    mask[top : top + stamp.height, left : left + stamp.width] = alpha[..., 0] > 127
    return image, mask
