# ruff: noqa: TID251 - the host imports itself by its name
"""Paths; as in the real one, a local.py that fails is written anew."""

import importlib
from pathlib import Path

NAMES = ("otb", "nfs", "uav", "tpl", "vot", "got10k", "lasot", "trackingnet")


class EnvSettings:
    def __init__(self):
        self.results_path = str(Path(__file__).parents[1] / "tracking_results")
        for name in NAMES:
            setattr(self, f"{name}_path", "")


def create_default_local_file():
    lines = ["from pytracking.evaluation.environment import EnvSettings\n", "def local_env_settings():"]
    lines += ["    settings = EnvSettings()", *(f"    settings.{name}_path = ''" for name in NAMES)]
    lines += ["    return settings\n"]
    Path(__file__).with_name("local.py").write_text("\n".join(lines))


def env_settings():
    try:
        return importlib.import_module("pytracking.evaluation.local").local_env_settings()
    except Exception:
        create_default_local_file()
        raise RuntimeError("set your paths in local.py") from None
