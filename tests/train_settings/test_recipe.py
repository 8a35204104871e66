"""What every recipe shares, on pairs of noise."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import Dataset

from ebm_tracker.build import WEIGHTS_FOLDER
from ebm_tracker.errors import EbmError, WeightsError
from ebm_tracker.models import EnergyHead, EnergyNetwork, HeadChannels, load_network, save_network
from ebm_tracker.models.backbone import build_backbone, fold_batch_norms
from ebm_tracker.models.checkpoint import read_provenance, sha256_of
from ebm_tracker.train_settings import recipe as recipes
from ebm_tracker.train_settings.recipe import (
    RECIPES,
    Recipe,
    RecipeData,
    RecipeError,
    build_backbone_for,
    build_network,
    change,
    load_recipe,
    loop_settings,
    objective_of,
    run,
)
from ebm_tracker.training.checkpoint import flat_settings, load_state, load_trained
from ebm_tracker.training.heldout import HeldOutPairs
from ebm_tracker.training.pairs import Pair

SHIPPED = WEIGHTS_FOLDER / "default.safetensors"
LITE, RESNET = "efficientnet_lite0", "resnet18"


class Noise(Dataset[Pair]):
    """Images of 64 pixels; pair ``number`` is always the same."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Pair:
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        images = torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8)
        corners, sides = torch.rand(2, 2, 2, generator=generator)
        boxes = torch.cat((10 + 10 * corners, 15 + 20 * sides), dim=1)
        return Pair(images[0], boxes[0], images[1], boxes[1])


def noise(recipe: Recipe) -> RecipeData:
    held_out = Noise(recipe.held_out_pairs, 1)
    return RecipeData(
        Noise(recipe.steps * recipe.batch_size, 0), [held_out[i] for i in range(len(held_out))], {"made": "up"}
    )


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Files as the backbones come in, with other weights."""
    folder = tmp_path_factory.mktemp("imagenet")
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), folder / "resnet18.pth")
    torch.save(build_backbone(LITE).state_dict(), folder / "lite0.pth")
    return {RESNET: folder / "resnet18.pth", LITE: folder / "lite0.pth"}


def has_batch_norms(module: nn.Module) -> bool:
    return any(isinstance(part, nn.BatchNorm2d) for part in module.modules())


# The fields ----------------------------------------------------------------------------------------------------------


def another(value: Any) -> tuple[str, Any]:
    """A text for --set, and the value that it means."""
    if isinstance(value, bool):
        return ("False" if value else "true"), not value
    if isinstance(value, tuple):
        texts, values = zip(*[another(part) for part in value], strict=True)
        return ",".join(texts), values
    if isinstance(value, str):
        return "another", "another"
    return (str(value + 3), value + 3) if isinstance(value, int) else (f"{value + 0.25!r}", value + 0.25)


@pytest.mark.parametrize("name", RECIPES)
def test_set_changes_every_field_and_no_other(name: str) -> None:
    recipe = load_recipe(name).RECIPE
    kinds = set()
    for field in fields(recipe):
        before = getattr(recipe, field.name)
        text, value = another(before)
        changed = change(recipe, [f"{field.name}={text}"])
        assert type(changed) is type(recipe) and getattr(changed, field.name) == value != before
        assert type(getattr(changed, field.name)) is type(before)
        assert replace(changed, **{field.name: before}) == recipe
        kinds.add(type(before))
    assert kinds == {int, float, str, bool, tuple}


def test_set_takes_several_and_the_last_counts() -> None:
    texts = ["steps=7", "learning_rate=1e-4", "sigmas=0.1", "maps=64,32", "ship_backbone=TRUE", "steps=9"]
    recipe = change(Recipe(), texts)
    expected = {"steps": 9, "learning_rate": 1e-4, "sigmas": (0.1,), "maps": (64, 32), "ship_backbone": True}
    assert recipe == replace(Recipe(), **expected)
    assert all(isinstance(part, int) for part in recipe.maps)
    assert change(Recipe(), ["milestones="]).milestones == ()
    assert change(Recipe(), []) == Recipe()
    assert change(Recipe(), ["objective=a=b"]).objective == "a=b"


@pytest.mark.parametrize("name", RECIPES)
def test_an_unknown_key_lists_the_known_ones(name: str) -> None:
    recipe = load_recipe(name).RECIPE
    with pytest.raises(RecipeError, match="^--set step=7: unknown key; known: objective, samples, .*seed") as caught:
        change(recipe, ["seed=1", "step=7"])
    assert all(field.name in str(caught.value) for field in fields(recipe))
    assert ("max_gap" in str(caught.value)) == (name != "lite")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("ship_backbone=yes", "true or false"),
        ("ship_backbone=1", "true or false"),
        ("steps=many", "a whole number"),
        ("steps=1e3", "a whole number"),
        ("steps", "a whole number"),
        ("learning_rate=1e-3x", "a number"),
        ("sigmas=a,b", "numbers, separated by commas"),
        ("sigmas=0.1,,0.2", "numbers, separated by commas"),
        ("maps=64", "2 whole numbers, separated by commas"),
        ("maps=64,32,16", "2 whole numbers, separated by commas"),
        ("maps=64.0,32", "2 whole numbers, separated by commas"),
        ("step_lengths=", "2 numbers, separated by commas"),
    ],
)
def test_values_of_another_kind_are_refused(text: str, allowed: str) -> None:
    key, _, value = text.partition("=")
    with pytest.raises(RecipeError) as caught:
        change(Recipe(), [text])
    assert str(caught.value) == f"--set {text}: {key} takes {allowed} (got {value!r})"


def test_every_recipe_is_found_and_others_are_not() -> None:
    for name in RECIPES:
        module = load_recipe(name)
        assert isinstance(module.RECIPE, Recipe) and callable(module.open_data)
        objective_of(module.RECIPE)
        loop_settings(module.RECIPE, workers=0)
    for name in ("recipe", "Lite", "", "../lite"):
        with pytest.raises(RecipeError, match=f"there is no recipe {name!r}; known: lite, ebm_tracking"):
            load_recipe(name)


def test_the_loop_gets_the_recipes_numbers() -> None:
    recipe = Recipe(steps=50, accumulate=2, average=0.5, milestones=(0.3, 0.65), precision="bfloat16", seed=3, warmup=4)
    settings = loop_settings(recipe, workers=2)
    assert settings.milestones == (15, 32)
    assert (settings.accumulation, settings.average_decay, settings.workers, settings.best) == (2, 0.5, 2, "iou")
    for name in ("steps", "batch_size", "learning_rate", "schedule", "decay", "floor", "warmup", "clip_norm"):
        assert getattr(settings, name) == getattr(recipe, name)
    for name in ("sync_batch_norm", "precision", "seed", "log_every", "evaluate_every", "checkpoint_every"):
        assert getattr(settings, name) == getattr(recipe, name)


def test_whatever_decides_the_result_decides_whether_a_run_goes_on() -> None:
    def deciding(recipe: Recipe) -> dict[str, str]:
        return flat_settings(recipes._deciding(recipe)) | flat_settings(loop_settings(recipe, 0).deciding(), "loop.")

    valid = {"schedule": "steps", "precision": "bfloat16"}
    base = Recipe(schedule="cosine")
    free = set()
    for field in fields(Recipe):
        changed = replace(base, **{field.name: valid.get(field.name, another(getattr(base, field.name))[1])})
        assert changed != base
        if deciding(changed) == deciding(base):
            free.add(field.name)
    assert free == {"log_every", "evaluate_every", "checkpoint_every", "epoch_steps", "ship_backbone"}


# The network ---------------------------------------------------------------------------------------------------------


def test_the_shipped_backbone_is_taken_where_it_fits(tiny: Callable[..., Any], imagenet: Mapping[str, Path]) -> None:
    shipped = load_network(SHIPPED).backbone.state_dict()
    ours = build_backbone_for(tiny(Recipe(), backbone=LITE), None).state_dict()
    assert ours.keys() == shipped.keys() and all(torch.equal(ours[key], shipped[key]) for key in shipped)
    images = torch.rand(1, 3, 64, 64) * 255
    given = build_backbone(LITE)
    given.load_state_dict(torch.load(imagenet[LITE], weights_only=True))
    ours_given = build_backbone_for(Recipe(backbone=LITE), imagenet[LITE])
    for own, theirs in zip(ours_given(images), given(images), strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-5)


def test_batch_norms_that_move_are_not_folded(imagenet: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in imagenet.items():
        assert not has_batch_norms(build_backbone_for(Recipe(backbone=name), file))
        assert has_batch_norms(build_backbone_for(Recipe(backbone=name, batch_norm="train"), file))
    monkeypatch.delenv("EBM_BACKBONE_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match="needs a weights file"):  # the shipped one has none left
        build_backbone_for(Recipe(backbone=LITE, batch_norm="train"), None)


def test_the_environment_names_the_backbones_weights(
    imagenet: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBM_BACKBONE_WEIGHTS", str(imagenet[RESNET]))
    weight = torch.load(imagenet[RESNET], weights_only=True)["conv1.weight"]
    backbone: Any = build_backbone_for(Recipe(batch_norm="train"), None)
    assert torch.equal(backbone.stage8[0][0].weight, weight)
    shipped: Any = load_network(SHIPPED).backbone
    fits_not: Any = build_backbone_for(Recipe(backbone=LITE), None)
    assert torch.equal(fits_not.stage8[0][0].weight, shipped.stage8[0][0].weight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_norm": "frozen"}, r"batch_norm must be one of eval, train \(got 'frozen'\)"),
        ({"backbone": "vgg"}, "unknown backbone 'vgg'; known: efficientnet_lite0, mobilenet_v2, resnet18"),
        ({"objective": "mse"}, "objective must be one of nll, .*'mse'"),
        ({"precision": "int8"}, "precision must be one of float32, .*'int8'"),
        ({"batch_norm": "train", "ship_backbone": False}, "batch_norm=train .* needs ship_backbone=true"),
        ({"held_out_pairs": 0}, "at least one pair"),
        ({"schedule": "linear"}, "schedule must be one of steps, cosine"),
        ({"batch_size": 1}, r"batch_size must be at least 2 with accumulate=1 and 1 processes \(got 1\)"),
        ({"batch_size": 6, "accumulate": 6}, r"batch_size must be at least 12 with accumulate=6"),
        ({"maps": (0, 8)}, r"maps must be two numbers of channels, at least 1 \(got \(0, 8\)\)"),
    ],
)
def test_settings_that_make_no_run_are_one_sentence(
    tiny: Callable[..., Any], imagenet: Mapping[str, Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    recipe = tiny(Recipe(), **changes)
    with pytest.raises((EbmError, ValueError), match=message) as caught:
        run("x", recipe, noise(recipe), tmp_path / "out", backbone_weights=imagenet[RESNET], workers=0)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_a_new_head_follows_from_the_seed(tiny: Callable[..., Any], imagenet: Mapping[str, Path]) -> None:
    recipe = tiny(Recipe())
    first, again, other = (build_network(replace(recipe, seed=s), imagenet[RESNET]).head for s in (0, 0, 1))
    torch.manual_seed(0)
    expected = EnergyHead(HeadChannels((128, 256), (4, 4), (8, 8), (8, 8))).state_dict()
    assert all(torch.equal(first.state_dict()[key], value) for key, value in expected.items())
    assert all(torch.equal(again.state_dict()[key], value) for key, value in expected.items())
    assert any(not torch.equal(other.state_dict()[key], value) for key, value in expected.items())


def test_the_network_lies_in_memory_as_convolutions_like_it(tiny: Callable[..., Any]) -> None:
    network = build_network(tiny(Recipe(), backbone=LITE), None)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in network.parameters() if p.dim() == 4)
    assert all(p.requires_grad == key.startswith("head.") for key, p in network.named_parameters())


def saved_network(path: Path, backbone: str = LITE, maps: tuple[int, int] = (8, 8), include: bool = True) -> Path:
    torch.manual_seed(5)
    channels = {LITE: (40, 112), RESNET: (128, 256)}[backbone]
    head = EnergyHead(HeadChannels(channels, (4, 4), maps, (8, 8)))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.uniform_(-1, 1)
    save_network(EnergyNetwork(build_backbone(backbone, folded=True), head), path, {}, include_backbone=include)
    return path


def test_a_run_may_start_from_another_networks_head(tiny: Callable[..., Any], tmp_path: Path) -> None:
    initial = saved_network(tmp_path / "start.safetensors")
    network = build_network(tiny(Recipe(), backbone=LITE), None, initial)
    head = load_network(initial).head.state_dict()
    assert all(torch.equal(network.head.state_dict()[key], value) for key, value in head.items())
    shipped = load_network(SHIPPED).backbone.state_dict()  # the backbone is the recipe's, not the file's
    assert all(torch.equal(network.backbone.state_dict()[key], value) for key, value in shipped.items())


@pytest.mark.parametrize("name", ["lite", "folder"])
def test_the_shipped_head_fits_the_recipes_of_its_backbone(name: str) -> None:
    """`--initial default`."""
    network, shipped = build_network(load_recipe(name).RECIPE, None, SHIPPED), load_network(SHIPPED)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in shipped.state_dict().items())


def test_a_file_with_a_head_alone_is_a_start_too(
    tiny: Callable[..., Any], imagenet: Mapping[str, Path], tmp_path: Path
) -> None:
    initial = saved_network(tmp_path / "start.safetensors", RESNET, include=False)
    network = build_network(tiny(Recipe()), imagenet[RESNET], initial)
    head = load_network(initial, backbone_weights=imagenet[RESNET]).head.state_dict()
    assert all(torch.equal(network.head.state_dict()[key], value) for key, value in head.items())


@pytest.mark.parametrize(("backbone", "maps"), [(LITE, (8, 16)), (RESNET, (8, 8))])
def test_a_head_of_another_shape_is_refused(
    tiny: Callable[..., Any], tmp_path: Path, backbone: str, maps: tuple[int, int]
) -> None:
    initial = saved_network(tmp_path / "start.safetensors", backbone, maps)
    with pytest.raises(RecipeError, match="start.safetensors has a head of HeadChannels.*, the recipe one of HeadCh"):
        build_network(tiny(Recipe(), backbone=LITE), None, initial)
    with pytest.raises(WeightsError, match="network file not found"):
        build_network(tiny(Recipe(), backbone=LITE), None, tmp_path / "none.safetensors")


def test_the_start_is_named_and_decides(tiny: Callable[..., Any], tmp_path: Path) -> None:
    initial = saved_network(tmp_path / "start.safetensors")
    recipe = tiny(Recipe(), backbone=LITE, learning_rate=0.0, ship_backbone=True)
    path = run("x", recipe, noise(recipe), tmp_path / "out", initial=initial, workers=0)
    assert path is not None
    assert read_provenance(path)["initial"] == sha256_of(initial)
    start, end = (dict(load_network(p).head.named_parameters()) for p in (initial, path))
    assert all(torch.equal(value, end[key]) for key, value in start.items())  # the rate was 0
    with pytest.raises(ValueError, match="other settings: initial .*now None"):
        run("x", recipe, noise(recipe), tmp_path / "out", workers=0, resume=True)


# What is written -----------------------------------------------------------------------------------------------------


def features(network: EnergyNetwork) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(9)
    return network.features(torch.randint(0, 256, (2, 3, 64, 64), generator=generator, dtype=torch.uint8))


def distance(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> float:
    """Largest over the two maps of the root mean square difference, as a share of their spread."""
    return max(float((a - b).square().mean().sqrt() / a.std()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("backbone", [RESNET, LITE])
@pytest.mark.parametrize("average", [0.0, 0.5])
def test_a_backbone_whose_norms_moved_is_written_as_it_became(
    tiny: Callable[..., Any], imagenet: Mapping[str, Path], tmp_path: Path, backbone: str, average: float
) -> None:
    """Folding takes the moved statistics (their average where the run keeps one); only rounding lies between."""
    recipe = tiny(Recipe(), backbone=backbone, batch_norm="train", ship_backbone=True, average=average)
    path = run("x", recipe, noise(recipe), tmp_path, backbone_weights=imagenet[backbone], workers=0)
    assert path is not None
    start = build_network(recipe, imagenet[backbone]).eval()
    trained = copy.deepcopy(start)
    assert load_trained(tmp_path / "last.pt", trained) == 3
    written = features(load_network(path))
    assert distance(features(trained), written) < 0.005
    assert distance(features(start), written) > 0.1
    if average:
        last = copy.deepcopy(start)
        last.load_state_dict(load_state(tmp_path / "last.pt")["module"])
        assert distance(features(last), written) > 0.02
    fold_batch_norms(trained.backbone)
    expected = trained.state_dict()
    for key, value in load_network(path).state_dict().items():
        assert torch.equal(value, expected[key].half().float()) or key.endswith("num_batches_tracked"), key


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_the_average_is_written_where_there_is_one(tiny: Callable[..., Any], tmp_path: Path, average: float) -> None:
    recipe = tiny(Recipe(), backbone=LITE, average=average, ship_backbone=True)
    path = run("x", recipe, noise(recipe), tmp_path, workers=0)
    assert path is not None
    state = load_state(tmp_path / "last.pt")
    written = load_network(path).head.state_dict()
    names = [key for key in written if not key.endswith("num_batches_tracked")]

    def holds(stored: Mapping[str, Tensor]) -> bool:
        return all(torch.equal(written[key], stored[key].half().float()) for key in names)

    assert len(names) > 20
    if average:
        assert holds(state["average"]) and not holds(state["module"])
    else:
        assert holds(state["module"]) and state["average"] is None


def test_the_written_network_scores_as_the_run_says(tiny: Callable[..., Any], tmp_path: Path) -> None:
    """Rounding to float16 is all that lies between."""
    recipe = tiny(Recipe(), backbone=LITE, average=0.5, held_out_pairs=3, ship_backbone=True)
    data = noise(recipe)
    path = run("x", recipe, data, tmp_path, workers=0)
    assert path is not None
    network, pairs = load_network(path), HeldOutPairs(data.held_out)
    gain = pairs.refinement(network, recipe.step_lengths)
    expected = {"loss": pairs.loss(network, objective_of(recipe)), **asdict(gain)}
    assert read_provenance(path)["held_out"] == pytest.approx(expected, abs=0.01)
    assert read_provenance(path)["data"] == {"made": "up"}


def test_a_head_alone_is_written_without_its_backbone(
    tiny: Callable[..., Any], imagenet: Mapping[str, Path], tmp_path: Path
) -> None:
    recipe = tiny(Recipe())
    path = run("x", recipe, noise(recipe), tmp_path, backbone_weights=imagenet[RESNET], workers=0)
    assert path is not None and path.stat().st_size < 300_000
    network = load_network(path, backbone_weights=imagenet[RESNET])
    assert distance(features(build_network(recipe, imagenet[RESNET])), features(network)) == 0
    head = load_state(tmp_path / "last.pt")["module"]
    assert all(torch.equal(value, head[key].half().float()) for key, value in network.head.named_parameters())


def test_a_network_of_a_diverged_run_is_not_written(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(Recipe(), backbone="efficientnet_lite0")
    monkeypatch.setattr("ebm_tracker.training.heldout.HeldOutPairs.loss", lambda *_: float("nan"))
    with pytest.raises(FloatingPointError, match="held-out scores of the last step are .*nan.*no network is written"):
        run("x", recipe, noise(recipe), tmp_path / "out", workers=0)
    assert not (tmp_path / "out" / "network.safetensors").exists()


def test_a_finished_run_that_goes_on_does_not_score_again(
    tiny: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(Recipe(), backbone="efficientnet_lite0")
    path = run("x", recipe, noise(recipe), tmp_path / "out", workers=0)
    assert path is not None
    before = read_provenance(path)["held_out"]
    monkeypatch.setattr("ebm_tracker.training.heldout.HeldOutPairs.loss", lambda *_: 99.0)
    again = run("x", recipe, noise(recipe), tmp_path / "out", workers=0, resume=True)
    assert again == path and read_provenance(path)["held_out"] == before
