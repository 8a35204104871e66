"""Shared fixtures: where the reference data lies, fixed seeds and threads, no network."""

from __future__ import annotations

import json
import os
import random
import socket
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

REPO = Path(__file__).resolve().parents[1]
LOCAL_HOSTS = ("127.", "localhost", "::1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    no_gpu = pytest.mark.skip(reason="needs a CUDA device")
    no_network = pytest.mark.skip(reason="needs the network; set EBM_NETWORK=1 to run it")
    no_screen = pytest.mark.skip(reason="drives a real window or browser; EBM_SCREEN=1 runs it")
    no_host = pytest.mark.skip(reason="needs a checkout of visionml/pytracking; EBM_PYTRACKING names it")
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(no_gpu)
        if item.get_closest_marker("network") and os.environ.get("EBM_NETWORK") != "1":
            item.add_marker(no_network)
        if item.get_closest_marker("screen") and os.environ.get("EBM_SCREEN") != "1":
            item.add_marker(no_screen)
        if item.get_closest_marker("pytracking") and not os.environ.get("EBM_PYTRACKING"):
            item.add_marker(no_host)


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    """Results are promised bit-equal for the same number of threads, so the tests fix that number."""
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that would download something fails at once instead of passing on machines with a network."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        remote = isinstance(address, tuple) and not str(address[0]).startswith(LOCAL_HOSTS)
        if remote:
            raise AssertionError(f"a test without the marker `network` tried to connect to {address!r}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of reference data: golden numbers, sequences, photos. It is not part of the repository."""
    folder = Path(os.environ.get("EBM_SHARED") or REPO.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no reference data: {folder} is not a folder (set EBM_SHARED)")
    return folder


@pytest.fixture(scope="session")
def golden(shared_dir: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """golden("a_prroi_pool") -> the arrays of golden/a_prroi_pool.npz by name, fresh at every call."""

    def load(name: str) -> dict[str, np.ndarray]:
        path = shared_dir / "golden" / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"no golden numbers: {path} is not there")
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}

    return load


@pytest.fixture(scope="session")
def golden_head_state(golden: Callable[[str], dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Weights of the reference run's energy head: normal numbers seeded by each tensor's name (README, b)."""
    arrays = golden("b_energy_head")
    names = [str(name) for name in arrays["weight_names"]]
    norms = {name.rsplit(".", 1)[0] for name in names if name.endswith("running_mean")}
    state = {}
    for name, shape in zip(names, (json.loads(str(shape)) for shape in arrays["weight_shapes"]), strict=True):
        a = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
        prefix, kind = name.rsplit(".", 1)
        if prefix in norms:
            a = {"weight": 1 + 0.2 * a, "bias": 0.1 * a, "running_mean": 0.2 * a, "running_var": np.exp(0.5 * a)}[kind]
        else:
            a = a * np.sqrt(2 / np.prod(shape[1:])) if kind == "weight" else 0.1 * a
        state[name] = torch.from_numpy(a.astype(np.float32))
    return state


