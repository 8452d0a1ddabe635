"""Many graphs in one worker there, timed by the same algorithm; a lost link loses the batch at hand and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.budget import Budget
from benchmarks.errors import DeviceLostError, TrimfitError, TrimfitWarning
from benchmarks.machine_peak import machine_peak
from benchmarks.rig import Graph
from benchmarks.workload import Workload
from hardware_profiles import LatencyModel, OnnxRuntimeCpu, ProfileRequest, local_device, run_profile
from hardware_profiles.places import remote_place
from hardware_profiles.places.remote_rig import RemoteRig

FEED = {"x": np.ones((3, 4), np.float32)}
REQUEST = ProfileRequest(
    hidden_size=16, head_size=8, max_heads=2, max_ffn=32, depth=2, workload=Workload(seq_len=8),
    precisions=("fp32",), sparsities=(), budget="fast",
)  # fmt: skip


def test_every_graph_has_a_time_of_every_round(place, model):
    with place.rig() as rig:
        rig.load("file", Graph(model, FEED))
        rig.load("bytes", Graph(model.read_bytes(), FEED))
        assert len(rig) == 2
        found = rig.measure(budget=Budget(launches=1, rounds=4, max_seconds=5))
    assert {name: values.shape for name, values in found.items()} == {"file": (4,), "bytes": (4,)}
    assert all((values > 0).all() for values in found.values())


def test_a_file_is_removed_when_the_next_one_is_loaded(place, model, tmp_path):
    other = tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes().replace(b"double", b"twofol"))
    with place.rig() as rig:
        rig.load("first", Graph(model, FEED))
        rig.load("same", Graph(model, FEED, options={"graph_optimization_level": "basic"}))
        first = Path(place.file(model))
        assert first.exists()
        rig.load("other", Graph(other, FEED))
        assert not first.exists()
        assert Path(place.file(model)).exists(), "it is sent again"


def test_graphs_that_were_timed_while_the_device_was_slowed_down_bring_a_warning(place, model, monkeypatch):
    monkeypatch.setattr(remote_place, "throttled", lambda before, after: ["it is hot: give it a fan"])
    with place.rig() as rig:
        rig.load("one", Graph(model, FEED))
        words = "ssh://loopback was slowed down while 1 graphs were timed: it is hot: give it a fan"
        with pytest.warns(TrimfitWarning, match=words):
            rig.measure(budget=Budget(launches=1, rounds=2, max_seconds=1))


def test_a_graph_that_does_not_load_is_one_line(place, model):
    broken = Graph(model, FEED, options={"turbo": True})
    refusal = pytest.raises(TrimfitError, match=r"got ValueError: .*'turbo'.* on ssh://loopback for broken")
    with place.rig() as rig, refusal as caught:
        rig.load("broken", broken)
    assert "\n" not in str(caught.value)


def test_an_empty_rig_is_refused(place):
    with place.rig() as rig, pytest.raises(TrimfitError, match="no graphs"):
        rig.measure()


def test_the_peak_is_that_of_the_place(place):
    there = machine_peak(1)
    assert there.gflops > 1
    assert machine_peak(1) is there


def test_a_device_is_profiled_over_a_connection_and_a_lost_link_loses_only_the_part_at_hand(
    place, tmp_path, monkeypatch
):
    request, runtime, timed = REQUEST, OnnxRuntimeCpu(), []
    measure = RemoteRig.measure

    def lossy(rig, **asked):
        if any("FFN" in name for name in rig.names) and timed:
            raise DeviceLostError("the link was lost")
        timed.append(list(rig.names))
        return measure(rig, **asked)

    monkeypatch.setattr(RemoteRig, "measure", lossy)
    with pytest.raises(DeviceLostError):
        run_profile(place.device, runtime, request, cache=tmp_path)
    assert timed, "options were tried"
    monkeypatch.setattr(RemoteRig, "measure", measure)
    labels: list[str] = []
    profile = run_profile(
        place.device, runtime, request, cache=tmp_path, progress=lambda label, share: labels.append(label)
    )
    assert "choosing the runtime's options" not in labels, "they were known"
    assert profile.device == place.device
    shape = next(iter(request.anchors().values())).shape
    assert LatencyModel().fit(profile).predict(shape, request.workload).ms > 0
    assert profile.device.fingerprint == local_device().fingerprint, "or this test was not of this machine"
