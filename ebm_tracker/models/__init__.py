"""Networks: backbone, energy head, checkpoints. Pure functions of images and boxes, no tracker state."""

from ebm_tracker.models.backbone import BACKBONES, Backbone, build_backbone, load_imagenet_backbone
from ebm_tracker.models.box_energy import BoxEnergy
from ebm_tracker.models.checkpoint import load_network, save_network
from ebm_tracker.models.energy_head import EnergyHead, EnergyMaps, HeadChannels, Modulation
from ebm_tracker.models.network import BatchNormMode, EnergyNetwork
from ebm_tracker.models.roi_pool import prroi_pool

__all__ = [
    "BACKBONES",
    "Backbone",
    "BatchNormMode",
    "BoxEnergy",
    "EnergyHead",
    "EnergyMaps",
    "EnergyNetwork",
    "HeadChannels",
    "Modulation",
    "build_backbone",
    "load_imagenet_backbone",
    "load_network",
    "prroi_pool",
    "save_network",
]
