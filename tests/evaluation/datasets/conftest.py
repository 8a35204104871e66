"""Miniature trees in the layouts of the benchmarks. Opening reads no image, so that most images here are empty."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.datasets.registry import open_benchmark
from ebm_tracker.evaluation.sequences import TrackingSequence


class Tree:
    """A folder to fill."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def images(self, folder: str, pattern: str, numbers: Iterable[int]) -> None:
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            (self.root / folder / (pattern % number)).touch()

    def picture(self, path: str, shade: int) -> None:
        """A real image, all of one shade."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 24), (shade, shade, shade)).save(self.root / path)

    def text(self, path: str, text: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    def boxes(self, path: str, count: int, separator: str = ",", start: int = 1) -> Path:
        """Rows (k, 2k, 30, 40) for k = start, start + 1, ..., so that a row says which one it is."""
        rows = (separator.join(map(str, (k, 2 * k, 30, 40))) for k in range(start, start + count))
        return self.text(path, "".join(f"{row}\n" for row in rows))

    def open(self, name: str, **options: tuple[int, ...]) -> Benchmark:
        return open_benchmark(name, self.root, **options)

    @staticmethod
    def numbers_of(sequence: TrackingSequence) -> list[int]:
        """Of which row of ``boxes`` each of the true boxes is."""
        assert sequence.truth_xywh is not None
        assert np.array_equal(sequence.truth_xywh[:, 1], 2 * sequence.truth_xywh[:, 0])
        return [int(x) for x in sequence.truth_xywh[:, 0]]

    @staticmethod
    def problems_of(benchmark: Benchmark, name: str) -> list[str]:
        """The sentences about one sequence."""
        return [problem for problem in (*benchmark.problems, *benchmark.notes) if problem.startswith(f"{name}: ")]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "set")
