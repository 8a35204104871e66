"""The recipe of the shipped networks, four steps of it, on drawn photos."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ebm_tracker import load
from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.models import load_network
from ebm_tracker.models.checkpoint import read_provenance
from ebm_tracker.settings import Settings, SettingsError
from ebm_tracker.train_settings import lite
from ebm_tracker.train_settings import recipe as recipes
from ebm_tracker.train_settings.lite import PAIRS, RECIPE, LiteRecipe
from ebm_tracker.train_settings.recipe import RecipeData, run
from ebm_tracker.training.bank import BankError, PairBank, make_bank, mirrored
from ebm_tracker.training.data.miniature import draw_miniature
from ebm_tracker.training.objective import TrainingStep
from ebm_tracker.training.pairs import Pair, PairDataset, PairMaker
from ebm_tracker.training.sample import Sample

BANK_PAIRS, BANK_SEED = 5, 7
Paths = Callable[..., Settings]


@pytest.fixture(scope="module")
def recipe(tiny: Callable[..., LiteRecipe]) -> LiteRecipe:
    return tiny(RECIPE, steps=4, floor=0.25, average=0.5, seed=4)


@pytest.fixture(scope="module")
def bank(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fewer pairs than the run draws: a second epoch begins in it."""
    training, _ = lite.read_photos(photos)
    folder = tmp_path_factory.mktemp("bank")
    pairs = PairDataset(PairMaker(training, PAIRS), BANK_PAIRS, BANK_SEED)
    make_bank(folder, pairs, BANK_PAIRS, lite.bank_facts(training, BANK_SEED))
    return folder


@pytest.fixture(scope="module", params=["photos", "bank"])
def data(request: pytest.FixtureRequest, recipe: LiteRecipe, photos: Path, bank: Path, paths: Paths) -> RecipeData:
    """The two ways to have pairs."""
    return lite.open_data(recipe, paths(photos=photos, **({"bank": bank} if request.param == "bank" else {})))


@pytest.fixture(scope="module")
def trained(recipe: LiteRecipe, data: RecipeData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = run("lite", recipe, data, tmp_path_factory.mktemp("run"), workers=0)
    assert path is not None
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same(first: Pair, second: Pair) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# The run -------------------------------------------------------------------------------------------------------------


def test_a_run_writes_a_network_that_tracks(trained: Path) -> None:
    tracker = load("default", device="cpu", weights=trained)
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    tracker.initialize(frame, (50, 40, 40, 30))
    assert all(np.isfinite(tracker.track(frame).box_xywh))


def test_the_network_says_how_it_was_made(trained: Path, recipe: LiteRecipe, data: RecipeData) -> None:
    provenance = read_provenance(trained)
    fields = {key: tuple(v) if isinstance(v, list) else v for key, v in provenance["recipe"].items()}
    assert fields.pop("name") == "lite" and LiteRecipe(**fields) == recipe
    assert provenance["data"]["photos"] == [21, 3]
    assert provenance["data"]["pair_settings"] == asdict(PAIRS)
    assert provenance["data"].get("bank") == data.facts.get("bank")
    assert (provenance["initial"], provenance["device"], provenance["torch"]) == (None, "cpu", torch.__version__)
    assert provenance["backbone"].startswith("efficientnet-lite0-57934424.pth")
    (last,) = rows(trained.parent / "evaluation.csv")
    assert last.pop("step") == "4" and last.keys() == {"loss", "start_iou", "iou", "op75"}
    assert provenance["held_out"] == {key: pytest.approx(float(value), rel=1e-6) for key, value in last.items()}
    text = json.dumps(provenance)
    assert str(trained.parent) not in text and str(Path.cwd()) not in text


def test_a_run_leaves_its_log_and_checkpoints(trained: Path) -> None:
    log = rows(trained.parent / "log.csv")
    assert [row["step"] for row in log] == ["1", "2", "3", "4"]
    rates = [float(row["rate"]) for row in log]  # one step of warm-up, then half a cosine from 1 to 0.25
    assert rates == pytest.approx([RECIPE.learning_rate * share for share in (0.5, 1, 0.625, 0.25)])
    assert (trained.parent / "last.pt").is_file() and (trained.parent / "best.pt").is_file()


def test_only_the_head_was_trained(trained: Path) -> None:
    shipped, network = load_network(WEIGHTS_FOLDER / "default.safetensors"), load_network(trained)
    for key, value in shipped.backbone.state_dict().items():
        assert torch.equal(network.backbone.state_dict()[key], value), key


def test_every_part_of_the_head_was_trained(trained: Path, recipe: LiteRecipe) -> None:
    before = recipes.build_network(recipe, None).head.state_dict()
    after = load_network(trained).head.state_dict()
    weights = [key for key in before if key.endswith(".weight")]
    assert len(weights) > 10
    assert [key for key in weights if torch.equal(before[key].half().float(), after[key])] == []


@pytest.mark.parametrize("stop", [1, 4])
def test_an_interrupted_run_ends_with_the_same_network(
    trained: Path, recipe: LiteRecipe, data: RecipeData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """A hard Ctrl-C in step 1 or 4, after its energies were computed; then the same with resume, and a data worker."""

    class Interrupted(TrainingStep):
        calls = 0

        def forward(self, sample: Sample) -> Tensor:
            losses = super().forward(sample)
            Interrupted.calls += 1
            if Interrupted.calls == stop:
                raise KeyboardInterrupt
            return losses

    with monkeypatch.context() as patch:
        patch.setattr(recipes, "TrainingStep", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("lite", recipe, data, tmp_path, workers=0)
    assert (tmp_path / "last.pt").is_file() == (stop > 1) and not (tmp_path / "network.safetensors").exists()
    resumed = run("lite", recipe, data, tmp_path, workers=1, resume=True)
    assert resumed is not None
    network, unbroken = load_network(resumed).state_dict(), load_network(trained).state_dict()
    assert network.keys() == unbroken.keys()
    assert all(torch.equal(network[key], unbroken[key]) for key in unbroken)
    losses = [[(row["step"], row["loss"]) for row in rows(path / "log.csv")] for path in (tmp_path, trained.parent)]
    assert losses[0] == losses[1] and len(losses[0]) == 4
    assert rows(tmp_path / "evaluation.csv") == rows(trained.parent / "evaluation.csv")


def test_a_finished_run_that_is_resumed_writes_its_network_again(
    trained: Path, recipe: LiteRecipe, data: RecipeData
) -> None:
    before, scores = load_network(trained).state_dict(), read_provenance(trained)["held_out"]
    trained.unlink()
    assert run("lite", recipe, data, trained.parent, workers=0, resume=True) == trained
    assert all(torch.equal(value, before[key]) for key, value in load_network(trained).state_dict().items())
    assert read_provenance(trained)["held_out"] == pytest.approx(scores)


def test_a_folder_that_holds_a_run_is_refused(trained: Path, recipe: LiteRecipe, data: RecipeData) -> None:
    before = (trained.parent / "last.pt").read_bytes()
    with pytest.raises(ValueError, match="already holds a run .*--resume"):
        run("lite", recipe, data, trained.parent, workers=0)
    assert (trained.parent / "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sigmas": (0.1,)}, r"sigmas \(0.05, 0.5\) \(now \(0.1,\)\)"),
        ({"seed": 5}, r"loop.seed 4 \(now 5\)"),
        ({"objective": "kl"}, r"objective 'nll' \(now 'kl'\)"),
    ],
)
def test_another_recipe_does_not_go_on_in_the_same_folder(
    trained: Path, recipe: LiteRecipe, data: RecipeData, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=f"other settings: {named}"):
        run("lite", replace(recipe, **changes), data, trained.parent, workers=0, resume=True)


def test_the_same_recipe_with_other_data_does_not_go_on(trained: Path, recipe: LiteRecipe, data: RecipeData) -> None:
    other = data._replace(facts={**data.facts, "photos": [90, 10]})
    with pytest.raises(ValueError, match=r"data.photos \[21, 3\] \(now \[90, 10\]\)"):
        run("lite", recipe, other, trained.parent, workers=0, resume=True)
    with pytest.raises(ValueError, match="recipe 'lite' .now 'folder'"):
        run("folder", recipe, data, trained.parent, workers=0, resume=True)


# The data ------------------------------------------------------------------------------------------------------------


def test_pairs_are_made_of_the_training_photos(recipe: LiteRecipe, photos: Path, paths: Paths) -> None:
    training, held_out = lite.read_photos(photos)
    data = lite.open_data(recipe, paths(photos=photos))
    assert len(data.pairs) == 8 and len(data.held_out) == 2  # type: ignore[arg-type]
    for number in (0, 7):
        assert same(data.pairs[number], PairMaker(training, PAIRS).make(np.random.default_rng((4, number))))
    for number in (0, 1):
        assert same(data.held_out[number], PairMaker(held_out, PAIRS).make(np.random.default_rng((1, number))))
    assert data.facts == {"photos": [21, 3], "pair_settings": asdict(PAIRS)}


def test_held_out_pairs_are_always_the_same(recipe: LiteRecipe, photos: Path, bank: Path, paths: Paths) -> None:
    ours = lite.open_data(recipe, paths(photos=photos)).held_out
    others = lite.open_data(replace(recipe, seed=9), paths(photos=photos, bank=bank)).held_out
    assert all(same(a, b) for a, b in zip(ours, others, strict=True))


def test_a_bank_gives_the_pairs(recipe: LiteRecipe, photos: Path, bank: Path, paths: Paths) -> None:
    data = lite.open_data(recipe, paths(photos=photos, bank=bank))
    assert len(data.pairs) == 8  # type: ignore[arg-type]
    assert data.facts["bank"] == {"pairs": BANK_PAIRS, "seed": BANK_SEED}
    stored = PairBank(bank)
    training, _ = lite.read_photos(photos)
    assert same(stored[3], PairMaker(training, PAIRS).make(np.random.default_rng((BANK_SEED, 3))))
    drawn = [
        {i for i in range(BANK_PAIRS) if same(data.pairs[n], stored[i]) or same(data.pairs[n], mirrored(stored[i]))}
        for n in range(8)
    ]
    assert all(len(found) == 1 for found in drawn)
    assert set.union(*drawn[:BANK_PAIRS]) == set(range(BANK_PAIRS))


def test_a_bank_of_other_photos_is_refused(recipe: LiteRecipe, bank: Path, paths: Paths, tmp_path: Path) -> None:
    draw_miniature(tmp_path, count=12)
    with pytest.raises(BankError, match="was made from other photos or with other settings: .*'photos': 21"):
        lite.open_data(recipe, paths(photos=tmp_path, bank=bank))


def test_a_bank_of_as_many_other_photos_is_refused(
    recipe: LiteRecipe, photos: Path, bank: Path, paths: Paths, tmp_path: Path
) -> None:
    """A held-out photo among the training ones would not show in the count."""
    shutil.copytree(photos, tmp_path / "renamed")
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        home = next((tmp_path / "renamed").rglob(folder))
        first = sorted(home.glob(f"*.{suffix}"))[1]
        first.rename(home / f"zz.{suffix}")
    with pytest.raises(BankError, match="was made from other photos"):
        lite.open_data(recipe, paths(photos=tmp_path / "renamed", bank=bank))


@pytest.mark.parametrize("change", [{"gray": 0.5}, {"crop_size": 256}])
def test_a_bank_of_other_settings_is_refused(
    recipe: LiteRecipe, photos: Path, bank: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setattr(lite, "PAIRS", replace(PAIRS, **change))
    with pytest.raises(BankError, match=f"{bank}.* with other settings"):
        lite.open_data(recipe, paths(photos=photos, bank=bank))


def test_a_bank_of_other_things_is_refused(recipe: LiteRecipe, photos: Path, paths: Paths, tmp_path: Path) -> None:
    training, _ = lite.read_photos(photos)
    make_bank(tmp_path, PairDataset(PairMaker(training, PAIRS), 1, 0), 1, {"frames": 3})
    with pytest.raises(BankError, match="was made from other photos"):
        lite.open_data(recipe, paths(photos=photos, bank=tmp_path))
    with pytest.raises(BankError, match="holds no bank"):
        lite.open_data(recipe, paths(photos=photos, bank=photos))


def test_photos_must_be_set(recipe: LiteRecipe, paths: Paths) -> None:
    with pytest.raises(SettingsError, match="give --data photos=PATH, set EBM_DATA_PHOTOS, or write photos under"):
        lite.open_data(recipe, paths())


def test_photos_of_every_layout_are_read(tmp_path: Path, photos: Path) -> None:
    """`ebm data cutouts` builds images and masks directly; ECSSD and COCO128 lie in folders of their own."""
    assert [len(part) for part in lite.read_photos(photos)] == [21, 3]
    with pytest.raises(FileNotFoundError, match="holds neither ecssd/ nor coco128/, nor images/ and masks/"):
        lite.read_photos(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds neither"):
        lite.read_photos(tmp_path / "none")
    for folder in ("images", "det_labels", "seg_labels"):
        (tmp_path / "coco128" / folder).mkdir(parents=True)
    for number in range(11):
        Image.new("RGB", (160, 120), (20 * number, 90, 30)).save(tmp_path / f"coco128/images/{number:012}.jpg")
        (tmp_path / f"coco128/det_labels/{number:012}.txt").write_text("3 0.5 0.5 0.4 0.5\n")
    training, held_out = lite.read_photos(tmp_path)
    assert [photo.name for photo in held_out] == ["coco128/000000000000", "coco128/000000000010"]
    draw_miniature(tmp_path / "ecssd", count=12)
    training, held_out = lite.read_photos(tmp_path)
    names = [f"ecssd/{i:04}" for i in range(12)] + [f"coco128/{i:012}" for i in range(11)]
    assert [photo.name for photo in held_out] == names[::10]
    assert [photo.name for photo in training] == [name for i, name in enumerate(names) if i % 10]
    draw_miniature(tmp_path / "more", count=3)
    (tmp_path / "more/images").rename(tmp_path / "images")
    (tmp_path / "more/masks").rename(tmp_path / "masks")
    assert sum(len(part) for part in lite.read_photos(tmp_path)) == 26
