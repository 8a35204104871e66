r"""UAV123.

``<root>/data_seq/UAV123/<folder>/%06d.jpg`` from 1 and ``<root>/anno/UAV123/<name>.txt``, "x,y,w,h" a line, NaN where
the target is not to be seen. 123 targets in 91 folders; consecutive parts of one video share the image at their
border. Row k belongs to image first + k - 1 of the table.
(Mueller et al., "A Benchmark and Simulator for UAV Tracking", ECCV 2016.)
"""

from __future__ import annotations

from pathlib import Path

from ebm_tracker.evaluation.datasets.attributes import UAV_ORDER, read_flags
from ebm_tracker.evaluation.datasets.numbered import NumberedFrames
from ebm_tracker.evaluation.datasets.reading import Reading, first_box
from ebm_tracker.evaluation.datasets.tables import TableRow, table_of
from ebm_tracker.evaluation.sequences import TrackingSequence

LAYOUT = "data_seq/UAV123/bike1/000001.jpg and anno/UAV123/bike1.txt"
PREFIX = "uav_"
FRAMES_PER_SECOND = 30.0


def open_uav(reading: Reading) -> tuple[TrackingSequence, ...]:
    """The 123 targets, those that are there and whole. The folder may also lie in ``root`` as UAV123."""
    inner = reading.root / "UAV123"
    home = inner if "data_seq" not in reading.names(reading.root) and inner.is_dir() else reading.root
    opened = (_open(reading, home, row) for row in table_of("uav"))
    return tuple(sequence for sequence in opened if sequence is not None)


def _open(reading: Reading, home: Path, row: TableRow) -> TrackingSequence | None:
    images, annotations = home / "data_seq" / "UAV123" / row.folder, home / "anno" / "UAV123"
    pattern = f"%0{row.digits}d.jpg"
    if not reading.has_images(row.name, images, pattern, row.first, row.count):
        return None
    path = annotations / row.truth
    boxes = reading.truth(row.name, path)
    truth = None if boxes is None else reading.fit(row.name, path, boxes, row.count, starts_at_one=row.first == 1)
    if truth is None:
        return None
    return TrackingSequence(
        row.name,
        NumberedFrames(images, pattern, row.first, len(truth), row.name, FRAMES_PER_SECOND),
        first_box(truth),
        truth,
        attributes=read_flags(reading, row.name, annotations / "att" / row.truth, UAV_ORDER),
        aliases=(row.name.removeprefix(PREFIX),),
    )
