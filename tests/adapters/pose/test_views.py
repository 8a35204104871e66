"""What a feature extractor gets to see of a head."""

from __future__ import annotations

import numpy as np
import torch

from ebm_tracker.adapters.pose.augment import Augmentation
from ebm_tracker.adapters.pose.data import PoseData
from ebm_tracker.adapters.pose.views import AugmentedDraw, PoseViews, channels_first, enlarged


def heads(count: int = 3) -> PoseData:
    rng = np.random.default_rng(0)
    poses = rng.uniform(5, 60, (count, 3)).astype(np.float32)
    return PoseData(rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8), poses)


def test_views_are_the_same_each_time_and_differ_among_themselves() -> None:
    views = PoseViews(heads(), Augmentation(), views=6, seed=1)
    images, poses = views[2]
    again, angles = views[2]
    assert images.shape == (6, 64, 64, 3) and poses.shape == (6, 3)
    assert (images == again).all() and (poses == angles).all()
    assert len({image.tobytes() for image in images}) == 6
    assert set(np.sign(poses[:, 0])) == {-1.0, 1.0}  # some are mirrored
    assert (np.abs(poses) == heads().poses[2]).all()


def test_without_augmentation_the_image_comes_as_it_is() -> None:
    data = heads()
    images, poses = PoseViews(data, None)[1]
    assert (images[0] == data.images[1]).all() and (poses[0] == data.poses[1]).all()


def test_enlarging_keeps_the_picture() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 200
    large = enlarged(image, 2)
    assert large.shape == (128, 128, 3)
    assert (large[:, :62] == 0).all() and (large[:, 66:] == 200).all()
    data = PoseData(image[None], np.zeros((1, 3), np.float32))
    assert PoseViews(data, None, enlarge=2)[0][0].shape == (1, 128, 128, 3)


def test_a_draw_fits_its_pose_and_leaves_the_data_alone() -> None:
    data = heads()
    x, y = torch.from_numpy(data.images), torch.from_numpy(data.poses)
    kept = x.clone(), y.clone()
    draw = AugmentedDraw(Augmentation(scales=(1, 1)))
    seen = set()
    for number in range(20):
        image, pose = draw(x[0], y[0], np.random.default_rng(number))
        mirrored = bool(pose[0] < 0)
        seen.add(mirrored)
        assert pose.tolist() == (y[0] * torch.tensor([-1, 1, -1]) if mirrored else y[0]).tolist()
        assert (image == channels_first(data.images[0][:, ::-1] if mirrored else data.images[0])).all()
    assert seen == {True, False}
    assert (x == kept[0]).all() and (y == kept[1]).all()
