"""Trees to rehearse with are whole benchmarks."""

from __future__ import annotations

import errno
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.evaluation.datasets import dry_tree as module
from ebm_tracker.evaluation.datasets.benchmark import BenchmarkError
from ebm_tracker.evaluation.datasets.dry_tree import DRY_TREES, SIZE_WH, dry_tree, moving_boxes
from ebm_tracker.evaluation.datasets.registry import open_benchmark
from ebm_tracker.evaluation.datasets.tables import TableRow
from ebm_tracker.evaluation.synthetic import MovingTexture


def test_uav_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first tenth of its rows, which holds parts with shared borders and gaps."""
    from ebm_tracker.evaluation.datasets import uav

    rows = uav.table_of("uav")[:22]
    for where in (module, uav):
        monkeypatch.setattr(where, "table_of", lambda name: rows)
    told: list[tuple[str, int, int]] = []
    written = dry_tree("uav", tmp_path / "uav", lambda *news: told.append(news))
    assert len(list((tmp_path / "uav").rglob("*.jpg"))) == written
    assert told[-1] == (rows[-1].name, 22, 22) and len(told) == 22
    benchmark = open_benchmark("uav", tmp_path / "uav")
    assert benchmark.problems == ()
    assert [s.frames.frame_count for s in benchmark.sequences] == [row.count for row in rows]
    hidden = [bool(np.isnan(s.truth_xywh).any()) for s in benchmark.sequences if s.truth_xywh is not None]
    assert sum(hidden) == 7 and hidden == ["FOC" in s.attributes for s in benchmark.sequences]
    frame = next(iter(benchmark.sequences[0].frames))
    assert frame is not None and frame.shape == (SIZE_WH[1], SIZE_WH[0], 3)


def test_got10k_test_is_whole(tmp_path: Path) -> None:
    written = dry_tree("got10k_test", tmp_path / "got")
    benchmark = open_benchmark("got10k_test", tmp_path / "got")
    assert benchmark.problems == () and len(benchmark.sequences) == 180 and benchmark.truth_is_secret
    assert sum(s.frames.frame_count or 0 for s in benchmark.sequences) == written
    assert {s.size_wh for s in benchmark.sequences} == {SIZE_WH}


def test_trackingnet_has_the_official_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = module._lengths(511, module.TRACKINGNET_FRAMES, module.TRACKINGNET_RANGE)
    assert sum(lengths) == 225_589 and len(lengths) == 511 and min(lengths) >= 96 and max(lengths) <= 2368
    ids = module._video_ids(511)
    assert len({name.lower() for name in ids}) == 511 and any(name.startswith("-") for name in ids)
    monkeypatch.setattr(module, "_lengths", lambda *_: [1 + k % 12 for k in range(511)])
    written = dry_tree("trackingnet", tmp_path / "tn")
    benchmark = open_benchmark("trackingnet", tmp_path / "tn")
    assert benchmark.problems == () and len(benchmark.sequences) == 511 and benchmark.truth_is_secret
    assert sum(s.frames.frame_count or 0 for s in benchmark.sequences) == written


def test_boxes_move_and_stay_inside() -> None:
    boxes = moving_boxes(500, 3)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= SIZE_WH).all()
    assert np.ptp(boxes[:, 0]) > 20 and np.abs(np.diff(boxes, axis=0)).max() < 5
    assert np.array_equal(boxes, moving_boxes(500, 3)) and not np.array_equal(boxes, moving_boxes(500, 4))


@pytest.mark.parametrize(("error", "files"), [(errno.EMLINK, 3), (errno.EPERM, 6)])
def test_where_links_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, files: int) -> None:
    """A file system that gives every file one link more, or none."""
    links: Counter[str] = Counter()
    real = os.link

    def link(source: Path, target: Path) -> None:
        links[str(source)] += 1
        if error == errno.EPERM or links[str(source)] > 1:
            raise OSError(error, os.strerror(error))
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    pictures = module._Pictures()
    for k in range(6):
        pictures.put(tmp_path / f"{k}.jpg")
    found = [tmp_path / f"{k}.jpg" for k in range(6)]
    assert len({path.stat().st_ino for path in found}) == files
    assert len({path.read_bytes() for path in found}) == 1


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine.txt").write_text("x")
    for out in (tmp_path / "data", tmp_path / "data/mine.txt"):
        with pytest.raises(BenchmarkError, match="must be a new or empty folder"):
            dry_tree("uav", out)
    with pytest.raises(BenchmarkError, match="one of folder, uav, trackingnet, got10k_test"):
        dry_tree("lasot", tmp_path / "new")
    assert set(DRY_TREES) == {"folder", "uav", "trackingnet", "got10k_test"}
    assert isinstance(module.table_of("uav")[0], TableRow)


def test_the_drawn_folder_shows_the_object_at_its_boxes(tmp_path: Path) -> None:
    assert dry_tree("folder", tmp_path / "drawn") == 180
    benchmark = open_benchmark("folder", tmp_path / "drawn")
    assert [s.name for s in benchmark.sequences] == ["drawn_1", "drawn_2", "drawn_3"] and not benchmark.problems
    sequence = benchmark.sequences[1]
    drawn = MovingTexture((320, 240), 60, seed=1)
    assert sequence.truth_xywh is not None
    np.testing.assert_array_equal(sequence.truth_xywh, [drawn.box_xywh(i) for i in range(60)])
    frame = list(sequence.frames)[59]
    assert frame is not None
    distances = [np.abs(frame.astype(int) - drawn.frame(i)).mean() for i in range(60)]
    assert np.argmin(distances) == 59 and distances[59] < 2.5  # JPEG
