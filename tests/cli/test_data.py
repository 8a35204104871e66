"""`ebm data`: what the sub-commands print, write and return."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ebm_tracker.cli import data
from ebm_tracker.cli.parser import OneLineParser, run_guarded
from ebm_tracker.train_settings import lite
from ebm_tracker.training.bank import BankError, PairBank
from ebm_tracker.training.pairs import Pair, PairDataset, PairMaker

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("EBM_SETTINGS", "")
    monkeypatch.setenv("COLUMNS", "200")

    def called(*arguments: object) -> tuple[int, str, str]:
        parser = OneLineParser(prog="ebm data")
        data.add_arguments(parser)
        parser.set_defaults(run=data.run)
        code = run_guarded(parser, [str(a) for a in arguments])
        done = capsys.readouterr()
        return code, done.out, done.err

    return called


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        home = tmp_path / "mine" / name
        home.mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (40, 30)).save(home / f"{i}.png")
        (home / "groundtruth.txt").write_text("1,2,9,9\n" * 3)
    return tmp_path / "mine"


def test_verify_a_sound_folder(run: Run, sequences: Path) -> None:
    code, out, err = run("verify", "folder", sequences)
    assert (code, err) == (0, "")
    assert "2 sequences, 6 frames, 6 visible frames, 6 frames decoded" in out
    assert out.endswith("no fault above the limit of 1 %\n")


def test_verify_exits_with_1_above_the_limit(run: Run, sequences: Path) -> None:
    (sequences / "b/groundtruth.txt").write_text("1,2,9,9\n" * 5)
    code, out, err = run("verify", "folder", sequences)
    assert code == 1 and "above the limit of 1 %: lengths that differ" in err
    assert "5 boxes for 3 frames" in out
    assert run("verify", "folder", sequences, "--limit", "1")[0] == 0
    assert run("verify", "folder", sequences, "--limit", "0")[0] == 1
    assert run("verify", "folder", sequences, "--limit", "50%")[0] == 0


def test_verify_takes_the_path_from_the_settings(run: Run, sequences: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run("verify", "folder")
    assert code == 2 and "give PATH, set EBM_DATA_FOLDER, or write folder under [data]" in err
    monkeypatch.setenv("EBM_DATA_FOLDER", str(sequences))
    assert run("verify", "folder")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("verify", "otb", "."), "NAME must be one of trackingnet, lasot, got10k, coco, folder, photos (got 'otb')"),
        (("verify", "folder", "none"), "no folder of sequences"),
        (("verify", "coco", ".", "--option", "year=old"), "year takes a whole number"),
        (("verify", "coco", ".", "--option", "year=2015"), "year must be 2014 or 2017"),
        (("verify", "photos", ".", "--option", "x=1"), "photos has no options"),
        (("verify", "photos", "."), "holds no photos"),
        (("verify", "folder", ".", "--limit", "x"), "must be a whole number or a percentage such as 1%"),
        (("verify", "folder", ".", "--limit", "101%"), "must be a whole number or a percentage"),
        (("verify", "folder", ".", "--limit", "0.5"), "must be a whole number or a percentage"),
        (("verify", "folder", ".", "--images", "-1"), "must be a whole number from 0 on"),
        (("paths", "--data", "x"), "--data takes NAME=PATH"),
        (("cutouts", "--out", "x"), "give --from"),
        (("cutouts", "--out", "x", "--from", "none"), "no package file or folder none"),
        (("bank", "--out", "x"), "--pairs"),
        (("bank", "--out", "x", "--pairs", "0"), "--pairs"),
        (("bank", "--out", "x", "--pairs", "9"), "no path for data.photos"),
        (("bank", "--out", "x", "--pairs", "9", "--workers", "-1"), "--workers must be at least 0 (got -1)"),
        (("bank", "--out", "x", "--pairs", "9", "--seed", "-1"), "must be a whole number from 0 to"),
        (("bank", "--out", "x", "--pairs", "9", "--data", "photos=."), "holds neither ecssd/ nor coco128/"),
        (("miniature",), "--out"),
        ((), "command"),
    ],
)
def test_errors_are_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code, out, err = run(*arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and expected in err
    assert list((tmp_path / "empty").iterdir()) == []


def test_limits_are_shares_or_numbers() -> None:
    assert data.parse_limit("1%") == (0.01, True)
    assert data.parse_limit("0.5%") == (0.005, True)
    assert data.parse_limit("12") == (12.0, False)


def test_paths_say_what_set_them(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[data]\ncoco = '/file/[coco]'\nlasot = '/file/lasot'\n")
    monkeypatch.setenv("EBM_SETTINGS", str(file))
    monkeypatch.setenv("EBM_DATA_LASOT", "/env/lasot")
    code, out, _ = run("paths", "--data", f"photos={tmp_path}")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert code == 0
    assert ["coco", "/file/[coco]  (not there)", str(file)] in cells
    assert ["lasot", "/env/lasot  (not there)", "EBM_DATA_LASOT"] in cells
    assert ["photos", str(tmp_path), "--data"] in cells
    assert ["bank", "not set", "EBM_DATA_BANK"] in cells


def test_the_template_is_written_once(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config/ebm-tracker/settings.toml"
    assert "not there" in run("paths")[1] and not path.exists()
    code, out, _ = run("paths", "--write-template")
    assert code == 0 and out == f"{path}\n"
    path.write_text("# mine\n")
    code, _, err = run("paths", "--write-template")
    assert code == 2 and "not overwritten" in err
    assert path.read_text() == "# mine\n"


def test_cutouts_report_what_they_built(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "debs").mkdir()
    for i in range(2):
        coarse = Image.fromarray(rng.integers(20, 235, (9, 12, 3), dtype=np.uint8)).resize((400, 300))
        pixels = np.asarray(coarse) ^ rng.integers(0, 16, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"debs/photo{i}.png")
        stamp = Image.fromarray(pixels[:100, :100]).convert("RGBA")
        stamp.putalpha(Image.new("L", (100, 100), 255).resize((100, 100)))
        stamp.paste((0, 0, 0, 0), (0, 0, 100, 30 + i))
        stamp.save(tmp_path / f"debs/stamp{i}.png")
    (tmp_path / "debs/icon.png").write_bytes(b"no image")
    code, out, err = run("cutouts", "--out", tmp_path / "set", "--from", tmp_path / "debs")
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"{tmp_path / 'set'}: 2 objects, 2 backgrounds", "  left out:    1  not readable"]
    assert run("verify", "photos", tmp_path / "set")[0] == 0
    code, _, err = run("cutouts", "--out", tmp_path / "set", "--from", tmp_path / "debs")
    assert code == 2 and "is there already" in err


# Drawn photos, and pairs of them -------------------------------------------------------------------------------------


@pytest.fixture
def photos(run: Run, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    assert run("miniature", "--out", folder) == (0, f"24 photos in {folder}\n", "")
    return folder


def test_a_miniature_is_sound_and_written_once(run: Run, photos: Path) -> None:
    assert len(list((photos / "images").iterdir())) == len(list((photos / "masks").iterdir())) == 24
    code, out, _ = run("verify", "photos", photos)
    assert code == 0 and "24 photos, 24 with objects" in out
    (photos / "images/0003.jpg").unlink()
    code, out, err = run("miniature", "--out", photos)
    assert (code, out) == (2, "") and "--out must be a new or empty folder" in err and err.count("\n") == 1
    assert not (photos / "images/0003.jpg").exists()


def test_a_bank_holds_the_recipes_pairs(run: Run, photos: Path, tmp_path: Path) -> None:
    """Pair i is the one that a run with that seed would make as its number i."""
    command = ("bank", "--data", f"photos={photos}", "--out", tmp_path / "bank", "--pairs", "40", "--seed", "3")
    code, out, err = run(*command)
    assert (code, err) == (0, "") and out.endswith(f"{tmp_path / 'bank'}\n") and "40/40" in out
    training, held_out = lite.read_photos(photos)
    assert (len(training), len(held_out)) == (21, 3)
    bank = PairBank(tmp_path / "bank")
    assert len(bank) == 40 and bank.facts == lite.bank_facts(training, 3)
    for number in (0, 39):
        made = PairMaker(training, lite.PAIRS).make(np.random.default_rng((3, number)))
        assert all(torch.equal(stored, part) for stored, part in zip(bank[number], made, strict=True))


def test_a_stopped_bank_is_gone_on_with(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("bank", "--data", f"photos={photos}", "--out", tmp_path / "bank", "--pairs", "40", "--workers", "0")
    made: list[int] = []

    class Stopping(PairDataset):
        stop_at = 35

        def __getitem__(self, index: int) -> Pair:
            if index == self.stop_at:
                raise KeyboardInterrupt
            made.append(index)
            return super().__getitem__(index)

    monkeypatch.setattr("ebm_tracker.training.pairs.PairDataset", Stopping)
    code, _, err = run(*command)
    assert code == 130 and err.endswith("interrupted\n")
    with pytest.raises(BankError, match="lacks 8 of 40 pairs"):
        PairBank(tmp_path / "bank")
    made.clear()
    Stopping.stop_at = -1
    assert run(*command)[0] == 0 and set(made) == {0, *range(32, 40)}  # the first one tells the crop's size
    made.clear()
    code, out, _ = run(*command)
    assert code == 0 and made == [0] and "40/40" in out
    before = (tmp_path / "bank/images.npy").read_bytes()
    for other in (("--seed", "1"), ("--pairs", "41")):
        code, _, err = run(*command, *other)
        assert code == 2 and "holds other pairs" in err
    assert (tmp_path / "bank/images.npy").read_bytes() == before
