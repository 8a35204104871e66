"""A sequence: paths of frames, and what starts where."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image


@dataclass
class Sequence:
    """``starts``: number of a frame -> {"init_bbox": ..., ...} in the words of ``info``."""

    name: str
    frames: list
    starts: dict
    object_ids: list = None
    multiobj_mode: bool = False

    def frame_info(self, number):
        info = dict(self.starts.get(number, {}))
        if self.object_ids is not None:
            info.update(object_ids=self.object_ids, sequence_object_ids=self.object_ids)
        return info


def otb_sequence(root, name):
    folder = Path(root) / name
    box = [np.float64(v) for v in (folder / "groundtruth_rect.txt").read_text().split("\n")[0].split(",")]
    return Sequence(name, sorted((folder / "img").glob("*.png")), {0: {"init_bbox": box}})


def read_rgb(path):
    return np.array(Image.open(path).convert("RGB"))
