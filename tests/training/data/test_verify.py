"""What verification finds in sets with planted faults, and that it finds nothing in sound ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.data.registry import open_set
from ebm_tracker.training.data.sequence import AnnotatedVideo, DataSetError, FrameReadError, SequenceSet
from ebm_tracker.training.data.verify import Finding, Verification, verify_photos, verify_set

UNREADABLE = "frames that cannot be read (of those drawn)"
OUTSIDE = "boxes with less than 1 pixel inside the frame (of those drawn)"
HALF = "boxes that leave the frame by more than half (of those drawn)"
SHORT = "more boxes than frames: the last frame is not there, or unreadable"
LONG = "more frames than boxes"
TINY = "visible boxes with a side below 1 pixel"
UNSEEN = "sequences without any visible frame"
CLOSED = "sequences that cannot be opened"


def bad(result: Verification) -> dict[str, int]:
    return {f.title: f.bad for f in result.findings if f.bad}


def finding(result: Verification, title: str) -> Finding:
    return next(f for f in result.findings if f.title == title)


def write_images(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (40, 30), (90, 120, 60)).save(folder / name)


@pytest.fixture
def trackingnet(tmp_path: Path) -> Path:
    """Ten videos of six frames."""
    for i in range(10):
        write_images(tmp_path / f"TRAIN_0/frames/v{i}", [f"{k}.jpg" for k in range(6)])
        (tmp_path / "TRAIN_0/anno").mkdir(exist_ok=True)
        (tmp_path / f"TRAIN_0/anno/v{i}.txt").write_text("5.00,6.00,10.00,8.00\n" * 6)
    return tmp_path


def opened(root: Path, name: str = "trackingnet", **options: object) -> SequenceSet:
    options = {"set_ids": (0,), **options} if name == "trackingnet" else options
    return open_set(name, root, cache_dir=root / "cache", show_progress=False, **options)


def test_a_sound_set(trackingnet: Path) -> None:
    result = verify_set(opened(trackingnet), images=1000)
    assert bad(result) == {}
    assert result.facts == {"sequences": 10, "frames": 60, "visible frames": 60, "frames decoded": 60}
    assert {f.title: f.looked_at for f in result.findings} == {
        CLOSED: 10, SHORT: 10, LONG: 10, UNSEEN: 10, TINY: 60, UNREADABLE: 60, OUTSIDE: 60, HALF: 60
    }  # fmt: skip
    assert result.above(0, True) == [] and result.above(0, False) == []


def test_planted_faults(trackingnet: Path) -> None:
    home = trackingnet / "TRAIN_0"
    (home / "frames/v0/5.jpg").unlink()  # cut off
    write_images(home / "frames/v1", ["6.jpg"])  # one too many
    (home / "anno/v2.txt").write_text("0,0,0,0\n" * 6)
    (home / "anno/v3.txt").write_text("5,6,0.5,8\n" * 2 + "5,6,10,8\n" * 4)
    (home / "anno/v4.txt").write_text("45,6,10,8\n" * 6)  # right of the frame
    (home / "anno/v5.txt").write_text("36,6,10,8\n" * 6)  # four of ten columns inside
    (home / "anno/v6.txt").write_text("1,2,3\n")
    (home / "frames/v7/2.jpg").write_bytes(b"\xff\xd8\xff")
    result = verify_set(opened(trackingnet), images=1000)
    assert bad(result) == {
        "sequences whose annotations are missing or cannot be read": 1,
        SHORT: 1,
        LONG: 1,
        UNSEEN: 1,
        TINY: 2,
        UNREADABLE: 2,
        OUTSIDE: 6,
        HALF: 6,
    }
    assert "v0" in finding(result, SHORT).examples[0] and "5.jpg" in finding(result, SHORT).examples[0]
    assert finding(result, LONG).examples == ["v1: 6 boxes, and there is a frame after the last of them"]
    assert finding(result, TINY).examples == ["v3, frame 0: 5,6,0.5,8"]
    assert finding(result, OUTSIDE).examples == [f"v4, frame {k}: 45,6,10,8 in 40x30" for k in range(3)]
    assert "v6.txt, line 1" in result.findings[0].examples[0]
    assert finding(result, UNREADABLE).examples[1].count("v7/2.jpg") == 1
    assert not finding(result, HALF).fault
    quick = bad(verify_set(opened(trackingnet), images=0, quick=True))
    assert quick.keys() == {"sequences whose annotations are missing or cannot be read", UNSEEN, TINY}


def test_limits() -> None:
    found = [Finding("a", 200, 2), Finding("b", 10, 1), Finding("c", 10, 9, fault=False), Finding("d", 10, 0)]
    result = Verification("x", {}, found)
    assert [f.title for f in result.above(0.01, True)] == ["b"]
    assert [f.title for f in result.above(0.009, True)] == ["a", "b"]
    assert [f.title for f in result.above(1, False)] == ["a"]
    assert result.above(2, False) == []


def test_the_drawn_frames_follow_the_seed(trackingnet: Path) -> None:
    class Noted:
        name, is_video, left_out = "noted", True, {}  # noqa: RUF012

        def __init__(self) -> None:
            self.inner, self.reads = opened(trackingnet), []

        def __len__(self) -> int:
            return len(self.inner)

        def __getitem__(self, i: int) -> AnnotatedVideo:
            video, reads = self.inner[i], self.reads

            class Frames:
                def __len__(self) -> int:
                    return len(video.frames)

                def read(self, index: int) -> np.ndarray:
                    reads.append((i, index))
                    return video.frames.read(index)

            return AnnotatedVideo(video.name, Frames(), video.boxes_xywh, video.visible)

        def visible_counts(self) -> tuple[np.ndarray, np.ndarray]:
            return self.inner.visible_counts()

    drawn = []
    for seed in (0, 0, 1):
        noted = Noted()
        verify_set(noted, images=20, seed=seed, quick=True)
        drawn.append(noted.reads)
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 20


def test_invisible_frames_are_not_drawn(trackingnet: Path) -> None:
    for i in range(10):
        (trackingnet / f"TRAIN_0/anno/v{i}.txt").write_text("5,6,10,8\n" + "0,0,0,0\n" * 4 + "5,6,10,8\n")
        for k in range(1, 5):
            (trackingnet / f"TRAIN_0/frames/v{i}/{k}.jpg").write_bytes(b"no image")
    result = verify_set(opened(trackingnet), images=1000)
    assert bad(result) == {} and result.facts["frames decoded"] == 20


def test_a_sequence_that_cannot_be_opened_is_counted(trackingnet: Path) -> None:
    whole = opened(trackingnet)

    class Broken:
        name, is_video, left_out = "broken", True, {}  # noqa: RUF012
        __len__, visible_counts = whole.__len__, whole.visible_counts

        def __getitem__(self, index: int) -> AnnotatedVideo:
            if index == 4:
                raise FrameReadError("no such sequence")
            return whole[index]

    result = verify_set(Broken(), images=1000)
    assert bad(result) == {CLOSED: 1, UNREADABLE: 6}
    assert finding(result, UNREADABLE).looked_at == 60


def test_known_flaws_of_coco_are_no_faults(tmp_path: Path) -> None:
    write_images(tmp_path / "train2014", ["a.jpg", "b.jpg"])
    images = [{"id": i, "file_name": f"{n}.jpg", "width": 40, "height": 30} for i, n in enumerate("ab")]
    boxes = [([1, 2, 9, 9], 0, 0), ([1, 2, 9, 0], 0, 0), ([1, 2, 9, 9], 1, 1), ([3, 3, 9, 9], 1, 0), ([1, 2, 3], 1, 0)]
    annotations = [
        {"id": n, "image_id": image, "bbox": box, "iscrowd": crowd} for n, (box, image, crowd) in enumerate(boxes)
    ]
    (tmp_path / "annotations").mkdir()
    document = json.dumps({"images": images, "annotations": annotations})
    (tmp_path / "annotations/instances_train2014.json").write_text(document)
    result = verify_set(opened(tmp_path, "coco"))
    assert result.facts == {"objects": 2, "frames": 2, "visible frames": 2, "frames decoded": 2}
    faults = {f.title: f.bad for f in result.findings if f.bad and f.fault}
    assert list(faults.values()) == [1] and "without a box" in next(iter(faults))
    assert sum(f.bad for f in result.findings if not f.fault) == 2


def test_a_folder_of_own_sequences(tmp_path: Path) -> None:
    write_images(tmp_path / "a", ["1.png", "2.png"])
    (tmp_path / "a/groundtruth.txt").write_text("1,2,9,9\n" * 3)
    write_images(tmp_path / "b", ["1.png"])
    result = verify_set(open_set("folder", tmp_path))
    assert bad(result) == {"lengths that differ (the first frames are used)": 1, "no ground-truth file": 1}
    assert "3 boxes for 2 frames" in "".join(result.findings[0].examples)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("ecssd", "coco128"):
        write_images(tmp_path / name / "images", [f"{i}.jpg" for i in range(4)])
    (tmp_path / "ecssd/masks").mkdir()
    for i in range(4):
        mask = Image.new("L", (40, 30))
        if i:
            mask.paste(255, (5, 5, 20, 20))
        mask.save(tmp_path / f"ecssd/masks/{i}.png")
    for folder, line in (("det_labels", "3 0.5 0.5 0.2 0.2\n"), ("seg_labels", "3 0.1 0.1 0.9 0.1 0.5 0.9\n")):
        (tmp_path / "coco128" / folder).mkdir()
        (tmp_path / "coco128" / folder / "0.txt").write_text(line)
    return tmp_path


def test_photos(photos: Path) -> None:
    result = verify_photos(photos)
    assert bad(result) == {}
    assert result.facts == {"photos": 8, "with objects": 4, "backgrounds": 4}
    assert verify_photos(photos / "ecssd").facts["photos"] == 4
    with pytest.raises(DataSetError, match="no photos"):
        verify_photos(photos / "ecssd/masks")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("coco128/det_labels/0.txt", b"3 0.5 0.5 0.2\n"),
        ("coco128/det_labels/0.txt", b"3 0.5 0.5 0.2 x\n"),
        ("coco128/det_labels/0.txt", b"3 50 50 20 20\n"),
        ("coco128/seg_labels/0.txt", b"3 0.1 0.1 0.9 0.1\n"),
        ("ecssd/masks/1.png", b""),
        ("ecssd/masks/1.png", None),
    ],
)
def test_masks_and_labels_with_faults(photos: Path, name: str, content: bytes | None) -> None:
    if content is None:
        (photos / name).unlink()
    else:
        (photos / name).write_bytes(content)
    result = verify_photos(photos)
    assert bad(result) == {"masks or labels that are missing, damaged or do not fit their photo": 1}
    assert name in result.findings[1].examples[0]


def test_a_mask_of_another_size_and_a_damaged_photo(photos: Path) -> None:
    Image.new("L", (41, 30)).save(photos / "ecssd/masks/2.png")
    (photos / "coco128/images/3.jpg").write_bytes(b"x")
    result = verify_photos(photos)
    assert list(bad(result).values()) == [1, 1]
    assert "2.png is 41x30, its photo 40x30" in result.findings[1].examples[0]
    assert "3.jpg" in result.findings[0].examples[0]
