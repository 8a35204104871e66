"""The frozen base against torchvision's own model, and against box arithmetic written out."""

from __future__ import annotations

import math
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from ebm_tracker.adapters.detection import Detections, FrozenDetector, Pyramid, detector_names, load_detector
from ebm_tracker.adapters.detection.small import PyramidBackbone
from ebm_tracker.errors import WeightsError
from ebm_tracker.models import build_backbone

LIGHT = "fasterrcnn_mobilenet_v3_large_320_fpn"
RESNET = "fasterrcnn_resnet50_fpn"
CLASSES = 5
SIZES = ((90, 120), (64, 200), (200, 71))
INPUT_SIZES = ((160, 213), (81, 256), (256, 90))


def spread(model: nn.Module) -> nn.Module:
    """Random weights with scales such that regions differ: scores of all sizes and boxes that move."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()
        model.backbone(torch.stack([blobs((160, 160)) for _ in range(4)]))
        model.eval()
        frozen = FrozenDetector(model)
        features = torch.cat([few.features for few in frozen.regions(frozen.pyramid(images()))])
        for layer in (model.roi_heads.box_predictor.cls_score, model.roi_heads.box_predictor.bbox_pred):
            nn.init.normal_(layer.weight)
            raw = features @ layer.weight.T
            layer.weight.div_(raw.std(0)[:, None])
            layer.bias.copy_(-(raw / raw.std(0)).mean(0))
    return model


def named_model(name: str = LIGHT, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    known = {"num_classes": CLASSES, "min_size": 160, "max_size": 256} | settings
    return spread(torchvision.models.get_model(name, weights=None, weights_backbone=None, **known))


def own_model(**settings: Any) -> nn.Module:
    """Three levels, 16 channels."""
    torch.manual_seed(0)
    anchors = AnchorGenerator(((24,), (48,), (96,), (192,)), ((0.5, 1.0, 2.0),) * 4)
    pool = MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
    known = {"min_size": 160, "max_size": 256, "rpn_post_nms_top_n_test": 150} | settings
    model = FasterRCNN(
        PyramidBackbone(build_backbone("mobilenet_v2"), 16),
        rpn_anchor_generator=anchors,
        box_roi_pool=pool,
        box_head=TwoMLPHead(16 * 49, 32),
        box_predictor=FastRCNNPredictor(32, CLASSES),
        **known,
    )
    return spread(model)


@cache
def light() -> nn.Module:
    return named_model()


@cache
def base() -> FrozenDetector:
    return FrozenDetector(own_model())


def blobs(size: tuple[int, int]) -> Tensor:
    return functional.interpolate(torch.rand(1, 3, 9, 9), size, mode="bilinear")[0]


def images(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[Tensor]:
    torch.manual_seed(1)
    return [blobs(size) for size in sizes]


def assert_equals_torchvision(model: nn.Module, some: list[Tensor]) -> list[Detections]:
    with torch.no_grad():
        expected = model(some)
    found = FrozenDetector(model).detect(some)
    assert len(found) == len(expected) == len(some)
    for few, theirs in zip(found, expected, strict=True):
        assert len(few)
        assert torch.equal(few.boxes_xyxy, theirs["boxes"])
        assert torch.equal(few.scores, theirs["scores"])
        assert torch.equal(few.labels, theirs["labels"])
    return found


# As torchvision ------------------------------------------------------------------------------------------------------


def test_boxes_are_torchvisions_own_to_the_bit() -> None:
    found = assert_equals_torchvision(light(), images())
    assert len({int(label) for few in found for label in few.labels}) > 2
    found = assert_equals_torchvision(base().model, images())
    assert len({int(label) for few in found for label in few.labels}) > 2


def test_the_models_own_thresholds_count() -> None:
    model = own_model(box_score_thresh=0.3, box_nms_thresh=0.2, box_detections_per_img=7)
    frozen = FrozenDetector(model)
    assert (frozen.score_threshold, frozen.nms_threshold, frozen.most) == (0.3, 0.2, 7)
    assert [len(few) for few in assert_equals_torchvision(model, images())] == [7, 7, 7]
    model.roi_heads.detections_per_img = 1000
    found = assert_equals_torchvision(model, images())
    assert all(few.scores.min() > 0.3 and 7 < len(few) < 1000 for few in found)


def test_maps_are_those_of_the_models_backbone() -> None:
    model, some = base().model, images()
    pyramid = base().pyramid(some)
    batch, _ = model.transform(some)
    expected = model.backbone(batch.tensors)
    assert list(pyramid.levels) == list(expected) == ["0", "1", "2", "pool"]
    assert all(torch.equal(pyramid.levels[name], expected[name]) for name in expected)
    assert pyramid.maps[2] is pyramid.levels["2"] and len(pyramid.maps) == 3 and len(pyramid) == 3
    assert pyramid.image_sizes == SIZES and pyramid.input_sizes == INPUT_SIZES
    assert pyramid.padded_size == (256, 256)


def test_facts_of_the_network() -> None:
    frozen = base()
    assert frozen.strides == (4, 8, 16) and frozen.pooled == ("0", "1", "2")
    assert (frozen.classes, frozen.feature_size, frozen.channels, frozen.pool_size) == (CLASSES, 32, 16, 7)
    # The two pooled maps of torchvision's mobile network have one stride.
    frozen = FrozenDetector(light())
    assert frozen.strides == (32, 32) and frozen.pooled == ("0", "1")
    assert (frozen.classes, frozen.feature_size, frozen.channels, frozen.pool_size) == (CLASSES, 1024, 256, 7)


def test_an_image_of_a_batch_gives_what_it_gives_alone() -> None:
    some = images(((96, 128),) * 2)
    both, alone = base().pyramid(some), base().pyramid(some[1:])
    one = both[1]
    assert len(one) == 1 and one.image_sizes == alone.image_sizes and one.padded_size == alone.padded_size
    torch.testing.assert_close(one.maps[0], alone.maps[0], rtol=1e-3, atol=1e-3)
    (a,), (b,) = base().raw(one), base().raw(alone)
    assert abs(len(a) - len(b)) <= 0.02 * len(b)
    assert torch.equal(both[-1].maps[0], one.maps[0])
    with pytest.raises(IndexError):
        both[2]


def test_a_narrow_first_image_does_not_change_the_strides() -> None:
    """torchvision guesses the strides from its first image, and guesses a map of 8 rows of a 5 pixel image wrongly."""
    narrow, some = torch.rand(3, 64, 3000), images()
    models = own_model(), own_model()
    for model in models:
        pool = model.roi_heads.box_roi_pool
        pool.scales = pool.map_levels = None  # as torchvision builds it
    frozen = FrozenDetector(models[0])
    frozen.detect([narrow])
    for before, after in zip(base().detect(some), frozen.detect(some), strict=True):
        assert torch.equal(before.boxes_xyxy, after.boxes_xyxy)
    with torch.no_grad():
        models[1]([narrow])
    assert models[1].roi_heads.box_roi_pool.scales != [1 / 4, 1 / 8, 1 / 16]


# Arithmetic ----------------------------------------------------------------------------------------------------------


def test_raw_boxes_by_hand() -> None:
    """Softmax, threshold, the coder's weights 10, 10, 5, 5, its limit log(1000 / 16), clipping: one box at a time."""
    frozen = base()
    pyramid = frozen.pyramid(images())
    all_regions = frozen.regions(pyramid)
    for regions, raw, (height, width) in zip(all_regions, frozen.raw(pyramid), pyramid.input_sizes, strict=True):
        expected = []
        for proposal, logits, offsets in zip(
            regions.proposals_xyxy.double().tolist(),
            regions.class_logits.double().tolist(),
            regions.offsets.double().tolist(),
            strict=True,
        ):
            x0, y0, x1, y1 = proposal
            w, h = x1 - x0, y1 - y0
            total = sum(map(math.exp, logits))
            for label in range(1, CLASSES):
                score = math.exp(logits[label]) / total
                dx, dy, dw, dh = offsets[label]
                cx, cy = x0 + w / 2 + dx / 10 * w, y0 + h / 2 + dy / 10 * h
                own_w, own_h = (
                    side * math.exp(min(d / 5, math.log(1000 / 16))) for side, d in ((w, dw), (h, dh))
                )
                corners = (cx - own_w / 2, cy - own_h / 2, cx + own_w / 2, cy + own_h / 2)
                limits = (width, height, width, height)
                box = [min(max(c, 0), limit) for c, limit in zip(corners, limits, strict=True)]
                if score > 0.05 and box[2] - box[0] >= 0.01 and box[3] - box[1] >= 0.01:
                    expected.append((*box, score, label))
        found = torch.cat((raw.boxes_xyxy, raw.scores[:, None], raw.labels[:, None]), 1)
        assert len(expected) > 100
        np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=1e-3, atol=2e-3)


def test_detections_are_some_of_the_raw_boxes() -> None:
    pyramid = base().pyramid(images())
    for raw in base().raw(pyramid):
        kept = base().suppress(raw)
        assert 0 < len(kept) <= 100 < len(raw)
        rows = {tuple(row) for row in torch.cat((raw.boxes_xyxy, raw.scores[:, None]), 1).tolist()}
        assert {tuple(row) for row in torch.cat((kept.boxes_xyxy, kept.scores[:, None]), 1).tolist()} <= rows
        assert kept.scores.diff().le(0).all()


def test_encode_undoes_decode() -> None:
    frozen = base()
    pyramid = frozen.pyramid(images())
    (regions, *_) = frozen.regions(pyramid)
    sides = regions.proposals_xyxy[:, 2:] - regions.proposals_xyxy[:, :2]
    few = regions[torch.where(sides.amin(1) > 4)[0][:9]]
    true = few.proposals_xyxy + torch.tensor([3.0, -2.0, 8.0, 5.0])
    offsets = frozen.encode(true, few.proposals_xyxy)
    w, h = (few.proposals_xyxy[:, 2:] - few.proposals_xyxy[:, :2]).unbind(-1)
    torch.testing.assert_close(offsets[:, 0], 10 * 5.5 / w)
    torch.testing.assert_close(offsets[:, 3], 5 * torch.log((h + 7) / h), rtol=1e-4, atol=1e-4)
    decoded = frozen.decode(few, (10_000, 10_000), offsets[:, None].expand(-1, CLASSES, -1))
    expected = true.clamp_min(0)[:, None].expand(-1, CLASSES - 1, -1).reshape(-1, 4)
    likely = few.class_logits.softmax(-1)[:, 1:].flatten() > 0.05
    torch.testing.assert_close(decoded.boxes_xyxy, expected[likely], rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match=rf"offsets must be \(9, {CLASSES}, 4\)"):
        frozen.decode(few, (10, 10), offsets)


def test_unlikely_regions_give_no_box() -> None:
    frozen = FrozenDetector(own_model(box_score_thresh=0.6))
    pyramid = frozen.pyramid(images())
    regions = frozen.regions(pyramid)
    kept = [few.likely(frozen.score_threshold) for few in regions]
    assert 0 < sum(map(len, kept)) < sum(map(len, regions))
    for few, size, raw in zip(kept, pyramid.input_sizes, frozen.raw(pyramid), strict=True):
        assert torch.equal(frozen.decode(few, size).boxes_xyxy, raw.boxes_xyxy)


def test_regions_of_given_proposals() -> None:
    pyramid = base().pyramid(images())
    own = base().regions(pyramid)
    again = base().regions(pyramid, [few.proposals_xyxy[2:4] for few in own])
    for few, many in zip(again, own, strict=True):
        assert few.features.shape == (2, base().feature_size) and few.offsets.shape == (2, CLASSES, 4)
        torch.testing.assert_close(few.features, many.features[2:4], rtol=1e-3, atol=1e-3)
    none = base().regions(pyramid, [torch.zeros(0, 4)] * 3)
    assert [len(few) for few in none] == [0, 0, 0]
    assert [len(base().decode(few, (50, 50))) for few in none] == [0, 0, 0]
    assert len(base().suppress(base().decode(none[0], (50, 50)))) == 0


def test_frames_of_boxes() -> None:
    pyramid = Pyramid({}, (), (), ((160, 213), (50, 100)), ((90, 120), (100, 200)), (160, 224))
    box = torch.tensor([[12.0, 9.0, 60.0, 90.0]])
    torch.testing.assert_close(
        pyramid.to_input(box, 0), torch.tensor([[12 * 213 / 120, 16.0, 60 * 213 / 120, 160.0]])
    )
    assert pyramid.to_input(box, 1).tolist() == [[6.0, 4.5, 30.0, 45.0]]
    torch.testing.assert_close(pyramid.to_image(pyramid.to_input(box, 0), 0), box)


def test_a_cached_pyramid_in_half_precision_is_as_good() -> None:
    pyramid = base().pyramid(images())
    again = pyramid.to(torch.float16).to(torch.float32)
    assert pyramid.to(torch.float16).maps[0].dtype == torch.float16
    torch.testing.assert_close(again.maps[0], pyramid.maps[0], rtol=1e-3, atol=1e-4)
    assert all(len(raw) for raw in base().raw(again))


def test_nothing_learns() -> None:
    model = own_model().requires_grad_().train()
    frozen = FrozenDetector(model)
    assert frozen.model is model and not any(p.requires_grad for p in frozen.parameters())
    assert not frozen.train().training and not model.training and not model.rpn.training
    pyramid = frozen.pyramid(images())
    assert not pyramid.maps[0].requires_grad and not frozen.regions(pyramid)[0].features.requires_grad


# Images --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_other_precisions_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"model must have float32 weights \(got {dtype}\)"):
        FrozenDetector(deepcopy(base().model).to(dtype))


def test_the_digest_is_that_of_the_weights() -> None:
    other = FrozenDetector(deepcopy(base().model))
    assert other.digest == base().digest and len(other.digest) == 16
    with torch.no_grad():
        next(other.model.parameters()).flatten()[0] += 1
    assert other.digest != base().digest


def test_bytes_and_doubles_are_images_too() -> None:
    image = torch.randint(0, 256, (3, 80, 100), dtype=torch.uint8)
    (expected,) = base().detect([image.float() / 255])
    for same in (image, image.double() / 255):
        (found,) = base().detect([same])
        torch.testing.assert_close(found.boxes_xyxy, expected.boxes_xyxy)
    assert len(expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 256), (8000, 40), (40, 8000)])
def test_very_small_and_very_long_images(size: tuple[int, int]) -> None:
    (found,) = base().detect([torch.rand(3, *size)])
    limits = torch.tensor([size[1], size[0]] * 2)
    assert (found.boxes_xyxy >= 0).all() and (found.boxes_xyxy <= limits * (1 + 1e-6)).all()


def test_images_that_cannot_be_seen() -> None:
    assert base().detect([]) == []
    good = torch.rand(3, 30, 40)
    for bad, said in (
        (torch.rand(1, 30, 40), r"images\[1\] must be \(3, H, W\), RGB \(got \(1, 30, 40\)\)"),
        (torch.rand(30, 40), r"images\[1\] must be \(3, H, W\)"),
        (torch.rand(3, 0, 40), r"images\[1\] must be \(3, H, W\)"),
        (torch.ones(3, 30, 40, dtype=torch.int64), r"images\[1\] must be float 0..1 or uint8 \(got torch.int64\)"),
        (255 * torch.rand(3, 30, 40), r"images\[1\] must have values from 0 to 1 as float \(got .* to 25"),
        (torch.full((3, 30, 40), math.nan), r"images\[1\] must have values from 0 to 1 as float \(got nan to nan"),
        (torch.rand(3, 1, 8000), r"images\[1\] of 8000 x 1 pixels is too narrow"),
    ):
        with pytest.raises(ValueError, match=said):
            base().detect([good, bad])
    with pytest.raises(ValueError, match="at least one"):
        base().pyramid([])


@pytest.mark.parametrize("model", [nn.Linear(2, 2), None])
def test_other_models_are_refused(model: nn.Module | None) -> None:
    other = model or torchvision.models.get_model("ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None)
    with pytest.raises(ValueError, match="such as fasterrcnn_resnet50_fpn"):
        FrozenDetector(other)


# Weights -------------------------------------------------------------------------------------------------------------


def frozen_norms(model: nn.Module, epsilon: float) -> nn.Module:
    """As torchvision builds its networks with weights; variances that a wrong epsilon would show in."""
    for name, norm in list(model.named_modules()):
        if isinstance(norm, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(norm.num_features, epsilon)
            small = 1e-4 / norm.running_var.mean()
            frozen.load_state_dict(norm.state_dict(), strict=False)
            frozen.running_var.mul_(small)
            frozen.weight.mul_(small.sqrt())
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, frozen)
    return model


@pytest.mark.parametrize(("name", "epsilon"), [(LIGHT, 1e-5), (RESNET, 0.0)])
def test_a_file_of_torchvisions_weights(name: str, epsilon: float, tmp_path: Path) -> None:
    model, some = frozen_norms(named_model(name), epsilon), images()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    loaded = load_detector(name, tmp_path / "weights.pth", min_size=160, max_size=256)
    assert loaded.classes == CLASSES
    for few, expected in zip(loaded.detect(some), assert_equals_torchvision(model, some), strict=True):
        assert torch.equal(few.boxes_xyxy, expected.boxes_xyxy)


def test_torchvisions_loader_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    known = torchvision.models.get_model_weights(LIGHT).COCO_V1
    model = frozen_norms(named_model(num_classes=91), 1e-5)
    asked = []

    def state(self: Any, **settings: Any) -> Any:
        asked.append((self, settings.get("check_hash")))
        return model.state_dict()

    monkeypatch.setattr(type(known), "get_state_dict", state)
    ours = load_detector(LIGHT, box_score_thresh=0.0, rpn_post_nms_top_n_test=20)
    assert asked == [(known, True)] and ours.classes == 91 and ours.score_threshold == 0
    theirs = torchvision.models.get_model(LIGHT, weights=known, box_score_thresh=0.0, rpn_post_nms_top_n_test=20).eval()
    some = images()
    with torch.no_grad():
        expected = theirs(some)
    for few, other in zip(ours.detect(some), expected, strict=True):
        assert torch.equal(few.boxes_xyxy, other["boxes"]) and torch.equal(few.scores, other["scores"])


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    known = torchvision.models.get_model_weights(LIGHT).COCO_V1

    def refuse(self: Any, **settings: Any) -> Any:
        raise OSError("no route")

    monkeypatch.setattr(type(known), "get_state_dict", refuse)
    with pytest.raises(WeightsError, match=r"neither in torch's cache .* nor could be fetched \(no route\)"):
        load_detector(LIGHT)


def test_own_weights_in_the_forms_that_people_save(tmp_path: Path) -> None:
    state = light().state_dict()
    torch.save({"model": state, "epoch": 3}, tmp_path / "training.pth")
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "own.safetensors")
    some = images()
    expected = FrozenDetector(light()).detect(some)
    for name in ("training.pth", "own.safetensors"):
        loaded = load_detector(LIGHT, tmp_path / name, min_size=160, max_size=256)
        assert all(
            torch.equal(a.boxes_xyxy, b.boxes_xyxy) for a, b in zip(loaded.detect(some), expected, strict=True)
        )


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code ran",)


def test_files_that_are_no_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(WeightsError, match=r"not found: /.*x\.pth"):
        load_detector(LIGHT, path)
    path.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_detector(LIGHT, path)
    torch.save({"a": Code()}, path)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_detector(LIGHT, path)
    assert "code ran" not in capsys.readouterr().out
    torch.save({"a": 3}, path)
    with pytest.raises(WeightsError, match="other things than tensors"):
        load_detector(LIGHT, path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"is no detector .* no roi_heads.box_predictor.cls_score.weight"):
        load_detector(LIGHT, path)
    torch.save(light().state_dict(), path)
    with pytest.raises(WeightsError, match="does not fit fasterrcnn_mobilenet_v3_large_320_fpn: "):
        load_detector(LIGHT, path, num_classes=3)


def test_names() -> None:
    assert {LIGHT, "fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2"} <= set(detector_names())
    assert not any("retina" in name or "ssd" in name for name in detector_names())
    with pytest.raises(ValueError, match="unknown detector 'retinanet_resnet50_fpn'; known: .*fasterrcnn_resnet50_fpn"):
        load_detector("retinanet_resnet50_fpn")


def test_strides_of_our_own_backbones() -> None:
    with torch.no_grad():
        levels = PyramidBackbone(build_backbone("mobilenet_v2"), 8)(torch.zeros(1, 3, 64, 96))
    assert {name: tuple(level.shape) for name, level in levels.items()} == {
        "0": (1, 8, 16, 24),
        "1": (1, 8, 8, 12),
        "2": (1, 8, 4, 6),
        "pool": (1, 8, 2, 3),
    }
