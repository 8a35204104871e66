"""From result trees to zips, to the byte, and every reason not to write one."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ebm_tracker.evaluation.datasets.benchmark import Benchmark
from ebm_tracker.evaluation.packing import (
    Findings,
    PackingError,
    Submission,
    prepare_submission,
    server_of,
    verify_archive,
    write_submission,
)
from ebm_tracker.evaluation.result_tree import find_results

TRACKINGNET, GOT10K = server_of("trackingnet"), server_of("got10k")
NAME = "GOT-10k_Test_000007"
VIDEO = "00000000007_1"
BenchmarkOf = Callable[..., Benchmark]


def video_names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name.removesuffix("_time.txt") for p in folder.glob("*_time.txt")))


def got10k_names() -> tuple[str, ...]:
    return tuple(f"GOT-10k_Test_{k:06d}" for k in range(1, 181))


def trackingnet(path: Path, **options) -> Submission:  # type: ignore[no-untyped-def]
    return prepare_submission(TRACKINGNET, find_results(path), **options)


def got10k(path: Path, **options) -> Submission:  # type: ignore[no-untyped-def]
    return prepare_submission(GOT10K, find_results(path), **options)


def test_trackingnet_zip(trackingnet_run: Path, tmp_path: Path, benchmark_of: BenchmarkOf) -> None:
    benchmark = benchmark_of(video_names(trackingnet_run))
    submission = trackingnet(trackingnet_run, benchmark=benchmark)
    assert submission.findings == Findings(sequences=511, rows=3 * 511)
    write_submission(submission, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
        assert len(names) == 511 and names == sorted(names) and not any("/" in name for name in names)
        text = archive.read(f"{VIDEO}.txt")
    # Two decimals, half to even as printf does it: 40.004 -> 40.00, 11.126 -> 11.13.
    assert text == b"10.90,20.00,30.00,40.00\n11.13,20.50,30.00,40.00\n12.00,21.00,30.00,40.00\n"
    assert verify_archive(tmp_path / "a.zip", TRACKINGNET, benchmark).problems == []


def test_got10k_zip(got10k_runs: Path, tmp_path: Path, benchmark_of: BenchmarkOf) -> None:
    benchmark = benchmark_of(got10k_names())
    submission = got10k(got10k_runs, benchmark=benchmark)
    assert submission.findings == Findings(sequences=180, rows=3 * 180)
    write_submission(submission, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert len(archive.namelist()) == 180 * 4
        read = {name: archive.read(name) for name in archive.namelist() if name.startswith(f"{NAME}/")}
    start = b"10.9000,20.0000,30.0000,40.0040\n11.1260,20.5000,30.0000,40.0000\n"
    assert read == {
        f"{NAME}/{NAME}_001.txt": start + b"12.0000,21.0000,30.0000,40.0000\n",
        f"{NAME}/{NAME}_002.txt": start + b"13.0000,21.0000,30.0000,40.0000\n",
        f"{NAME}/{NAME}_003.txt": start + b"14.0000,21.0000,30.0000,40.0000\n",
        f"{NAME}/{NAME}_time.txt": b"0.50000000,0.51000000,0.52000000\n0.01000000,0.01000000,0.01000000\n"
        b"0.02000000,0.02000000,0.02000000\n",
    }
    assert verify_archive(tmp_path / "a.zip", GOT10K, benchmark).problems == []


def test_the_same_results_give_the_same_bytes(trackingnet_run: Path, tmp_path: Path) -> None:
    write_submission(trackingnet(trackingnet_run), tmp_path / "a.zip")
    for path in sorted(trackingnet_run.iterdir(), reverse=True):
        path.touch()
    write_submission(trackingnet(trackingnet_run), tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert {info.date_time for info in zipfile.ZipFile(tmp_path / "a.zip").infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_got10k_repetitions_of_its_own_toolkit(tmp_path: Path, got10k_runs: Path) -> None:
    """A folder as the got10k toolkit writes it is the same submission as three runs of ours."""
    expected = got10k(got10k_runs).members
    for name, data in expected.items():
        path = tmp_path / "results" / "GOT-10k" / "Ours" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert got10k(tmp_path / "results" / "GOT-10k" / "Ours").members == expected


def test_one_run_of_a_deterministic_tracker(got10k_runs: Path) -> None:
    one = got10k_runs.with_name("default_001")
    (one / "GOT-10k_Test_000005.txt").rename(one / "moved.txt")
    assert got10k(one).findings.problems == [
        f"GOT-10k wants 3 runs of each sequence and {one} is 1 run: run it again, or give --deterministic "
        "if the tracker has no random parts",
        f"{one / 'GOT-10k_Test_000005'}.txt is missing",
    ]
    (one / "moved.txt").rename(one / "GOT-10k_Test_000005.txt")
    assert not [note for note in got10k(one).findings.notes if "equal everywhere" in note]  # there is one run
    submission = got10k(one, deterministic=True)
    assert submission.findings.problems == []
    assert any("3 repetitions are equal everywhere" in note for note in submission.findings.notes)
    texts = [submission.members[f"{NAME}/{NAME}_00{k}.txt"] for k in (1, 2, 3)]
    assert texts[0] == texts[1] == texts[2] and b"13.0000" in texts[0]
    assert submission.members[f"{NAME}/{NAME}_time.txt"].startswith(b"0.51000000,0.51000000,0.51000000\n")


def test_two_runs(got10k_runs: Path) -> None:
    shutil.rmtree(got10k_runs.with_name("default_002"))
    for deterministic in (False, True):  # the one or the other is not true
        (problem,) = got10k(got10k_runs, deterministic=deterministic).findings.problems
        assert problem.endswith("default_000 to default_001 is 2 runs: run it again")


def test_repetitions_that_are_missing_for_one_sequence(tmp_path: Path, got10k_runs: Path) -> None:
    for name, data in got10k(got10k_runs).members.items():
        path = tmp_path / "theirs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("000007_003.txt"):
            path.write_bytes(data)
    for deterministic in (False, True):
        assert got10k(tmp_path / "theirs", deterministic=deterministic).findings.problems == [
            f"{NAME}: 2 of 3 repetitions in {tmp_path / 'theirs'}"
        ]


def test_more_runs_than_are_wanted(got10k_runs: Path, trackingnet_run: Path) -> None:
    got10k_runs.with_name("default_003").mkdir()
    submission = got10k(got10k_runs)
    assert submission.findings.problems == []
    assert "there are 4 runs, of which the first 3 are packed, default_000 to default_002" in submission.findings.notes
    trackingnet_run.rename(trackingnet_run.with_name("fast_000"))
    trackingnet_run.with_name("fast_001").mkdir()
    with pytest.raises(PackingError, match=r"takes one run and there are 2: name one of them, such as .*fast_000"):
        trackingnet(trackingnet_run)


def test_all_problems_at_once(got10k_runs: Path, tmp_path: Path, benchmark_of: BenchmarkOf) -> None:
    def file(run: int, k: int, end: str = "") -> Path:
        return got10k_runs.with_name(f"default_{run:03d}") / f"GOT-10k_Test_{k:06d}{end}.txt"

    good = file(0, 1).read_text()
    file(0, 2).unlink()
    file(1, 3).write_text(good.replace("12.000", "nan"))
    file(2, 4).write_text(good + "1,2,3,4\n")
    file(0, 5).write_text("11.9,20,30,40\n1,2,0.00004,4\n1,2,3,4\n")
    file(1, 6).write_text("1,2,3,4\nletters\n")
    file(2, 7, "_time").unlink()
    file(0, 8, "_time").write_text("0.1\n0.1\n")
    file(1, 9, "_time").write_text("0.1\nx\n0.1\n")
    for run in range(3):
        file(run, 10, "_time").write_text("0.1\n0.1\n")
    submission = got10k(got10k_runs, benchmark=benchmark_of(got10k_names()))
    assert submission.findings.problems == [
        f"{file(0, 2)} is missing",
        f"{file(1, 3)} has row 3 with a NaN or an infinite number",
        f"{file(2, 4)} has 4 rows for 3 frames",
        f"{file(0, 5)} has row 2 with a width or height that is not above 0",
        f"{file(0, 5)} starts with 11.9,20,30,40, but the given box is 10.9,20,30,40",
        f"{file(1, 6)}, line 2: not only numbers (got 'letters')",
        f"{file(2, 7)} has no times beside it, which the server wants",
        f"{file(0, 8)} and its repetitions have times of different length (2, 3, 3)",
        f"{file(1, 9, '_time')} cannot be read as times, so they are not used",
        "GOT-10k_Test_000010/GOT-10k_Test_000010_time.txt has 2 rows for 3 frames",
    ]
    assert submission.findings.sequences == 171
    assert submission.findings.bad == {f"GOT-10k_Test_{k:06d}" for k in range(2, 11)}
    with pytest.raises(PackingError, match="is not written, there are 10 problems"):
        write_submission(submission, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_without_the_data_set(got10k_runs: Path, trackingnet_run: Path) -> None:
    note = "without the data set, rows against frames and first boxes were not checked"
    path = got10k_runs.with_name("default_001") / f"{NAME}.txt"
    path.write_text(path.read_text() + "1,2,3,4\n")
    findings = got10k(got10k_runs).findings
    assert findings.notes == [note]
    assert findings.problems == [f"{path} has 4 rows, where an earlier repetition has 3"]
    assert trackingnet(trackingnet_run).findings == Findings(notes=[note], sequences=511, rows=1533)
    (trackingnet_run / f"{VIDEO}.txt").unlink()
    assert trackingnet(trackingnet_run).findings.problems == [
        "there are 510 sequences, but TrackingNet has 511"
    ]


def test_a_data_set_that_lacks_some(got10k_runs: Path, benchmark_of: BenchmarkOf) -> None:
    findings = got10k(got10k_runs, benchmark=benchmark_of(got10k_names()[:-2])).findings
    assert findings.problems == []
    (note,) = findings.notes
    assert note.endswith("were not checked for what the data set lacks: GOT-10k_Test_000179, GOT-10k_Test_000180")


def test_partial(trackingnet_run: Path, tmp_path: Path, benchmark_of: BenchmarkOf) -> None:
    benchmark = benchmark_of(video_names(trackingnet_run))
    (trackingnet_run / f"{VIDEO}.txt").unlink()
    (trackingnet_run / "00000000008_2.txt").write_text("10.9,20,30,40\n")
    submission = trackingnet(trackingnet_run, benchmark=benchmark, partial=True)
    assert submission.findings.problems == []
    assert submission.findings.notes == [
        f"left out: {trackingnet_run / VIDEO}.txt is missing",
        f"left out: {trackingnet_run / '00000000008_2.txt'} has 1 row for 3 frames",
        "2 of 511 sequences are not in it and will be scored as zeros",
    ]
    write_submission(submission, tmp_path / "a.zip")
    assert len(zipfile.ZipFile(tmp_path / "a.zip").namelist()) == 509
    with pytest.raises(PackingError, match="GOT-10k takes whole submissions only"):
        prepare_submission(GOT10K, find_results(trackingnet_run), partial=True)


def test_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert trackingnet(tmp_path / "empty").findings.problems == ["there are 0 sequences, but TrackingNet has 511"]
    partial = trackingnet(tmp_path / "empty", partial=True).findings
    assert partial.problems[-1] == "there is no sequence left to pack"
    assert len(got10k(tmp_path / "empty").findings.problems) == 1 + 180


def test_boxes_cut_to_whole_numbers_are_taken(trackingnet_run: Path, benchmark_of: BenchmarkOf) -> None:
    benchmark = benchmark_of(video_names(trackingnet_run))
    for path in trackingnet_run.glob("*_[012].txt"):
        path.write_text("10\t20\t30\t40\n11\t20\t30\t40\n12\t21\t30\t40\n")
    submission = trackingnet(trackingnet_run, benchmark=benchmark)
    assert submission.findings.problems == []
    assert submission.members[f"{VIDEO}.txt"].startswith(b"10.00,20.00,30.00,40.00\n11.00,")


def test_a_failed_write_leaves_what_was_there(
    trackingnet_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = trackingnet(trackingnet_run)
    (tmp_path / "a.zip").write_bytes(b"old")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space"):
        write_submission(submission, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_the_got10k_toolkit_reads_it(got10k_runs: Path, tmp_path: Path, benchmark_of: BenchmarkOf) -> None:
    """Renamed to a validation set, the unpacked zip goes through the toolkit's own report."""
    pytest.importorskip("got10k", reason="the got10k toolkit is not installed")
    pytest.importorskip("matplotlib").use("Agg")
    from got10k.experiments import ExperimentGOT10k

    write_submission(got10k(got10k_runs), tmp_path / "a.zip")
    names = [f"GOT-10k_Val_{k:06d}" for k in (1, 2)]
    folder = tmp_path / "results" / "GOT-10k" / "Ours"
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        for member in archive.namelist():
            if member.startswith(("GOT-10k_Test_000001/", "GOT-10k_Test_000002/")):
                path = folder / member.replace("Test", "Val")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(member))
    data = tmp_path / "data" / "val"
    data.mkdir(parents=True)
    (data / "list.txt").write_text("".join(f"{name}\n" for name in names))
    for name in names:
        (data / name).mkdir()
        for k in (1, 2, 3):
            (data / name / f"{k:08d}.jpg").write_bytes(b"")
        (data / name / "groundtruth.txt").write_text("10.9,20,30,40\n11.126,20.5,30,40\n12,21,30,40\n")
        (data / name / "meta_info.ini").write_text("[METAINFO]\nresolution: (320, 240)\n")
        for label in ("absence", "cut_by_image"):
            (data / name / f"{label}.label").write_text("0\n0\n0\n")
        (data / name / "cover.label").write_text("8\n8\n8\n")
    experiment = ExperimentGOT10k(
        str(tmp_path / "data"), "val", str(tmp_path / "results"), str(tmp_path / "reports")
    )
    overall = experiment.report(["Ours"])["Ours"]["overall"]
    # Runs 2 and 3 are 1 and 2 pixels off in the last of two frames: IoU 29/31 and 28/32.
    assert overall["ao"] == pytest.approx((4 + 29 / 31 + 28 / 32) / 6, abs=1e-9)
    assert overall["speed_fps"] == pytest.approx(np.mean([1 / t for t in (0.5, 0.51, 0.52, *[0.01] * 3, *[0.02] * 3)]))
