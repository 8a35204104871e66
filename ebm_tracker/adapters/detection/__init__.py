"""Detection with an energy head: a frozen detector of torchvision, its boxes refined by gradient ascent on f(x, y).

    from ebm_tracker.adapters.detection import ConfidenceBranch, EnergyDetector, FrozenDetector, predict_density, refine

    detector = FrozenDetector(model)                    # yours, or load_detector("fasterrcnn_resnet50_fpn")
    branch = ConfidenceBranch.of_detector(detector)    # trained with ConfidenceStep and the shared loop
    better = EnergyDetector(detector, branch)
    found = better.detect(images)                       # guided suppression, then refinement
    found = refine(better, images, model(images))       # or only better boxes for detections at hand
"""

from ebm_tracker.adapters.detection.base import Detections, FrozenDetector, Pyramid, Regions
from ebm_tracker.adapters.detection.branch import ConfidenceBranch
from ebm_tracker.adapters.detection.candidates import MixtureBoxes, UniformIouBoxes
from ebm_tracker.adapters.detection.data import DetectionImages, TrainingImages, open_detection_images
from ebm_tracker.adapters.detection.density import BoxDensity, predict_density
from ebm_tracker.adapters.detection.examples import ImageExample, images_of, objects_of, pad_together
from ebm_tracker.adapters.detection.heads import BoxHead, BoxParameters, GaussianBoxHead, HeadStep, LaplaceBoxHead
from ebm_tracker.adapters.detection.inference import EnergyDetector, refine
from ebm_tracker.adapters.detection.load import detector_names, load_detector
from ebm_tracker.adapters.detection.refinement import IOU_NET, IOU_NET_STAR, OURS, RefineSettings
from ebm_tracker.adapters.detection.sampling import RegionExample, RegionSampling, sample_regions
from ebm_tracker.adapters.detection.small import DetectorStep, SmallSettings, small_detector
from ebm_tracker.adapters.detection.steps import ConfidenceStep

__all__ = [
    "IOU_NET",
    "IOU_NET_STAR",
    "OURS",
    "BoxDensity",
    "BoxHead",
    "BoxParameters",
    "ConfidenceBranch",
    "ConfidenceStep",
    "DetectionImages",
    "Detections",
    "DetectorStep",
    "EnergyDetector",
    "FrozenDetector",
    "GaussianBoxHead",
    "HeadStep",
    "ImageExample",
    "LaplaceBoxHead",
    "MixtureBoxes",
    "Pyramid",
    "RefineSettings",
    "RegionExample",
    "RegionSampling",
    "Regions",
    "SmallSettings",
    "TrainingImages",
    "UniformIouBoxes",
    "detector_names",
    "images_of",
    "load_detector",
    "objects_of",
    "open_detection_images",
    "pad_together",
    "predict_density",
    "refine",
    "sample_regions",
    "small_detector",
]
