from __future__ import annotations

import io

import pytest
from rich.console import Console

from ebm_tracker.cli.loader_benchmark import LoaderSpeed, print_loader_report, time_loader
from ebm_tracker.training.data.decoder_speed import DecoderSpeed


@pytest.mark.parametrize("workers", [0, 1])
def test_measures_what_it_says(workers: int) -> None:
    speed = time_loader((64, 48), files=24, pairs=96, workers=workers)
    assert speed.pairs_per_second > 0 and speed.workers == workers
    assert (speed.size_wh, speed.files) == ((64, 48), 24)
    assert 0.5 < speed.kilobytes < 20
    assert speed.decoder in {row.name for row in speed.decoders if row.available}


def test_report() -> None:
    rows = [
        DecoderSpeed("simplejpeg", "1.9.0", True, 0.5, 2000.0, 1.0),
        DecoderSpeed("jpeg4py", "", False, float("nan"), float("nan"), float("nan")),
    ]
    console = Console(file=io.StringIO(), width=120)
    print_loader_report(console, LoaderSpeed(123.4, 2, "simplejpeg", (500, 400), 400, 49.2, rows))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "123 pairs/s with 2 workers and simplejpeg, from 400 JPEG files of 500x400 (49 kB each)" in text
    assert "0.50" in text and "2000" in text and "not there" in text and "nan" not in text
