import json
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.errors import TrimfitError
from optimizer import files
from optimizer.distillation.black_box import Endpoint
from optimizer.job import Job
from optimizer.target import LatencyMs, MaxDrop, Speedup, choose_target


@pytest.fixture
def job(tmp_path: Path, classifier_folder: Path) -> Job:
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "a", "label": "b"}\n')
    return Job(model=classifier_folder, data=data, out=tmp_path / "out", target=Speedup(3))


def test_the_same_job_may_go_on(job: Job) -> None:
    job.check()
    job.open()
    job.check()
    assert job.tick() <= job.tick()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"target": Speedup(4)}, "target was speed-up >= 3, now speed-up >= 4"),
        ({"seed": 1}, "seed was 0, now 1"),
        ({"importance": "fisher"}, "importance was second-order, now fisher"),
        ({"zeros_by": "movement"}, "zeros_by was second-order-even, now movement"),
        ({"schedule": "lottery"}, "schedule was gradual, now lottery"),
        ({"seq_len": 32}, "workload was"),
        ({"vocabulary": "trim"}, "vocabulary was"),
        ({"teacher": Endpoint.of(url="https://x/ask")}, "teacher was None, now .'https://x/ask'"),
        ({"distill": "cofi"}, "distill was soft-targets, now cofi"),
    ],
)
def test_another_job_is_refused_by_what_differs(job: Job, change: dict, named: str) -> None:
    job.open()
    with pytest.raises(TrimfitError, match=named):
        replace(job, **change).check()


def test_changed_data_is_another_job(job: Job) -> None:
    job.open()
    job.data.write_text('{"text": "a", "label": "c"}\n')
    with pytest.raises(TrimfitError, match="data was"):
        job.check()


def test_another_set_to_score_is_another_job(job: Job, tmp_path: Path) -> None:
    job.open()
    (tmp_path / "shop.jsonl").write_text('{"text": "a", "label": "b"}\n')
    with pytest.raises(TrimfitError, match="also_test was"):
        replace(job, also_test=(tmp_path / "shop.jsonl",)).check()


def test_files_that_are_named_must_be_there(job: Job, tmp_path: Path) -> None:
    with pytest.raises(TrimfitError, match="no such file"):
        replace(job, keep_vocabulary=(tmp_path / "none.txt",)).check()
    with pytest.raises(TrimfitError, match="is no file or folder: give --also-test"):
        replace(job, also_test=(tmp_path / "none",)).check()


def test_a_folder_with_something_else_is_left_alone(job: Job) -> None:
    job.out.mkdir()
    (job.out / "thesis.tex").write_text("years")
    with pytest.raises(TrimfitError, match="holds something else: choose another --out"):
        job.check()
    assert [path.name for path in job.out.iterdir()] == ["thesis.tex"]


def test_a_full_disk_is_refused_before_anything_is_written(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: usage(10, 10, 1000))
    with pytest.raises(TrimfitError, match="free some space or choose another --out"):
        job.check()
    assert not job.out.exists()


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    files.write_text_atomically(path, "first")

    def fail(part: Path) -> None:
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.write_atomically(path, fail)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# targets


def test_a_target_is_milliseconds_or_a_score() -> None:
    assert Speedup(4).milliseconds(10.0) == 2.5
    assert LatencyMs(3).milliseconds(10.0) == 3
    assert MaxDrop(1).lowest_score(0.9) == pytest.approx(0.891)
    assert str(choose_target(None, None, None)) == "drop <= 1 % of the teacher's score"
    assert choose_target(None, 5.0, None) == LatencyMs(5.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((1.0, None, None), "speed-up must be above 1"),
        ((None, 0.0, None), "latency must be above 0 ms"),
        ((None, None, 100.0), "between 0 and 100 %"),
        ((2.0, 3.0, None), "got --speedup and --latency, expected one target"),
        ((float("nan"), None, None), "speed-up must be above 1"),
    ],
)
def test_impossible_targets_are_refused(options: tuple, message: str) -> None:
    with pytest.raises(TrimfitError, match=message):
        choose_target(*options)


def test_the_note_is_json(job: Job) -> None:
    job.open()
    assert json.loads((job.work / "job.json").read_text())["asked"]["target"] == "speed-up >= 3"
