"""Networks shared by all trackers of a process: pytracking makes a tracker for every object and every sequence."""

from __future__ import annotations

from functools import lru_cache

import torch

from ebm_tracker.build import load
from ebm_tracker.models import EnergyNetwork
from ebm_tracker.plugin.params import PluginParams
from ebm_tracker.tracking import MultiTracker, Tracker, TrackerConfig
from ebm_tracker.tracking.config import WeightsSource


def make_tracker(params: PluginParams, *, keep_details: bool = False) -> Tracker:
    """A tracker of one object, with the network that ``params`` asks for. Raises as ``ebm_tracker.load`` does."""
    network, device = shared_network(params)
    return Tracker(network, params.config, device=device, seed=params.seed_of_run, keep_details=keep_details)


def make_multi_tracker(params: PluginParams, *, keep_details: bool = False) -> MultiTracker:
    """The same for several objects."""
    network, device = shared_network(params)
    return MultiTracker(network, params.config, device=device, seed=params.seed_of_run, keep_details=keep_details)


def shared_network(params: PluginParams) -> tuple[EnergyNetwork, torch.device]:
    """The network and its device; loaded once per process, file and device."""
    run, weights = params.run, params.config.weights
    if run.threads is not None and torch.get_num_threads() != run.threads:
        torch.set_num_threads(run.threads)
    chosen, backbone = (None if path is None else str(path) for path in (run.weights, run.backbone_weights))
    return _load(params.name, weights, chosen, backbone, run.device)


@lru_cache(maxsize=2)  # an experiment compares few presets at a time
def _load(
    name: str, weights: WeightsSource, chosen: str | None, backbone: str | None, device: str
) -> tuple[EnergyNetwork, torch.device]:
    # load() wants settings; of these only the weights matter to the network.
    config = TrackerConfig(weights=weights)
    tracker = load(name, device, weights=chosen, backbone_weights=backbone, config=config)
    return tracker.network, tracker.device
