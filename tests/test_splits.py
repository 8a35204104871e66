"""LaSOT's official split."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from ebm_tracker.splits import lasot_test_names, lasot_train_names


def test_lasot_is_split_into_280_and_1120() -> None:
    test, train = lasot_test_names(), lasot_train_names()
    assert (len(set(test)), len(set(train))) == (len(test), len(train)) == (280, 1120)
    assert not set(test) & set(train)
    classes = Counter(name.rpartition("-")[0] for name in (*test, *train))
    assert len(classes) == 70 and set(classes.values()) == {20}
    assert {"airplane-15", "zebra-17", "rubicCube-14"} <= set(test) and {"airplane-2", "zebra-20"} <= set(train)


def test_the_list_is_that_of_the_reference_data(shared_dir: Path) -> None:
    listed = json.loads((shared_dir / "docs/sequences.json").read_text())["lasot_test"]
    assert set(lasot_test_names()) == {f"{kind}-{n}" for kind, numbers in listed.items() for n in numbers}
