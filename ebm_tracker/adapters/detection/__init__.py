"""Detection with an energy head: a frozen detector of torchvision, its boxes refined by gradient ascent on f(x, y).

    from ebm_tracker.adapters.detection import EnergyDetector, FrozenDetector, fit_branch, open_detection_images, refine

    detector = FrozenDetector(model)                    # yours, or load_detector("fasterrcnn_resnet50_fpn")
    images = open_detection_images(root, "train2017", training=True, outputs=detector.classes)
    branch = fit_branch(detector, images, Path("runs/branch"))
    better = EnergyDetector(detector, branch)
    found = better.detect(images)                       # guided suppression, then refinement
    found = refine(better, images, model(images))       # or only better boxes for detections at hand
"""

from ebm_tracker.adapters.detection.annotations import DetectionDataError
from ebm_tracker.adapters.detection.base import Detections, FrozenDetector, Pyramid, Regions
from ebm_tracker.adapters.detection.branch import ConfidenceBranch, ImageEnergy
from ebm_tracker.adapters.detection.candidates import MixtureBoxes, UniformIouBoxes
from ebm_tracker.adapters.detection.coverage import EdgeCoverage, measure_coverage
from ebm_tracker.adapters.detection.data import DetectionImages, TrainingImages, open_detection_images
from ebm_tracker.adapters.detection.density import BoxDensity, predict_density
from ebm_tracker.adapters.detection.examples import ImageExample, images_of, objects_of, pad_together
from ebm_tracker.adapters.detection.fit import fit_branch, load_branch
from ebm_tracker.adapters.detection.heads import BoxHead, BoxParameters, GaussianBoxHead, HeadStep, LaplaceBoxHead
from ebm_tracker.adapters.detection.inference import EnergyDetector, refine
from ebm_tracker.adapters.detection.load import detector_names, load_detector
from ebm_tracker.adapters.detection.nms import guided_nms
from ebm_tracker.adapters.detection.refinement import (
    IOU_NET,
    IOU_NET_STAR,
    OURS,
    Coordinates,
    RefinedBoxes,
    RefineSettings,
    refine_boxes,
)
from ebm_tracker.adapters.detection.sampling import RegionExample, RegionSampling, sample_regions
from ebm_tracker.adapters.detection.small import DetectorStep, SmallSettings, small_detector
from ebm_tracker.adapters.detection.step_search import Trial, search_steps, step_grid
from ebm_tracker.adapters.detection.steps import ConfidenceStep
from ebm_tracker.adapters.detection.temperature import Temperature, fit_temperature

__all__ = [
    "IOU_NET",
    "IOU_NET_STAR",
    "OURS",
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
    "ImageEnergy",
    "ImageExample",
    "LaplaceBoxHead",
    "MixtureBoxes",
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
]
