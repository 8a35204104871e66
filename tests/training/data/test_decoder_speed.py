"""The table of decoders; its times are not judged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.training.data import decoder_speed
from ebm_tracker.training.data.decode import DECODERS
from ebm_tracker.training.data.decoder_speed import measure_decoders
from ebm_tracker.training.data.sequence import FrameReadError


def photo(path: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(image).resize((90, 60)).save(path, quality=90)
    return path


def test_one_row_per_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = decoder_speed.load_decoder
    monkeypatch.setattr(decoder_speed, "load_decoder", lambda name: None if name == "opencv" else load(name))
    rows = {row.name: row for row in measure_decoders([photo(tmp_path / f"{i}.jpg") for i in range(2)], rounds=1)}
    assert tuple(rows) == DECODERS
    assert not rows["opencv"].available and math.isnan(rows["opencv"].milliseconds)
    pillow = rows["pillow"]
    assert pillow.available and pillow.version and pillow.largest_difference == 0
    assert pillow.images_per_second == pytest.approx(1000 / pillow.milliseconds)
    assert all(row.largest_difference <= 3 for row in rows.values() if row.available)


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="paths and rounds must be at least one"):
        measure_decoders([])
    with pytest.raises(FrameReadError, match=r"missing\.jpg cannot be read"):
        measure_decoders([tmp_path / "missing.jpg"])
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0nothing")
    with pytest.raises(FrameReadError, match=r"bad\.jpg cannot be decoded"):
        measure_decoders([tmp_path / "bad.jpg"])
