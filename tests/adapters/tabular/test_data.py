"""Tables: what scikit-learn ships, and CSV files with gaps, kinds and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.adapters.tabular.data import PHOTO_TILE, SETS, DataError, load_set, read_csv


@pytest.mark.parametrize(("name", "shape"), [("diabetes", (442, 10)), ("tumour", (569, 4)), ("photo", (1000, 4))])
def test_the_sets_of_scikit_learn(name: str, shape: tuple[int, int]) -> None:
    pytest.importorskip("sklearn")
    data = load_set(name)
    assert data.x.shape == shape and data.y.shape == shape[:1] and len(data.columns) == shape[1]
    assert np.isfinite(data.x).all() and np.isfinite(data.y).all() and data.name == name


def test_known_rows() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    diabetes = load_set("diabetes")
    assert diabetes.y[:3].tolist() == [151.0, 75.0, 141.0] and diabetes.x[0, 0] == 59.0  # not scaled: years
    tumour = load_set("tumour")
    assert tumour.y[0] == 17.99 and tumour.x[0].tolist() == [10.38, 0.1184, 0.2419, 0.07871]
    photo = load_set("photo")
    assert (photo.y == load_set("photo").y).all()  # the same draw every time
    grey = np.asarray(datasets.load_sample_image("china.jpg"), dtype=float).mean(2)
    assert photo.y.min() >= grey.min() and photo.y.max() < grey.max() + 1 / 3
    assert len(np.unique(photo.y)) == len(photo.y)  # no level has a point mass
    between = np.corrcoef(photo.x.mean(1), photo.y)[0, 1]
    assert between > 0.85  # the four pixels are around the one
    assert photo.groups is not None and len(np.unique(photo.groups)) <= -(-427 // PHOTO_TILE) * -(-640 // PHOTO_TILE)


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(ValueError, match="diabetes, tumour, photo"):
        load_set("iris")
    assert list(SETS) == ["diabetes", "tumour", "photo"]


def write(folder: Path, header: str, rows: list[str]) -> Path:
    path = folder / "houses.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_csv_file(tmp_path: Path) -> None:
    rows = [f"{i},{'flat' if i % 3 else 'house'},street {i},1,{i // 2},{2 * i}" for i in range(60)]
    rows += ["7,flat,street,1,0,", ",flat,street,1,0,5"]
    data = read_csv(write(tmp_path, "area,kind,street,same,owner,price", rows), "price", group="owner")
    assert data.columns == ("area", "kind=house")  # street: too many texts; same: always 1
    assert data.x[:4].tolist() == [[0, 1], [1, 0], [2, 0], [3, 1]] and data.y[:3].tolist() == [0, 2, 4]
    assert data.groups is not None and data.groups[0] == data.groups[1] != data.groups[2]
    assert len(data.y) == 60 and "street" in data.notes[0] and "2 of 62 rows" in data.notes[1]
    assert data.name == "houses" and data.target == "price"


@pytest.mark.parametrize(
    ("header", "row", "target", "message"),
    [
        ("a,b", "1,2", "price", "a column 'price'; it has a, b"),
        ("a,b", "1,x", "b", "'b' of .* numbers only"),
        ("a,a", "1,2", "a", "different names"),
        ("a,b", "1,2,3", "b", "line 2 of .* 2 cells"),
        ("a,b", "\n1,2\n\n1,2,3", "b", "line 5 of .* 2 cells"),
        ("a,b", "1,2", "b", "besides 'b'"),  # a never changes
    ],
)
def test_a_file_that_is_no_problem_is_refused(
    tmp_path: Path, header: str, row: str, target: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_csv(write(tmp_path, header, [row] * 60), target)


def test_too_few_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 50 rows"):
        read_csv(write(tmp_path, "a,b", [f"{i},{i}" for i in range(49)]), "b")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_csv(tmp_path / "bytes.csv", "b")
