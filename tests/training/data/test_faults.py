from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from ebm_tracker.training.data.faults import FILE_NAME, Faults
from ebm_tracker.training.data.frame_pairs import CropSettings, FramePairs
from ebm_tracker.training.data.sampler import PairSampler, SamplerSettings
from ebm_tracker.training.data.sequence import AnnotatedVideo, DataSetError, FrameReadError
from ebm_tracker.training.pairs import PairDataset

LENGTH = 96


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """40 frames, of which one is no picture, one is cut off (Pillow's error does not name the file) and one missing."""
    folder = tmp_path / "frames"
    folder.mkdir()
    made = [folder / f"{i:04d}.jpg" for i in range(40)]
    rng = np.random.default_rng(0)
    for path in made:
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(path)
    made[7].write_bytes(b"not a picture")
    made[20].write_bytes(made[20].read_bytes()[:10])
    made[33].unlink()
    return made


@pytest.fixture
def make_dataset(paths: list[Path], make_set: Any, file_frames: Any) -> Any:
    def make(faults: Faults) -> PairDataset:
        boxes = np.tile(np.array([10, 10, 12, 9], np.float32), (len(paths), 1))
        video = AnnotatedVideo("v", file_frames(paths), boxes, np.ones(len(paths), bool))
        sampler = PairSampler([make_set("s", [video])], [1], SamplerSettings(max_gap=10))
        return PairDataset(FramePairs(sampler, CropSettings(crop_size=32), faults), LENGTH, seed=3)  # type: ignore[arg-type]

    return make


def skipped_files(folder: Path) -> Counter[str]:
    lines = (folder / FILE_NAME).read_text().splitlines()
    return Counter(Path(line.split(": ")[0]).name for line in lines)


def test_workers_skip_count_and_agree_with_one_process(make_dataset: Any, tmp_path: Path) -> None:
    alone, shared = Faults(tmp_path / "alone"), Faults(tmp_path / "shared")
    for faults in (alone, shared):
        assert faults.folder is not None
        faults.folder.mkdir()
    expected = [make_dataset(alone)[i] for i in range(LENGTH)]
    dataset = make_dataset(shared)
    loader = DataLoader(dataset, batch_size=8, num_workers=2)
    found = list(loader)
    for column in range(4):
        wanted = torch.stack([pair[column] for pair in expected])
        assert torch.equal(torch.cat([batch[column] for batch in found]), wanted)
    assert (shared.made, shared.skipped) == (alone.made, alone.skipped)
    assert shared.made == LENGTH and shared.skipped > 5
    assert (shared._counts[:, 0] > 0).tolist() == [False, True, True] + 254 * [False]  # a row for each process
    counts = skipped_files(tmp_path / "shared")
    assert counts == skipped_files(tmp_path / "alone")
    assert set(counts) == {"0007.jpg", "v, frame 20", "0033.jpg"} and counts.total() == shared.skipped
    list(loader)  # a second epoch, with new processes, adds up
    assert shared.made == 2 * LENGTH and shared.skipped == 2 * alone.skipped


def test_processes_that_are_spawned_share_the_counts() -> None:
    faults = Faults()
    process = torch.multiprocessing.get_context("spawn").Process(target=Faults.count_made, args=(faults,))
    process.start()
    process.join()
    assert process.exitcode == 0 and faults.made == 1


def test_above_the_limit_training_stops(make_dataset: Any, tmp_path: Path) -> None:
    faults = Faults(tmp_path, limit_share=0.01, minimum=5)
    list(DataLoader(make_dataset(faults), batch_size=8, num_workers=2))
    with pytest.raises(DataSetError, match=rf"^{faults.skipped} of {faults.skipped + LENGTH} pairs .*{FILE_NAME}.*1 %"):
        faults.check()


def count(faults: Faults, made: int, skipped: int) -> Faults:
    for _ in range(made):
        faults.count_made()
    for _ in range(skipped):
        faults.count_skipped(FrameReadError("x.jpg: damaged"))
    return faults


@pytest.mark.parametrize(
    ("made", "skipped", "stops"),
    [
        (0, 3, False),  # not more than the minimum
        (4, 4, True),
        (12, 4, False),  # exactly a quarter
        (11, 4, True),
    ],
)
def test_limit(made: int, skipped: int, stops: bool) -> None:
    faults = count(Faults(limit_share=0.25, minimum=3), made, skipped)
    if stops:
        with pytest.raises(DataSetError):
            faults.check()
    else:
        faults.check()


def test_report(tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    assert faults.report() is None and not (tmp_path / FILE_NAME).exists()
    count(faults, 7, 1)
    faults.count_skipped(FileNotFoundError(2, "No such file or directory", "a/b.jpg"))
    assert faults.report() == (
        f"2 of 9 pairs were skipped for frames that cannot be used; they are listed in {tmp_path / FILE_NAME}"
    )
    assert (tmp_path / FILE_NAME).read_text() == "x.jpg: damaged\na/b.jpg: No such file or directory\n"
    assert "listed" not in str(count(Faults(), 0, 1).report())


@pytest.mark.parametrize("arguments", [{"limit_share": -0.1}, {"limit_share": 1.1}, {"minimum": -1}])
def test_bad_limits(arguments: dict[str, float]) -> None:
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=f"{name} must be"):
        Faults(**arguments)  # type: ignore[arg-type]
