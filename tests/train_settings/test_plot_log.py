from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ebm_tracker.train_settings.plot_log import HELD_OUT, IOU, LOSS, START, main, read_columns, tenths
from ebm_tracker.training.run_log import RunLog


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose loss falls from 4 to -4 in 400 steps, as the loop writes it."""
    folder = tmp_path / "run"
    folder.mkdir()
    log = RunLog(folder)
    for step in range(50, 401, 50):
        log.note(4.0 - 8 * (step - 50) / 350, 0.01, 0.2)
        log.write(step, 1e-3)
    for step, loss, iou in ((200, 0.0, 0.62), (400, -2.0, 0.78)):
        log.write_evaluation(step, {"loss": loss, "start_iou": 0.6, "iou": iou, "op75": 0.5})
    log.close()
    return folder


def columns_of(image: np.ndarray, color: tuple[int, int, int], right_of: int = 60) -> dict[int, float]:
    """Column -> mean row of the pixels of a colour inside the axes."""
    rows, columns = np.nonzero((image[41:369] == color).all(2))
    return {int(c): float(rows[columns == c].mean()) + 41 for c in set(columns.tolist()) if right_of < c < 840}


def test_series_are_those_of_the_run(run: Path) -> None:
    (loss,) = read_columns(run / "log.csv", "loss")
    assert loss == [(50.0 * (i + 1), pytest.approx(4 - 8 * i / 7)) for i in range(8)]
    start, iou = read_columns(run / "evaluation.csv", "start_iou", "iou")
    assert (start, iou) == ([(200, 0.6), (400, 0.6)], [(200, 0.62), (400, 0.78)])
    assert read_columns(run / "nothing.csv", "loss", "iou") == [[], []]


def test_curves_lie_where_the_numbers_say(run: Path, tmp_path: Path) -> None:
    main([str(run), str(tmp_path / "curve.png")])
    image = np.asarray(Image.open(tmp_path / "curve.png"))
    assert image.shape == (420, 900, 3)
    # Axes: columns 60..840 are steps 0..400; rows 370..40 are losses -4..4 and IoUs 0.6..0.8.
    loss, held_out, iou = (columns_of(image, color) for color in (LOSS, HELD_OUT, IOU))
    assert loss[255] == pytest.approx(370 - 330 * (4 - 8 * 50 / 350 + 4) / 8, abs=2)  # step 100
    assert min(loss) == pytest.approx(60 + 780 * 50 / 400, abs=2)
    assert [min(held_out), min(iou)] == pytest.approx([450, 450], abs=2)
    assert held_out[645] == pytest.approx(370 - 330 * (-1 + 4) / 8, abs=2)  # half-way between 0 and -2
    assert iou[645] == pytest.approx(370 - 330 * (0.7 - 0.6) / 0.2, abs=2)
    assert (image == START).all(2).any()


def test_run_without_evaluation(run: Path, tmp_path: Path) -> None:
    (run / "evaluation.csv").unlink()
    main([str(run), str(tmp_path / "curve.png")])
    image = np.asarray(Image.open(tmp_path / "curve.png"))
    assert columns_of(image, LOSS) and not columns_of(image, IOU) and not columns_of(image, HELD_OUT)


def test_constant_loss(run: Path, tmp_path: Path) -> None:
    (run / "log.csv").write_text("step,loss\n20,1\n40,1\n")
    (run / "evaluation.csv").unlink()
    main([str(run), str(tmp_path / "curve.png")])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("log.csv", None, "holds no row of a training run"),
        ("log.csv", "step,loss\n", "holds no row of a training run"),
        ("log.csv", "step,rate\n20,1\n", "has no column loss"),
        ("log.csv", "step,loss\n20,x\n", "must hold numbers in loss"),
        ("log.csv", "step,loss\n20,nan\n", "must hold finite numbers in loss"),
        ("log.csv", "step,loss\n20\n", "must hold numbers in loss"),
        ("evaluation.csv", "step,nll,iou\n20,1,1\n", "has no column loss, start_iou"),
    ],
)
def test_errors(
    run: Path, tmp_path: Path, name: str, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is None:
        (run / name).unlink()
    else:
        (run / name).write_text(text)
    with pytest.raises(SystemExit) as stop:
        main([str(run), str(tmp_path / "curve.png")])
    printed = capsys.readouterr().err
    assert stop.value.code == 2 and message in printed and name in printed
    assert not (tmp_path / "curve.png").exists()


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.58, 0.83], (0.5, 0.9)), ([0.6, 0.8], (0.6, 0.8)), ([0.7], (0.7, 0.8)), ([0.0, 1.0], (0, 1)), ([], (0, 1))],
)
def test_tenths(values: list[float], expected: tuple[float, float]) -> None:
    assert tenths(values) == expected
