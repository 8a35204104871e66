"""Official splits of data sets that both training and evaluation must agree on."""

from __future__ import annotations

from functools import cache
from importlib import resources

LASOT_VIDEOS_PER_CLASS = 20


@cache
def lasot_test_names() -> tuple[str, ...]:
    """The 280 videos of LaSOT's official test split, class by class."""
    text = resources.files("ebm_tracker").joinpath("lists/lasot_testing.txt").read_text(encoding="utf-8")
    return tuple(text.split())


@cache
def lasot_train_names() -> tuple[str, ...]:
    """The 1,120 others, class by class: 70 classes of 20 videos, without the test split."""
    test = lasot_test_names()
    classes = dict.fromkeys(name.rpartition("-")[0] for name in test)
    names = (f"{kind}-{n}" for kind in classes for n in range(1, LASOT_VIDEOS_PER_CLASS + 1))
    return tuple(name for name in names if name not in frozenset(test))
