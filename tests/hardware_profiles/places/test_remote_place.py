"""Models are timed at a place behind a connection as they are here: the same worker, the same turns."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks import Budget, Contestant, compare, measure
from benchmarks.answers import answer_differences
from benchmarks.benchmark import benchmark_files
from benchmarks.contestant import Launch
from benchmarks.errors import DeviceLostError, TrimfitError
from benchmarks.place import current_place
from hardware_profiles.places import RemotePlace, open_place, remote_place

QUICK = Budget(launches=2, min_launches=2, rounds=3, max_seconds=1.0, precision=10)


def contestants(model, *names):
    return [Contestant(name=name, model=model) for name in names]


def test_contestants_take_turns_there_and_say_so(place, model):
    first, second = measure(contestants(model, "first", "second"), budget=QUICK)
    assert compare(first, second).interleaved
    assert first.median > 0
    assert first.provenance == "measured_device"
    environment = first.environment
    assert environment.cpu
    told = {"onnxruntime": place.told["onnxruntime"], "numpy": place.told["numpy"], "MNN": place.told["mnn"]}
    assert environment.packages == {name: version for name, version in told.items() if version}
    assert environment.before.own_seconds == 0
    assert environment.after.own_seconds > 0
    assert environment.after.busy_seconds >= environment.before.busy_seconds


def test_a_file_is_sent_once_for_its_content(place, tmp_path):
    first, same = tmp_path / "rows.npz", tmp_path / "again" / "rows.npz"
    same.parent.mkdir()
    for file in (first, same):
        file.write_bytes(b"rows")
    name = place.file(first)
    assert place.file(same) == name
    assert Path(name).read_bytes() == b"rows"
    same.write_bytes(b"other rows")
    assert place.file(same) != name


def test_a_model_brings_its_external_data(place, model, tmp_path):
    path = tmp_path / "large.onnx"
    large = onnx.load(model)
    large.graph.initializer.append(numpy_helper.from_array(np.ones(2048, np.float32), "weight"))
    onnx.save_model(large, path, save_as_external_data=True, location="large.onnx_data", size_threshold=0)
    there = Path(place.file(path))
    assert there.name == "large.onnx"
    assert there.with_name("large.onnx_data").read_bytes() == path.with_name("large.onnx_data").read_bytes()


def test_nothing_is_left_there(loopback, model):
    with open_place(loopback, emulated=False) as place:
        folder = Path(place.file(model)).parent
        assert folder.is_dir()
    assert not folder.exists()


def test_a_place_that_cannot_be_leaves_nothing_there(loopback, monkeypatch):
    monkeypatch.setattr(RemotePlace, "_describe", lambda self: {"not_a_device": "an emulator"})
    with pytest.raises(TrimfitError, match="an emulator, whose times mean nothing"):
        RemotePlace(loopback, "python3")
    session = Path(loopback._contact().folder)
    assert [path.name for path in session.iterdir()] == ["where"]


def test_a_folder_that_went_with_a_lost_link_is_made_anew(place, model):
    folder = Path(place.file(model)).parent
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    (again,) = measure(contestants(model, "again"), budget=QUICK)
    assert again.median > 0
    assert place.files.folder != str(folder)


def test_a_worker_of_another_version_is_one_line(place, model, monkeypatch, tmp_path):
    other = tmp_path / "__main__.py"
    other.write_text(remote_place.WORKER.read_text() + "\n# changed\n")
    monkeypatch.setattr(remote_place, "WORKER", other)
    with pytest.raises(TrimfitError, match=r"got worker \w+ on ssh://loopback, expected \w+") as caught:
        measure(contestants(model, "a"), budget=QUICK)
    assert "\n" not in str(caught.value)


def test_a_worker_that_dies_there_says_how_in_one_line(place, model, tmp_path):
    loader = tmp_path / "loader.py"
    loader.write_text("import os, sys\ndef load(job):\n    sys.stderr.write('no licence\\n'); os._exit(3)\n")
    doomed = Contestant(name="doomed", model=model, loader=loader)
    with pytest.raises(TrimfitError, match=r"doomed .* died there .exit code 3.; it said: no licence") as caught:
        measure([doomed], budget=QUICK)
    assert "\n" not in str(caught.value)


def test_variables_reach_the_worker_there(place, model, tmp_path):
    loader = tmp_path / "loader.py"
    loader.write_text("import os\ndef load(job):\n    assert os.environ['CAP'] == 'a b'; return lambda feed: feed\n")
    np.savez(tmp_path / "pool.npz", x=np.ones((2, 1, 4), np.float32))
    capped = Contestant(name="a", model=model, loader=loader, env={"CAP": "a b"})
    with Launch(capped, tmp_path / "pool.npz", seed=0) as launch:
        launch.ready()
        assert launch.ask("load", cpus=[])["load_seconds"] >= 0


def test_a_link_that_is_lost_is_an_error_of_its_own(place, model, monkeypatch):
    def lost(*arguments, **named):
        raise DeviceLostError("the link was lost")

    monkeypatch.setattr(place.connection, "start", lost)
    with pytest.raises(DeviceLostError):
        measure(contestants(model, "a"), budget=QUICK)


def test_answers_there_are_held_against_those_here(place, model, tmp_path):
    np.savez(tmp_path / "pool.npz", x=np.ones((2, 1, 4), np.float32))
    assert answer_differences(contestants(model, "a"), {"a": tmp_path / "pool.npz"}, {}) == {"a": 0.0}
    assert not current_place().is_here


def test_a_benchmark_there_has_answers_and_no_energy_of_this_machine(place, model):
    result = benchmark_files([model], budget=QUICK)
    assert result.answers == {"model": 0.0}
    assert "this machine only, not on ssh://loopback" in result.energy[0].reason


# emulators


def test_in_an_emulator_models_are_tried_and_no_time_is_kept(loopback, model):
    with open_place(loopback, emulated=True) as place:
        result = benchmark_files([model], budget=QUICK)
        assert place.device.provenance == "emulated_functional"
    (m,) = result.measurements
    assert (m.provenance, len(m.samples)) == ("emulated_functional", 0)
    assert [launch.load_seconds for launch in m.launches] == [None]
    assert result.answers == {"model": 0.0}
    assert not result.peaks
    assert result.comparisons == ()


def test_what_looks_like_an_emulator_is_refused_as_a_device(loopback, monkeypatch):
    told = RemotePlace._describe
    doubt = {"not_a_device": "an aarch64 machine without MIDR"}
    monkeypatch.setattr(RemotePlace, "_describe", lambda place: {**told(place), **doubt})
    with (
        pytest.raises(TrimfitError, match="got ssh://loopback, which is an aarch64 machine without MIDR: an emulator"),
        open_place(loopback, emulated=False),
    ):
        pass


def test_pinning_counts_the_cpus_there(place):
    allowed = sorted(os.sched_getaffinity(0))
    assert place.cores == len(allowed)
    assert set(place.cpus(1, np.random.default_rng(0))) <= set(allowed)
    assert place.cpus(len(allowed), np.random.default_rng(0)) == tuple(allowed)
