"""A small detection set in COCO's format, composed of the objects of some photos on the grounds of others.

For those who have neither COCO nor a trained detector: a light one learns it in minutes. The photos are ECSSD's and
COCO128's, or a set in ECSSD's layout (what ``ebm data cutouts`` builds). Each photo serves one of the three splits,
with its objects and as a ground. How an image is made, and what its boxes are, says ``collage.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.collage import (
    CLASS_RULES,
    ComposeSettings,
    Stock,
    compose_image,
    is_one_piece,
    read_mask,
    read_photo,
)
from ebm_tracker.files import atomic_path, write_text_atomic
from ebm_tracker.training.photos import cut_out, load_coco128

SPLITS = ("train", "val", "test")


def compose_set(
    photos: Path, folder: Path, settings: ComposeSettings = ComposeSettings(), *, quiet: bool = False  # noqa: B008
) -> Path:
    """Writes ``folder``/annotations/instances_{train,val,test}.json and the JPEGs, unless they are there; returns it.

    ``photos``: a folder with ``ecssd`` and ``coco128``, or one of them, or in ECSSD's layout itself. The set depends on
    the photos and the settings alone, each image on its number. A split that is finished is not made again.

    Raises DetectionDataError: no photos, too few of them, or a folder with a set of other photos or settings.
    """
    listed = find_photos(photos)
    parts = split_names(listed, settings)
    few = [split for split, names in parts.items() if not names]
    if few:
        raise DetectionDataError(f"{photos.absolute()} has too few photos ({len(listed)}): none is left for {few[0]}")
    facts = {**asdict(settings), "photos": _digest(listed)}
    described = json.loads(json.dumps(facts))
    path = folder / "compose.json"
    if path.is_file():
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DetectionDataError(f"{path.absolute()} is damaged ({error}); choose another folder") from error
        if not isinstance(kept, dict):
            raise DetectionDataError(f"{path.absolute()} is damaged; choose another folder")
        if kept != described:
            other = ", ".join(sorted(key for key in {*kept, *described} if kept.get(key) != described.get(key)))
            raise DetectionDataError(f"{folder.absolute()} holds a set with another {other}: choose another folder")
    targets = {split: folder / "annotations" / f"instances_{split}.json" for split in parts}
    # All photos are read before the first image is made: a damaged one is said at once.
    stocks = {split: load_stock(names, settings) for split, names in parts.items() if not targets[split].is_file()}
    for number, split in enumerate(parts):
        if split in stocks:
            for place in (folder / split, targets[split].parent):
                place.mkdir(parents=True, exist_ok=True)
            document = _write_split(folder / split, stocks.pop(split), settings, (settings.seed, number), quiet)
            # Not before something is finished: who mends a photo that was refused goes on in the same folder.
            write_text_atomic(path, json.dumps(described, indent=1) + "\n")
            write_text_atomic(targets[split], json.dumps(document) + "\n")
    return folder


def find_photos(root: Path) -> dict[str, Path]:
    """Photos by name, such as "ecssd/0001": of ``root``/ecssd and ``root``/coco128, or of ``root`` itself."""
    places = [("ecssd", root / "ecssd"), ("coco128", root / "coco128")]
    if (root / "images").is_dir():
        places.insert(0, ("ecssd", root))
    found: dict[str, Path] = {}
    for kind, place in places:
        found |= {f"{kind}/{path.stem}": path for path in sorted((place / "images").glob("*.jpg"))}
    if not found:
        places_text = "ecssd/images/*.jpg, coco128/images/*.jpg or images/*.jpg"
        raise DetectionDataError(f"{root.absolute()} holds no photos: {places_text}")
    return found


def split_names(photos: Mapping[str, Path], settings: ComposeSettings) -> dict[str, dict[str, Path]]:
    """Split -> its photos: a share of each kind, drawn from the seed."""
    result: dict[str, dict[str, Path]] = {split: {} for split in SPLITS}
    for kind in ("ecssd", "coco128"):
        names = sorted(name for name in photos if name.startswith(f"{kind}/"))
        order = np.random.default_rng((settings.seed, 7)).permutation(len(names))
        ends = [round(share * len(names)) for share in np.cumsum(settings.photo_shares)]
        parts = {"val": order[: ends[0]], "test": order[ends[0] : ends[1]], "train": order[ends[1] :]}
        for split, places in parts.items():
            result[split] |= {names[place]: photos[names[place]] for place in sorted(places.tolist())}
    return result


def load_stock(photos: Mapping[str, Path], settings: ComposeSettings) -> Stock:
    """Objects and grounds of these photos. Grounds come from ECSSD only: COCO128's photos are full of objects.

    Raises DetectionDataError when there is no object or no ground.
    """
    grounds: list[tuple[Path, Path | None]] = []
    objects: list[Image.Image] = []
    coco = {path for name, path in photos.items() if name.startswith("coco128/")}
    for path in photos.values():
        if path in coco:
            continue
        mask_path = path.parent.parent / "masks" / f"{path.stem}.png"
        pixels = read_photo(path)
        mask = read_mask(mask_path, (pixels.shape[1], pixels.shape[0]))
        if mask.mean() < 0.35:  # more of it cannot be painted over by the rest
            grounds.append((path, mask_path if mask.any() else None))
        if mask.any() and is_one_piece(mask):
            cutout = cut_out(pixels, mask)
            if cutout is not None:
                objects.append(Image.fromarray(cutout.rgba))
    if coco:
        root = next(iter(coco)).parent.parent
        stems = {path.stem for path in coco}
        for photo in load_coco128(root):
            if photo.name.rpartition("/")[2] in stems:
                pieces = (cutout.rgba for cutout in photo.cutouts if is_one_piece(cutout.rgba[..., 3] > 0))
                objects += [Image.fromarray(rgba) for rgba in pieces]
    if not grounds or not objects:
        raise DetectionDataError(
            f"a split needs objects that lie clear of the border and photos as grounds (got {len(objects)} and "
            f"{len(grounds)} of {len(photos)} photos): give more photos"
        )
    return Stock(tuple(grounds), tuple(objects), frozenset(photos))


def _write_split(
    folder: Path, stock: Stock, settings: ComposeSettings, key: tuple[int, ...], quiet: bool
) -> dict[str, Any]:
    count = settings.counts[SPLITS.index(folder.name)]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    numbers: Iterable[int] = range(1, count + 1)
    for number in track(numbers, f"composing {folder.name}", count, console=Console(quiet=quiet), transient=True):
        composed = compose_image(stock, settings, np.random.default_rng((*key, number)))
        name = f"{number:06d}.jpg"
        with atomic_path(folder / name) as part:
            # 4:4:4, so that no colour creeps over an object's edge
            Image.fromarray(composed.image).save(part, quality=settings.quality, subsampling=0)
        width, height = settings.size_wh
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        rows = zip(composed.boxes_xywh.tolist(), composed.areas.tolist(), composed.labels.tolist(), strict=True)
        for box, area, label in rows:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label,
                    "bbox": box,
                    "area": area,
                    "iscrowd": 0,
                    "segmentation": [],
                }
            )
    names = CLASS_RULES[settings.classes].names
    categories = [{"id": label, "name": name} for label, name in enumerate(names, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _digest(photos: Mapping[str, Path]) -> str:
    """Of the names and contents of the photos, their masks and outlines."""
    lines = (f"{name} {_content(path)}\n" for name, path in photos.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _content(photo: Path) -> str:
    """Of a photo and of the files beside it that say where its objects are."""
    found = hashlib.sha256(photo.read_bytes())
    for beside in ("masks", "seg_labels", "det_labels"):
        for path in sorted((photo.parent.parent / beside).glob(f"{photo.stem}.*")):
            found.update(path.read_bytes())
    return found.hexdigest()
