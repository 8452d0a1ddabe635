"""A device is reached by its name, once, and only what is in force is measured."""

from __future__ import annotations

import pytest

from benchmarks.errors import TrimfitError
from benchmarks.place import current_place
from hardware_profiles import OnnxRuntimeCpu, ProfileRequest, local_device, reach, resolve, run_profile
from hardware_profiles.connections.local import LocalConnection
from hardware_profiles.places import EMULATED_VARIABLE
from hardware_profiles.runtimes import runtimes
from hardware_profiles.runtimes.sparse.dispatcher import LIMIT

NAME = "ssh://loopback"


@pytest.fixture
def connected(monkeypatch):
    made = []

    def connect(name):
        made.append(name)
        return LocalConnection(name)

    monkeypatch.delenv(LIMIT, raising=False)
    monkeypatch.delenv(EMULATED_VARIABLE, raising=False)
    monkeypatch.setattr("hardware_profiles.places.reaching.connect", connect)
    return made


def test_this_machine_over_a_connection_is_the_same_device(connected):
    here, there = local_device(), resolve(NAME)
    elsewhere = {name: version for name, version in here.runtimes.items() if name != "openvino-ep"}
    assert there == here.model_copy(update={"runtimes": elsewhere})
    assert there.fingerprint == here.fingerprint


def test_within_the_block_it_is_in_force_and_is_not_reached_again(connected):
    with reach(NAME) as device:
        assert (current_place().name, current_place().is_here) == (NAME, False)
        assert resolve(NAME) is device
        with reach(NAME) as same:
            assert same is device
        assert {runtime.name: runtime.version for runtime in runtimes()} == device.runtimes
    assert current_place().is_here
    assert connected == [NAME]


def test_this_machine_is_reached_without_a_connection(connected):
    with reach("local") as device:
        assert device == local_device()
        assert current_place().is_here
    assert connected == []


def test_a_profile_of_a_device_that_is_not_in_force_is_refused(tmp_path):
    request = ProfileRequest(hidden_size=16, head_size=8, max_heads=2, max_ffn=32, depth=2)
    other = local_device().model_copy(update={"name": "a board"})
    with pytest.raises(TrimfitError, match=r"got a board to be measured while .* is in force .name a board against"):
        run_profile(other, OnnxRuntimeCpu(), request, cache=tmp_path)


def test_an_emulator_has_no_latency_to_profile(connected, monkeypatch, tmp_path):
    monkeypatch.setenv(EMULATED_VARIABLE, "1")
    request = ProfileRequest(hidden_size=16, head_size=8, max_heads=2, max_ffn=32, depth=2)
    with reach(NAME) as device:
        assert device.provenance == "emulated_functional"
        with pytest.raises(TrimfitError, match="which is emulated_functional, expected a device"):
            run_profile(device, OnnxRuntimeCpu(), request, cache=tmp_path)
