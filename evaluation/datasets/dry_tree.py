"""Full-size trees of benchmarks with tiny made-up images, to rehearse a whole run: all names and lengths, none of
the data. And "folder": three short drawn sequences that a tracker can really follow.

Names and lengths of UAV123 are the official ones. Those of TrackingNet's and GOT-10k's test sets are not public in
full, so they are made up, with the official number of sequences and, for TrackingNet, of frames.
"""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ebm_tracker.annotations import Boxes
from ebm_tracker.evaluation.datasets import got10k, trackingnet
from ebm_tracker.evaluation.datasets.attributes import UAV_ORDER
from ebm_tracker.evaluation.datasets.benchmark import BenchmarkError
from ebm_tracker.evaluation.datasets.tables import table_of
from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.files import write_text_atomic

SIZE_WH = (64, 48)
BOX_WH = (14.0, 10.0)
TRACKINGNET_FRAMES = 225_589
TRACKINGNET_RANGE = (96, 2368)
GOT10K_RANGE = (51, 200)
DRAWN_SIZE_WH = (320, 240)
DRAWN_SEQUENCES, DRAWN_FRAMES = 3, 60
ABSENT_EVERY = 3  # of UAV123's sequences, every third has rows of NaN
OnSequence = Callable[[str, int, int], None]
"""Told the name, how many sequences are done, and how many there are."""


class _Pictures:
    """One small JPEG under many names: hard links, which take no room; a new file where a file system has no more
    links to give (ext4: 65,000), copies where it has none at all."""

    def __init__(self) -> None:
        shades = np.random.default_rng(0).integers(60, 180, (SIZE_WH[1] // 8, SIZE_WH[0] // 8, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(shades).resize(SIZE_WH, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=60)
        self._data = buffer.getvalue()
        self._source: Path | None = None
        self._links = True

    def put(self, path: Path) -> None:
        if self._source is not None and self._links:
            try:
                os.link(self._source, path)
                return
            except OSError as error:
                self._links = error.errno == errno.EMLINK
        path.write_bytes(self._data)
        self._source = path


def dry_tree(name: str, out: str | Path, on_sequence: OnSequence | None = None) -> int:
    """Writes the tree of "folder", "uav", "trackingnet" or "got10k_test" into a new or empty folder.

    Args:
        name: of the benchmark.
        out: the folder, which ``open_benchmark`` then takes.
        on_sequence: called after each sequence.

    Returns:
        How many frames were written.

    Raises:
        BenchmarkError: there is no such tree, or the folder holds something already.
    """
    if name not in DRY_TREES:
        raise BenchmarkError(f"a dry tree can be one of {', '.join(DRY_TREES)} (got {name!r})")
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BenchmarkError(f"{out.absolute()} must be a new or empty folder: a dry tree is not mixed with data")
    out.mkdir(parents=True, exist_ok=True)
    write_text_atomic(out / "README.txt", f"Made-up images and boxes in the layout of {name}, for rehearsals.\n")
    return DRY_TREES[name](out, on_sequence or (lambda name, done, of: None))


def moving_boxes(count: int, seed: int) -> Boxes:
    """(count, 4) boxes of one size on a smooth path inside the image."""
    rng = np.random.default_rng(seed)
    period = rng.uniform(60, 300, 2)
    phase = rng.uniform(0, 2 * np.pi, 2)
    room = np.array(SIZE_WH) - np.array(BOX_WH)
    corner = room * (0.5 + 0.45 * np.sin(2 * np.pi * np.arange(count)[:, None] / period + phase))
    return np.column_stack([np.round(corner, 2), np.broadcast_to(BOX_WH, (count, 2))])


def _text(boxes: Iterable[Iterable[float]], digits: int) -> str:
    return "".join(",".join("NaN" if v != v else f"{v:.{digits}f}" for v in row) + "\n" for row in boxes)


def _drawn(out: Path, on_sequence: OnSequence) -> int:
    for number in range(DRAWN_SEQUENCES):
        drawn = MovingTexture(DRAWN_SIZE_WH, DRAWN_FRAMES, seed=number)
        home = out / f"drawn_{number + 1}"
        (home / "img").mkdir(parents=True)
        for index, frame in enumerate(drawn):
            Image.fromarray(frame).save(home / "img" / f"{index + 1:04d}.jpg", quality=90)
        boxes = (drawn.box_xywh(index) for index in range(DRAWN_FRAMES))
        (home / "groundtruth.txt").write_text(_text(boxes, 0), encoding="utf-8")
        on_sequence(home.name, number + 1, DRAWN_SEQUENCES)
    return DRAWN_SEQUENCES * DRAWN_FRAMES


def _uav(out: Path, on_sequence: OnSequence) -> int:
    pictures, rows = _Pictures(), table_of("uav")
    annotations = out / "anno" / "UAV123"
    (annotations / "att").mkdir(parents=True)
    last_written: dict[str, int] = {}
    written = 0
    for number, row in enumerate(rows):
        folder = out / "data_seq" / "UAV123" / row.folder
        folder.mkdir(parents=True, exist_ok=True)
        start = max(row.first, last_written.get(row.folder, 0) + 1)
        for image in range(start, row.last + 1):
            pictures.put(folder / f"{image:0{row.digits}d}.jpg")
        last_written[row.folder] = row.last
        written += row.last + 1 - start
        boxes = moving_boxes(row.count, number)
        is_hidden = number % ABSENT_EVERY == 1
        if is_hidden:
            boxes[row.count // 2 : row.count // 2 + row.count // 10] = np.nan
        (annotations / row.truth).write_text(_text(boxes, 2), encoding="utf-8")
        flags = [int(is_hidden) if a == "FOC" else int((number >> i) & 1) for i, a in enumerate(UAV_ORDER)]
        (annotations / "att" / row.truth).write_text(",".join(map(str, flags)) + "\n", encoding="utf-8")
        on_sequence(row.name, number + 1, len(rows))
    return written


def _trackingnet(out: Path, on_sequence: OnSequence) -> int:
    pictures = _Pictures()
    lengths = _lengths(trackingnet.TEST_COUNT, TRACKINGNET_FRAMES, TRACKINGNET_RANGE)
    (out / "TEST" / "anno").mkdir(parents=True)
    for number, (name, count) in enumerate(zip(_video_ids(len(lengths)), lengths, strict=True)):
        folder = out / "TEST" / "frames" / name
        folder.mkdir(parents=True)
        for image in range(count):
            pictures.put(folder / f"{image}.jpg")
        (out / "TEST" / "anno" / f"{name}.txt").write_text(_text(moving_boxes(1, number), 2), encoding="utf-8")
        on_sequence(name, number + 1, len(lengths))
    return sum(lengths)


def _got10k_test(out: Path, on_sequence: OnSequence) -> int:
    pictures, rng = _Pictures(), random.Random(0)
    names = [f"GOT-10k_Test_{number:06d}" for number in range(1, got10k.COUNT + 1)]
    meta = f"[METAINFO]\nanno_fps: 10Hz\nresolution: ({SIZE_WH[0]}, {SIZE_WH[1]})\n"
    written = 0
    for number, name in enumerate(names):
        folder = out / "test" / name
        folder.mkdir(parents=True)
        count = rng.randint(*GOT10K_RANGE)
        for image in range(1, count + 1):
            pictures.put(folder / f"{image:08d}.jpg")
        (folder / "groundtruth.txt").write_text(_text(moving_boxes(1, number), 4), encoding="utf-8")
        (folder / "meta_info.ini").write_text(meta, encoding="utf-8")
        written += count
        on_sequence(name, number + 1, len(names))
    (out / "test" / "list.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return written


def _lengths(count: int, total: int, limits: tuple[int, int]) -> list[int]:
    """``count`` whole numbers within ``limits`` that add up to ``total``."""
    rng = random.Random(0)
    lengths = [min(max(round(rng.lognormvariate(6.0, 0.4)), limits[0]), limits[1]) for _ in range(count)]
    step = 1 if sum(lengths) < total else -1
    for i in range(abs(total - sum(lengths))):
        lengths[i % count] += step
    return lengths


def _video_ids(count: int) -> list[str]:
    """Made-up names of the kind that TrackingNet has: eleven signs of a video address, some with a hyphen in front,
    an underscore, and a number."""
    rng = random.Random(0)
    signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    ids: dict[str, str] = {}
    while len(ids) < count:
        name = f"{''.join(rng.choices(signs, k=11))}_{rng.randint(0, 9)}"
        ids.setdefault(name.lower(), name)  # file systems that ignore case must hold them all
    return sorted(ids.values())


DRY_TREES: Mapping[str, Callable[[Path, OnSequence], int]] = {
    "folder": _drawn,
    "uav": _uav,
    "trackingnet": _trackingnet,
    "got10k_test": _got10k_test,
}
"""Benchmark -> writer of its tree, which returns the number of frames."""
