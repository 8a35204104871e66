"""Zips that anybody made: what each is told, and what is never done with it."""

from __future__ import annotations

import shutil
import stat
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.packing import PackingError, archive, server_of, verify_archive
from ebm_tracker.evaluation.packing.verify import recognise_archive

TRACKINGNET, GOT10K = server_of("trackingnet"), server_of("got10k")
ROWS = "1.00,2.00,3.00,4.00\n1.50,2.00,3.00,4.00\n"
UNCHECKED = "without the data set, rows against frames and first boxes were not checked"
NAME = "GOT-10k_Test_000003"


def trackingnet_members() -> dict[str, str]:
    return {f"video{k:03d}.txt": ROWS for k in range(511)}


def got10k_members() -> dict[str, str]:
    members = {}
    for k in range(1, 181):
        name = f"GOT-10k_Test_{k:06d}"
        for run in (1, 2, 3):
            members[f"{name}/{name}_{run:03d}.txt"] = ROWS.replace("1.50", f"1.{run}0")
        members[f"{name}/{name}_time.txt"] = "0.1,0.1,0.1\n0.2,0.2,0.2\n"
    return members


def make_zip(path: Path, members: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            file.writestr(name, text)
    return path


def problems_of(path: Path) -> list[str]:
    return verify_archive(path, recognise_archive(path)).problems


@pytest.mark.parametrize(("server", "members"), [(TRACKINGNET, trackingnet_members()), (GOT10K, got10k_members())])
def test_a_whole_submission(tmp_path: Path, server, members) -> None:  # type: ignore[no-untyped-def]
    path = make_zip(tmp_path / "a.zip", members)
    assert recognise_archive(path) == server
    findings = verify_archive(path, server)
    assert findings.problems == [] and findings.notes == [UNCHECKED]
    assert findings.rows == 2 * findings.sequences == 2 * server.sequence_count


def test_as_the_got10k_toolkit_and_pytracking_zip_them(tmp_path: Path) -> None:
    """Both zip a folder from inside by shutil, which adds entries for the folders; pytracking keeps one column of
    times."""
    members = got10k_members() | {f"{NAME}/{NAME}_time.txt": "0.100000\n0.200000\n"}
    for name, text in members.items():
        path = tmp_path / "Ours" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    made = Path(shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "Ours"))
    assert any(name.endswith("/") for name in zipfile.ZipFile(made).namelist())
    assert problems_of(made) == []


@pytest.mark.parametrize("members", [trackingnet_members(), got10k_members()])
@pytest.mark.parametrize("folder", ["Ours", "results/Ours"])
def test_an_enclosing_folder(tmp_path: Path, members: dict[str, str], folder: str) -> None:
    path = make_zip(tmp_path / "a.zip", {f"{folder}/{name}": text for name, text in members.items()})
    assert problems_of(path) == [f"everything lies in the folder {folder}: zip what is in it, not the folder itself"]


def test_a_single_sequence_is_no_enclosing_folder(tmp_path: Path) -> None:
    members = {name: text for name, text in got10k_members().items() if name.startswith(NAME)}
    problems = problems_of(make_zip(tmp_path / "a.zip", members))
    assert len(problems) == 179 * 4 and all(problem.endswith(" is missing") for problem in problems)


def test_the_order_does_not_change_the_bytes(tmp_path: Path) -> None:
    members = {"b.txt": b"1", "a.txt": b"2", "c/d.txt": b"3"}
    archive.write_archive(tmp_path / "a.zip", members)
    archive.write_archive(tmp_path / "b.zip", dict(reversed(members.items())))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == ["a.txt", "b.txt", "c/d.txt"]


def test_one_problem_each_for_what_is_wrong_inside(tmp_path: Path) -> None:
    def name(k: int, end: str) -> str:
        return f"GOT-10k_Test_{k:06d}/GOT-10k_Test_{k:06d}_{end}.txt"

    members = got10k_members()
    del members[name(1, "002")]
    del members[name(2, "time")]
    members[name(3, "001")] = ROWS.replace(",", "\t")
    members[name(4, "003")] = ROWS.replace("2.00", "nan")
    members[name(5, "002")] = ROWS + ROWS
    members[name(6, "001")] = ROWS.replace("4.00", "0.00")
    members[name(7, "time")] = "0.1\n"
    members["GOT-10k_Test_000181/GOT-10k_Test_000181_001.txt"] = ROWS
    members["readme.md"] = "ours"
    members["__MACOSX/._GOT-10k_Test_000001"] = "x"
    assert problems_of(make_zip(tmp_path / "a.zip", members)) == [
        "__MACOSX/._GOT-10k_Test_000001 is a left-over of an operating system: leave it out",
        f"{name(1, '002')} is missing",
        f"{name(2, 'time')} is missing",
        f"{name(3, '001')} line 1 has tabs between the numbers, where only commas may be",
        f"{name(4, '003')} has 2 rows (the first is 1) with a NaN or an infinite number",
        f"{name(5, '002')} has 4 rows, where an earlier repetition has 2",
        f"{name(6, '001')} has 2 rows (the first is 1) with a width or height that is not above 0",
        f"{name(7, 'time')} has 1 row for 2 frames",
        "GOT-10k_Test_000181/GOT-10k_Test_000181_001.txt does not belong here",
        "readme.md does not belong here",
    ]


def test_trackingnet_counts_and_strangers(tmp_path: Path) -> None:
    members = trackingnet_members()
    members["video000_time.txt"] = "0.1\n0.1\n"
    members["deep/video001.txt"] = ROWS
    del members["video510.txt"]
    assert problems_of(make_zip(tmp_path / "a.zip", members)) == [
        "there are 510 sequences, but TrackingNet has 511",
        "deep/video001.txt does not belong here",
        "video000_time.txt does not belong here",
    ]


def test_against_the_data_set(tmp_path: Path, benchmark_of: Callable[..., Benchmark]) -> None:
    path = make_zip(tmp_path / "a.zip", trackingnet_members())
    benchmark = benchmark_of(tuple(f"video{k:03d}" for k in range(1, 512)), frames=3)
    problems = verify_archive(path, TRACKINGNET, benchmark).problems
    assert problems[0] == "video001.txt has 2 rows for 3 frames"
    assert problems[1] == "video001.txt starts with 1,2,3,4, but the given box is 10.9,20,30,40"
    assert problems[-2:] == ["video511.txt is missing", "video000.txt does not belong here"]
    assert len(problems) == 2 * 510 + 2


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/video511.txt", "/etc/video511.txt has an absolute path"),
        ("C:/video511.txt", "C:/video511.txt has an absolute path"),
        ("../video511.txt", "../video511.txt has a path that leads out of the folder"),
        ("a/../../video511.txt", "a/../../video511.txt has a path that leads out of the folder"),
        ("a\\video511.txt", "a\\video511.txt has a backslash in its name: folders are parted by /"),
        ("vid\u00e9o511.txt", "'vid\\xe9o511.txt' has a name with signs that are not ASCII"),
        ("video\x1b[31m.txt", "'video\\x1b[31m.txt' has a name with signs that are not ASCII"),
        (".DS_Store", ".DS_Store is a left-over of an operating system: leave it out"),
    ],
)
def test_names(tmp_path: Path, name: str, problem: str) -> None:
    before = set(tmp_path.rglob("*"))
    path = make_zip(tmp_path / "a.zip", {**trackingnet_members(), name: ROWS})
    assert problems_of(path) == [problem]
    assert set(tmp_path.rglob("*")) == before | {path}


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", trackingnet_members())
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as file:
        warnings.simplefilter("ignore", UserWarning)
        file.writestr("video003.txt", ROWS)
    assert problems_of(path) == ["video003.txt is there 2 times"]


def test_a_symbolic_link(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", trackingnet_members())
    with zipfile.ZipFile(path, "a") as file:
        info = zipfile.ZipInfo("video511.txt")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    assert problems_of(path) == ["video511.txt is a symbolic link, not a file"]


def test_an_encrypted_file(tmp_path: Path) -> None:
    data = make_zip(tmp_path / "a.zip", trackingnet_members()).read_bytes()
    # The lowest bit of the flags, in the file's own header and in the directory at the end.
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    changed = bytearray(data)
    changed[local + 6] |= 1
    changed[central + 8] |= 1
    (tmp_path / "a.zip").write_bytes(changed)
    assert problems_of(tmp_path / "a.zip") == [
        "video000.txt is encrypted",
        "there are 510 sequences, but TrackingNet has 511",
    ]


def test_an_unusual_compression(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", trackingnet_members())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as file:
        file.writestr("video511.txt", ROWS)
    assert problems_of(path) == ["video511.txt is compressed by a method that servers may not know"]


def test_damage_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, text in trackingnet_members().items():
            file.writestr(name, text)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"1.50", b"1.60", 1))
    problems = problems_of(path)
    assert len(problems) == 2 and problems[0].startswith("video000.txt cannot be unpacked (Bad CRC-32")


@pytest.mark.parametrize("cut", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_off(tmp_path: Path, cut: float) -> None:
    path = make_zip(tmp_path / "a.zip", trackingnet_members())
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data))])
    with pytest.raises(PackingError, match=r"a\.zip is no zip file, or is cut off or damaged") as caught:
        problems_of(path)
    assert "\n" not in str(caught.value)


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"Rar!\x1a\x07\x00" + b"\0" * 200)
    with pytest.raises(PackingError, match="is no zip file"):
        recognise_archive(tmp_path / "a.zip")
    with pytest.raises(PackingError, match=r"b\.zip cannot be read \(No such file"):
        recognise_archive(tmp_path / "b.zip")
    with pytest.raises(PackingError, match="cannot be read"):
        recognise_archive(tmp_path)
    assert problems_of(make_zip(tmp_path / "c.zip", {})) == ["there are 0 sequences, but TrackingNet has 511"]


def test_huge_files_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = {**trackingnet_members(), "video000.txt": b"\n" * (archive.MEMBER_LIMIT + 1)}
    assert problems_of(make_zip(tmp_path / "a.zip", bomb)) == [
        "video000.txt would unpack to 8 MB, more than any file of a submission",
        "there are 510 sequences, but TrackingNet has 511",
    ]
    # The directory claims less than there is: reading stops all the same.
    data = bytearray((tmp_path / "a.zip").read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (100).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    assert problems_of(tmp_path / "a.zip")[0].startswith("video000.txt cannot be unpacked")
    monkeypatch.setattr(archive, "TOTAL_LIMIT", 10_000)
    with pytest.raises(PackingError, match="would unpack to over"):
        problems_of(make_zip(tmp_path / "b.zip", trackingnet_members()))
    monkeypatch.setattr(archive, "MEMBER_COUNT_LIMIT", 510)
    with pytest.raises(PackingError, match="holds 511 files, far more than any submission"):
        problems_of(tmp_path / "b.zip")
    monkeypatch.setattr(archive, "ARCHIVE_LIMIT", 100)
    with pytest.raises(PackingError, match="far more than any submission"):
        problems_of(tmp_path / "b.zip")
