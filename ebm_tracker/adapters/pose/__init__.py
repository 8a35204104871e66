"""Head pose: FSA-Net's BIWI files, rendered heads with known angles, augmentation, figure."""

from ebm_tracker.adapters.pose.augment import Augmentation, mirrored
from ebm_tracker.adapters.pose.data import PoseData, PoseError, open_biwi, read_pose_file, write_pose_file
from ebm_tracker.adapters.pose.render import Scene, render, render_heads, rotation

__all__ = [
    "Augmentation",
    "PoseData",
    "PoseError",
    "Scene",
    "mirrored",
    "open_biwi",
    "read_pose_file",
    "render",
    "render_heads",
    "rotation",
    "write_pose_file",
]
