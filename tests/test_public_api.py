"""The inventory of public names: a name that vanishes, or a signature that changes, fails here."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

# Package -> names that users may rely on. Adding a name here is a promise; taking one away is a break.
PUBLIC = {
    "ebm_tracker": {
        "EbmError",
        "MultiTracker",
        "Status",
        "TrackOutput",
        "Tracker",
        "__version__",
        "load",
        "load_multi",
    },
    "ebm_tracker.errors": {"EbmError", "PresetError", "VideoError", "WeightsError"},
    "ebm_tracker.adapters.detection": {
        "BoxDensity",
        "BoxHead",
        "BoxParameters",
        "ConfidenceBranch",
        "ConfidenceStep",
        "Coordinates",
        "DetectionDataError",
        "DetectionImages",
        "Detections",
        "DetectorStep",
        "EdgeCoverage",
        "EnergyDetector",
        "FrozenDetector",
        "GaussianBoxHead",
        "HeadStep",
        "IOU_NET",
        "IOU_NET_STAR",
        "ImageEnergy",
        "ImageExample",
        "LaplaceBoxHead",
        "MixtureBoxes",
        "OURS",
        "Pyramid",
        "RefineSettings",
        "RefinedBoxes",
        "RegionExample",
        "RegionSampling",
        "Regions",
        "SmallSettings",
        "Temperature",
        "TrainingImages",
        "Trial",
        "UniformIouBoxes",
        "detector_names",
        "fit_branch",
        "fit_temperature",
        "guided_nms",
        "images_of",
        "load_branch",
        "load_detector",
        "measure_coverage",
        "objects_of",
        "open_detection_images",
        "pad_together",
        "predict_density",
        "refine",
        "refine_boxes",
        "sample_regions",
        "search_steps",
        "small_detector",
        "step_grid",
    },
    "ebm_tracker.adapters.regression": {
        "DirectHead",
        "EnergyRegressor",
        "EnergyStep",
        "EpochDataset",
        "Example",
        "FitSettings",
        "GaussianHead",
        "GridDensity",
        "HEADS",
        "Head",
        "HeadRegressor",
        "HeadStep",
        "JointLaplaceHead",
        "LaplaceHead",
        "LogScore",
        "OBJECTIVES",
        "RefineSettings",
        "RegressionEnergy",
        "SampledDensity",
        "SoftmaxHead",
        "calibration_curve",
        "coverage",
        "direct_huber",
        "direct_l2",
        "fit",
        "gaussian_loss",
        "given",
        "interval_score",
        "joint_laplace_loss",
        "laplace_loss",
        "log_score",
        "mean_width",
        "mlp",
        "on_columns",
        "pit_distance",
        "refine",
        "seeded",
        "softmax_loss",
    },
    "ebm_tracker.energy": {
        "GaussianMixture",
        "ascend",
        "ascend_until_flat",
        "importance_kl",
        "importance_nll",
        "iou_mse",
        "log_partition",
        "nce",
    },
    "ebm_tracker.evaluation": {
        "Scores",
        "TrackingSequence",
        "overlaps",
        "read_boxes",
        "score_boxes",
        "track_sequence",
    },
    "ebm_tracker.evaluation.benchmark": {
        "Engine",
        "ProcessEngine",
        "SerialEngine",
        "Summary",
        "TrackerFactory",
        "default_runs",
        "read_manifest",
        "run_benchmark",
    },
    "ebm_tracker.evaluation.bootstrap": {"Difference", "bootstrap_difference"},
    "ebm_tracker.evaluation.datasets.benchmark": {"Benchmark", "BenchmarkError"},
    "ebm_tracker.evaluation.datasets.registry": {"DATASET_NAMES", "dataset_of", "open_benchmark"},
    "ebm_tracker.evaluation.published": {"PublishedRow", "published_rows"},
    "ebm_tracker.evaluation.report": {"Report", "gather_report", "write_report"},
    "ebm_tracker.evaluation.result_tree": {
        "BoxFormat",
        "ResultError",
        "find_results",
        "read_result",
        "run_folder",
        "write_result",
    },
    "ebm_tracker.evaluation.scoring": {"FLAVOURS", "TrackerScores", "flavour", "score_tracker"},
    "ebm_tracker.models.pytracking_checkpoint": {"convert_checkpoint", "load_pytracking_network"},
    "ebm_tracker.models.pytracking_export": {"export_network"},
    "ebm_tracker.plugin.params": {"PluginParams", "preset_parameters"},
    "ebm_tracker.plugin.tracker": {"EbmTracker", "get_tracker_class"},
    "ebm_tracker.video": {"FrameFolder", "FrameSource", "VideoFile", "VideoWriter"},
    "ebm_tracker.frames": {"to_rgb_uint8"},
    "ebm_tracker.cli": {"build_parser", "main"},
    "ebm_tracker.settings": {"Settings", "SettingsError"},
    "ebm_tracker.training": {
        "Candidates",
        "HeldOutPairs",
        "LoopSettings",
        "OBJECTIVES",
        "Objective",
        "Pair",
        "PairBank",
        "PairDataset",
        "PairMaker",
        "PairSettings",
        "PairSource",
        "Photo",
        "Processes",
        "Sample",
        "SampleDataset",
        "ShuffledPairs",
        "Training",
        "TrainingStep",
        "build_objective",
        "joined_processes",
        "load_coco128",
        "load_ecssd",
        "load_trained",
        "make_bank",
        "score_pairs",
        "split_photos",
    },
    "ebm_tracker.training.data": {
        "AnnotatedVideo",
        "CropSettings",
        "DataSetError",
        "FolderSet",
        "FramePairs",
        "FrameReadError",
        "Frames",
        "PairSampler",
        "SamplerSettings",
        "SequenceSet",
        "decode_image",
        "open_coco",
        "open_got10k",
        "open_lasot",
        "open_set",
        "open_trackingnet",
        "verify_set",
    },
    "ebm_tracker.train_settings.recipe": {"Paths", "Recipe", "RecipeData", "RecipeError", "load_recipe", "run"},
    "ebm_tracker.train_settings.video_recipe": {"PaperRecipe", "VideoRecipe", "data_of"},
}
RECIPES = ("atom", "atom_star", "ebm_tracking", "folder", "lite")
PACKAGES = (
    "ebm_tracker",
    "ebm_tracker.cli",
    "ebm_tracker.energy",
    "ebm_tracker.evaluation",
    "ebm_tracker.models",
    "ebm_tracker.parameters",
    "ebm_tracker.tracking",
    "ebm_tracker.training",
    "ebm_tracker.training.data",
)


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_there(module: str) -> None:
    imported = importlib.import_module(module)
    missing = {name for name in PUBLIC[module] if not hasattr(imported, name)}
    assert not missing


@pytest.mark.parametrize("package", PACKAGES)
def test_all_lists_what_is_there_and_documented(package: str) -> None:
    module = importlib.import_module(package)
    names = module.__all__
    assert len(set(names)) == len(names)
    assert PUBLIC.get(package, set()) <= set(names)
    for name in names:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            text = inspect.getdoc(value) or ""
            assert text and not text.startswith(f"{name}("), f"{package}.{name} has no docstring of its own"
        if inspect.isclass(value):
            assert not undocumented(value), f"{package}.{name}"


def undocumented(kind: type) -> list[str]:
    """Public methods and properties that the class itself defines without a docstring."""
    found = []
    for name, value in vars(kind).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        # A module's forward is described with its class: users call the module.
        if inspect.isfunction(function) and not name.startswith("_") and name != "forward" and not function.__doc__:
            found.append(name)
    return found


def test_undocumented_methods_are_seen() -> None:
    class Sample:
        def plain(self) -> None: ...

        @property
        def prop(self) -> int:
            return 0

        @classmethod
        def made(cls) -> None: ...

        def told(self) -> None:
            """With words."""

        def _own(self) -> None: ...

    assert undocumented(Sample) == ["plain", "prop", "made"]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_there(name: str) -> None:
    """Each is a module of its own with what ``ebm train`` asks for, and says what to expect of it."""
    from ebm_tracker.train_settings import recipe

    assert set(recipe.RECIPES) == set(RECIPES)
    module = recipe.load_recipe(name)
    assert isinstance(module.RECIPE, recipe.Recipe) and callable(module.open_data)
    assert f"ebm train {name} " in (inspect.getdoc(module) or "")


@pytest.mark.parametrize("name", ["atom", "atom_star", "ebm_tracking"])
def test_pytracking_settings_are_there(name: str) -> None:
    module = importlib.import_module(f"ebm_tracker.ltr_settings.{name}")
    assert list(inspect.signature(module.run).parameters) == ["settings"]


def test_training_keeps_its_signatures() -> None:
    from ebm_tracker import training
    from ebm_tracker.train_settings import recipe
    from ebm_tracker.training import data

    def parameters(function: object) -> list[str]:
        return list(inspect.signature(function).parameters)  # type: ignore[arg-type]

    assert parameters(training.Training)[:4] == ["step", "dataset", "settings", "folder"]
    assert inspect.signature(training.Training).parameters["trained"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters(training.build_objective) == ["name", "sigmas", "samples", "label_sigma", "beta"]
    assert training.OBJECTIVES == ("nll", "iou_mse", "iou_mse_atom", "kl", "nce", "nce_plus")
    assert training.Pair._fields == ("reference_image", "reference_box", "test_image", "test_box")
    assert training.Candidates._fields == ("boxes_xywh", "log_q")
    assert training.Sample._fields == ("pair", "candidates", "number")
    for reader in (data.open_trackingnet, data.open_lasot, data.open_got10k, data.open_coco):
        assert parameters(reader)[0] == "root"
    assert data.SET_NAMES == ("trackingnet", "lasot", "got10k", "coco", "folder")
    assert {"objective", "backbone", "steps", "batch_size", "seed"} <= set(recipe.Recipe.__dataclass_fields__)


def test_load_keeps_its_signature() -> None:
    import ebm_tracker

    parameters = inspect.signature(ebm_tracker.load).parameters
    defaults = {name: p.default for name, p in parameters.items()}
    assert list(defaults)[:3] == ["name", "device", "seed"]
    assert (defaults["name"], defaults["device"], defaults["seed"]) == ("default", "auto", 0)


def test_load_multi_takes_what_load_takes() -> None:
    import ebm_tracker

    one, several = (inspect.signature(function).parameters for function in (ebm_tracker.load, ebm_tracker.load_multi))
    assert {name: p.default for name, p in several.items()} == {name: p.default for name, p in one.items()}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("initialize", ["self", "frame", "boxes", "color"]),
        ("add", ["self", "frame", "object_id", "box_xywh", "color"]),
        ("remove", ["self", "object_id"]),
        ("track", ["self", "frame", "color"]),
    ],
)
def test_multi_tracker_keeps_its_signatures(method: str, expected: list[str]) -> None:
    import ebm_tracker

    parameters = inspect.signature(getattr(ebm_tracker.MultiTracker, method)).parameters
    assert list(parameters)[: len(expected)] == expected
    assert "color" not in expected or parameters["color"].default == "rgb"


@pytest.mark.parametrize(
    ("method", "expected"),
    [("initialize", ["self", "frame", "box_xywh", "color"]), ("track", ["self", "frame", "color"])],
)
def test_tracker_keeps_its_signatures(method: str, expected: list[str]) -> None:
    import ebm_tracker

    parameters = inspect.signature(getattr(ebm_tracker.Tracker, method)).parameters
    assert list(parameters)[: len(expected)] == expected
    assert parameters["color"].default == "rgb"
    extra = list(parameters.values())[len(expected) :]
    assert all(p.default is not inspect.Parameter.empty for p in extra)


def test_status_values() -> None:
    from ebm_tracker import Status

    assert {s.name: s.value for s in Status} == {
        "TRACKED": "tracked",
        "UNCERTAIN": "uncertain",
        "LOST": "lost",
    }


def test_output_fields() -> None:
    from ebm_tracker import TrackOutput

    assert {"box_xywh", "score", "status"} <= set(TrackOutput.__annotations__)


def test_errors_have_one_base_and_are_no_key_errors() -> None:
    from ebm_tracker import errors
    from ebm_tracker.annotations import AnnotationError
    from ebm_tracker.settings import SettingsError
    from ebm_tracker.train_settings.recipe import RecipeError
    from ebm_tracker.training import BankError
    from ebm_tracker.training.data import DataSetError, FrameReadError

    training_errors = (AnnotationError, BankError, DataSetError, FrameReadError, RecipeError, SettingsError)
    for error in (errors.PresetError, errors.VideoError, errors.WeightsError, *training_errors):
        assert issubclass(error, errors.EbmError) and not issubclass(error, KeyError)
        assert str(error("one sentence")) == "one sentence"


def test_import_does_no_work(tmp_path: Path) -> None:
    """No output, no file, no optional or unused heavy module, no changed thread count or random state."""
    script = (
        "import sys, os, torch\n"
        "before = torch.get_num_threads(), torch.random.get_rng_state().clone()\n"
        "import ebm_tracker, ebm_tracker.cli, ebm_tracker.training.data, ebm_tracker.train_settings.recipe\n"
        "import ebm_tracker.ltr_settings.ebm_tracking, ebm_tracker.cli.benchmark, ebm_tracker.adapters.regression\n"
        "assert torch.get_num_threads() == before[0]\n"
        "assert torch.equal(torch.random.get_rng_state(), before[1])\n"
        "heavy = {'cv2', 'skvideo', 'scipy', 'matplotlib', 'pytracking', 'ltr', 'simplejpeg', 'jpeg4py',"
        " 'tensorboard', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert os.listdir('.') == []\n"
    )
    command = [sys.executable, "-W", "error::UserWarning:ebm_tracker", "-c", script]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr
