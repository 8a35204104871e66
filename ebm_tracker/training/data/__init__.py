"""Training sets: each a list of videos with one box and one visibility flag per frame (``sequence``).

What a reader finds is indexed once and mapped from the user's cache afterwards (``index``); frames are looked for in
folders and in zip archives as they were downloaded (``store``) and decoded by the fastest decoder (``decode``).
Boxes are x, y, w, h in pixels as the annotation file has them, never shifted by one. ``PairSampler`` draws two frames
of a video, ``FramePairs`` makes a training pair of them.
"""

from ebm_tracker.training.data.coco import open_coco
from ebm_tracker.training.data.decode import decode_image, jpeg_decoder_name
from ebm_tracker.training.data.decoder_speed import DecoderSpeed, measure_decoders
from ebm_tracker.training.data.faults import Faults
from ebm_tracker.training.data.folder import FolderSet
from ebm_tracker.training.data.frame_pairs import CropSettings, FramePairs
from ebm_tracker.training.data.got10k import open_got10k
from ebm_tracker.training.data.indexed_set import IndexedSet
from ebm_tracker.training.data.lasot import open_lasot
from ebm_tracker.training.data.registry import SET_NAMES, open_set
from ebm_tracker.training.data.sampler import FramePair, PairSampler, SamplerSettings
from ebm_tracker.training.data.sequence import (
    AnnotatedVideo,
    DataSetError,
    FrameReadError,
    Frames,
    SequenceSet,
)
from ebm_tracker.training.data.store import FileStore
from ebm_tracker.training.data.subset import SubsetOf, every_nth
from ebm_tracker.training.data.trackingnet import open_trackingnet
from ebm_tracker.training.data.verify import Verification, verify_photos, verify_set

__all__ = [
    "SET_NAMES",
    "AnnotatedVideo",
    "CropSettings",
    "DataSetError",
    "DecoderSpeed",
    "Faults",
    "FileStore",
    "FolderSet",
    "FramePair",
    "FramePairs",
    "FrameReadError",
    "Frames",
    "IndexedSet",
    "PairSampler",
    "SamplerSettings",
    "SequenceSet",
    "SubsetOf",
    "Verification",
    "decode_image",
    "every_nth",
    "jpeg_decoder_name",
    "measure_decoders",
    "open_coco",
    "open_got10k",
    "open_lasot",
    "open_set",
    "open_trackingnet",
    "verify_photos",
    "verify_set",
]
