"""Their run_training.py with our recipe on a tiny copy of the four data sets, to checkpoints that ours reads.

Needs a checkout (EBM_PYTRACKING) and what its training imports; works on a copy of it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from ebm_tracker.evaluation.synthetic import MovingTexture
from ebm_tracker.models import load_network
from ebm_tracker.models.pytracking_checkpoint import convert_checkpoint
from ebm_tracker.plugin.install import install

pytestmark = [pytest.mark.pytracking, pytest.mark.slow]
FRAMES, SIZE_WH = 24, (320, 240)
NEEDED = ("pandas", "timm", "pycocotools", "lvis", "scipy", "visdom", "jpeg4py", "matplotlib", "cv2")


def rows(boxes: list[tuple[float, ...]]) -> str:
    return "".join(",".join(f"{value:.1f}" for value in box) + "\n" for box in boxes)


def draw(folder: Path, name: str, seed: int, first: int = 1) -> list[tuple[float, ...]]:
    folder.mkdir(parents=True)
    video = MovingTexture(SIZE_WH, FRAMES, seed)
    for index, frame in enumerate(video):
        Image.fromarray(frame).save(folder / name.format(index + first), quality=90)
    return [tuple(map(float, video.box_xywh(index))) for index in range(FRAMES)]


def draw_sets(root: Path, checkout: Path) -> None:
    """LaSOT, GOT-10k, TrackingNet and COCO of a few sequences; the checkout's lists then name these."""
    for seed, name in enumerate(("cat-1", "cat-2", "dog-1"), 1):
        home = root / "lasot" / name.split("-")[0] / name
        (home / "groundtruth.txt").write_text(rows(draw(home / "img", "{:08}.jpg", seed)))
        for flags in ("full_occlusion.txt", "out_of_view.txt"):
            (home / flags).write_text(",".join("0" * FRAMES) + "\n")
    for seed in (4, 5, 6):
        home = root / "got10k" / f"GOT-10k_Train_{seed - 3:06}"
        (home / "groundtruth.txt").write_text(rows(draw(home, "{:08}.jpg", seed)))
        (home / "absence.label").write_text("0\n" * FRAMES)
        (home / "cover.label").write_text("8\n" * FRAMES)
    (root / "got10k/list.txt").write_text("".join(f"GOT-10k_Train_{i:06}\n" for i in (1, 2, 3)))
    for part in range(4):
        home = root / f"trackingnet/TRAIN_{part}"
        boxes = draw(home / f"frames/drawn{part}", "{}.jpg", 7 + part, first=0)
        (home / "anno").mkdir()
        (home / f"anno/drawn{part}.txt").write_text(rows(boxes))
    draw_coco(root / "coco")
    lists = checkout / "ltr/data_specs"
    (lists / "lasot_train_split.txt").write_text("cat-1\ncat-2\ndog-1\n")
    (lists / "got10k_vot_train_split.txt").write_text("0\n1\n")
    (lists / "got10k_vot_val_split.txt").write_text("2\n")
    with open(lists / "trackingnet_classmap.txt", "a") as file:
        file.writelines(f"drawn{part}\tthing\n" for part in range(4))


def draw_coco(home: Path) -> None:
    boxes = draw(home / "images/train2014", "COCO_train2014_{:012}.jpg", 11)
    names = [f"COCO_train2014_{index:012}.jpg" for index in range(1, FRAMES + 1)]
    images = [{"id": i, "file_name": n, "width": SIZE_WH[0], "height": SIZE_WH[1]} for i, n in enumerate(names, 1)]
    common = {"category_id": 1, "iscrowd": 0, "area": 100.0}
    marks = []
    for i, (x, y, w, h) in enumerate(boxes, 1):
        outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        marks.append({"id": i, "image_id": i, "bbox": [x, y, w, h], "segmentation": outline, **common})
    (home / "annotations").mkdir()
    content = {"info": {}, "images": images, "annotations": marks, "categories": [{"id": 1, "name": "thing"}]}
    (home / "annotations/instances_train2014.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not any(importlib.util.find_spec(name) for name in ("tensorboard", "tensorboardX")):
        missing.append("tensorboard")
    if missing:
        pytest.skip(f"training in pytracking needs {', '.join(missing)}")
    root = tmp_path_factory.mktemp("ltr")
    copy = root / "checkout"
    shutil.copytree(os.environ["EBM_PYTRACKING"], copy, ignore=shutil.ignore_patterns(".git", "__pycache__"))
    draw_sets(root, copy)
    paths = {"workspace_dir": "workspace", "tensorboard_dir": "tensorboard", "pretrained_networks": "none"}
    paths |= {f"{name}_dir": name for name in ("lasot", "got10k", "trackingnet", "coco")}
    lines = "".join(f"        self.{key} = {str(root / name)!r}\n" for key, name in paths.items())
    (copy / "ltr/admin/local.py").write_text(f"class EnvironmentSettings:\n    def __init__(self):\n{lines}")
    install(copy, True)
    return copy


@pytest.fixture(scope="module")
def train(checkout: Path) -> Callable[[int], str]:
    """``train(epochs)``: two steps of four pairs an epoch, two worker processes; goes on where it was."""
    backbone = checkout.parent / "resnet18.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), backbone)

    def run(epochs: int) -> str:
        fields = f"epochs={epochs} batches=2 batch_size=4 workers=2 validation_batches=1 validate_every=2 print_every=1"
        variables = {"EBM_LTR_SET": fields, "EBM_BACKBONE_WEIGHTS": str(backbone), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "ltr/run_training.py", "ebm", "ebm_tracking"],
            cwd=checkout,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    return run


def test_stock_training_to_checkpoints_that_ours_reads(train: Callable[[int], str], checkout: Path) -> None:
    output = train(1)
    assert "[train: 1, 2 / 2]" in output and "Loss/nll" in output
    folder = checkout.parent / "workspace/checkpoints/ltr/ebm/ebm_tracking"
    output = train(2)  # goes on
    assert "[train: 2, 2 / 2]" in output and "[train: 1," not in output and "[val: 2, 1 / 1]" in output
    networks = []
    for epoch in (1, 2):
        out = folder / f"converted{epoch}.safetensors"
        convert_checkpoint(folder / f"EnergyNetwork_ep{epoch:04}.pth.tar", out)
        assert str(checkout.parent).encode() not in out.read_bytes()
        networks.append(load_network(out).state_dict())
    written = load_network(folder / "network.safetensors").state_dict()
    for key, value in networks[1].items():
        if key.endswith("num_batches_tracked"):
            continue
        scale = value.abs().max().item()
        np.testing.assert_allclose(written[key], value, rtol=1e-3, atol=1e-3 * scale, err_msg=key)  # float16
    assert any(not torch.equal(networks[0][key], networks[1][key]) for key in networks[0] if key.startswith("head."))
