r"""GOT-10k.

``<root>/<split>/list.txt`` names the videos, one a line; ``<root>/<split>/<video>/`` holds ``%08d.jpg`` from 1,
``groundtruth.txt`` with a line "x,y,w,h" per frame, ``absence.label`` (0 or 1 a line) and ``cover.label`` (0 to 8 a
line: how much is to be seen). ``root`` may also be the split's folder itself, and the videos may lie in zip archives
beside ``list.txt`` or as the download has them (``train_data/*.zip``, ``val_data.zip``).
(Huang et al., "GOT-10k: A Large High-Diversity Benchmark for Generic Object Tracking in the Wild", PAMI 2021.)
"""

from __future__ import annotations

import re
from pathlib import Path

from ebm_tracker.training.data.index import IndexBuilder
from ebm_tracker.training.data.index_cache import IndexKey, open_index, stamp_of, stamp_paths
from ebm_tracker.training.data.indexed_set import (
    UNREADABLE_ERRORS,
    IndexedSet,
    add_sequence,
    leave_unreadable,
    read_store_boxes,
    read_store_numbers,
)
from ebm_tracker.training.data.sequence import DataSetError, FrameReadError
from ebm_tracker.training.data.store import Alternative, FileStore
from ebm_tracker.video import natural_key

SPLITS = ("train", "val")
PYTRACKING_LISTS = {
    "vottrain": "ltr/data_specs/got10k_vot_train_split.txt",
    "votval": "ltr/data_specs/got10k_vot_val_split.txt",
}
"""Parts of ``train`` without the 1,000 videos that the VOT organisers ask to leave out, in a pytracking checkout."""

FILES = ("groundtruth.txt", "absence.label", "cover.label")
_VIDEO = re.compile(r"GOT-10k_\w+_\d+")


def open_got10k(
    root: str | Path,
    split: str | Path = "train",
    pytracking_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    show_progress: bool = True,
) -> IndexedSet:
    """GOT-10k's videos in the order of ``list.txt`` or of the index list.

    A frame is visible where the target is not absent, something of it is to be seen (cover above 0), and its box has
    sides above 0.

    Args:
        split: "train" or "val": the whole folder; "vottrain" or "votval": the part of ``train`` by pytracking's
            list; else the path of an index list: a file with one integer a line, the number from 0 of a line of
            ``train/list.txt``.
        pytracking_dir: the checkout with the lists of "vottrain" and "votval".
        cache_dir: of the index; None: the user's cache directory.
        show_progress: of the first start, on a terminal.

    Raises:
        DataSetError: no such folder, list or index list, or one that does not fit the other.
    """
    root = Path(root)
    folder, index_list = _folder_and_list(split, pytracking_dir)
    store = FileStore(root, _alternatives(folder))
    names = _video_names(store, folder, index_list)
    home = root / folder if (root / folder).is_dir() else root
    archives = [root / archive for archive in _archives(store, folder)]
    files = (home / name / file for name in names for file in FILES)
    stamp = stamp_of([*names, *stamp_paths(files), *stamp_paths(archives)])

    def build(builder: IndexBuilder) -> None:
        for name in builder.progress(names):
            _add(builder, store, folder, name)

    index = open_index(IndexKey("got10k", root, {"split": str(split)}, stamp), build, cache_dir, show_progress)
    return IndexedSet("got10k", index, store, "%08d.jpg", first=1)


def _folder_and_list(split: str | Path, pytracking_dir: str | Path | None) -> tuple[str, Path | None]:
    if split in SPLITS:
        return str(split), None
    if split in PYTRACKING_LISTS:
        list_name = PYTRACKING_LISTS[str(split)]
        if pytracking_dir is None:
            raise DataSetError(
                f"GOT-10k's split {split!r} is a list in a pytracking checkout, so pytracking_dir must be given"
                f" (or the path of {Path(list_name).name} as split)"
            )
        path = Path(pytracking_dir) / list_name
    else:
        path = Path(split)
    if not path.is_file():
        known = ", ".join((*SPLITS, *PYTRACKING_LISTS))
        raise DataSetError(f"GOT-10k's split must be {known} or an index list; there is no file {path}")
    return "train", path


def _patterns(folder: str) -> tuple[str, ...]:
    return f"{folder}/*.zip", f"{folder}_data/*.zip", f"full_data/{folder}_data/*.zip", "*.zip", "full_data/*.zip"


def _alternatives(folder: str) -> list[Alternative]:
    inside = f"{folder}/(.+)"
    members = (r"\1", rf"{folder}/\1", rf"{folder}_data/\1")
    plain = [Alternative(inside, r"\1"), Alternative(inside, rf"{folder}_data/\1")]
    return [*plain, *(Alternative(inside, archive, m) for archive in _patterns(folder) for m in members)]


def _archives(store: FileStore, folder: str) -> list[str]:
    return sorted({archive for pattern in _patterns(folder) for archive in store.expand(pattern)})


def _video_names(store: FileStore, folder: str, index_list: Path | None) -> list[str]:
    if not store.root.is_dir():
        raise DataSetError(f"there is no GOT-10k folder {store.root}")
    try:
        names = store.read_text(f"{folder}/list.txt").split()
    except FrameReadError as error:
        names = _found_videos(store.root, folder)
        if index_list is not None or not names:
            raise DataSetError(
                f"GOT-10k needs {folder}/list.txt in {store.root} (found {len(names)} videos without it; {error})"
            ) from error
    if index_list is None:
        return names
    return [names[i] for i in _indices(index_list, len(names))]


def _found_videos(root: Path, folder: str) -> list[str]:
    home = root / folder if (root / folder).is_dir() else root
    found = (path.name for path in home.iterdir() if _VIDEO.fullmatch(path.name) and path.is_dir())
    return sorted(found, key=natural_key)


def _indices(path: Path, count: int) -> list[int]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataSetError(f"the index list {path} cannot be read ({error})") from error
    indices = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if not line.strip().isdecimal() or int(line) >= count:
            raise DataSetError(f"{path}, line {number}: must be a number from 0 to {count - 1} (got {line.strip()!r})")
        indices.append(int(line))
    if not indices:
        raise DataSetError(f"the index list {path} is empty")
    return indices


def _add(builder: IndexBuilder, store: FileStore, folder: str, video: str) -> None:
    place = f"{folder}/{video}"
    try:
        boxes = read_store_boxes(store, f"{place}/groundtruth.txt")
        absence = read_store_numbers(store, f"{place}/absence.label")
        cover = read_store_numbers(store, f"{place}/cover.label")
    except UNREADABLE_ERRORS as error:
        leave_unreadable(builder, error)
        return
    add_sequence(builder, video, place, boxes, absence == 0, cover > 0)
