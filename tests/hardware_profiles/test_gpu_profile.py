"""A GPU as a device, its profile, and what 2:4 zeros are measured to bring; this CPU stands in for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.errors import TrimfitError
from benchmarks.gpu.gpu import Gpu
from benchmarks.gpu.place import GpuPlace, stand_in
from benchmarks.place import current_place, in_force
from benchmarks.workload import Workload
from hardware_profiles import (
    Device,
    LatencyModel,
    LatencyProfile,
    ProfileRequest,
    get,
    local_device,
    reach,
    resolve,
    run_profile,
)
from hardware_profiles.device import device_in_force, on_gpu
from hardware_profiles.graph import kept
from hardware_profiles.profile_request import TWO_OF_FOUR
from hardware_profiles.unit import zeros_in_words
from hardware_profiles.widths import ladder

WORKLOAD = Workload(batch=2, seq_len=8)
REQUEST = ProfileRequest(32, 8, 2, 64, 2, WORKLOAD, precisions=("fp32", "fp16"), sparsities=(), budget="fast")
GPU = Gpu(name="Paper", compute_capability=(9, 0), memory_bytes=8, multiprocessors=7, l2_bytes=1 << 20, cuda="13.0")


@pytest.fixture
def place():
    found = stand_in()
    with in_force(found):
        yield found


# -- the device ---------------------------------------------------------------------------------------------


def test_a_gpu_that_there_is_not_is_refused_in_one_line():
    with pytest.raises(TrimfitError) as caught:
        resolve("cuda")
    assert "\n" not in str(caught.value)
    assert "--device" in str(caught.value)


def test_within_reach_everything_is_measured_on_the_gpu(place):
    with reach("cuda") as device:
        assert current_place() is place
        assert device == device_in_force() == resolve("cuda:0")
        assert (device.gpu, device.name, device.provenance) == (place.gpu, place.gpu.name, "measured_proxy")
        assert set(device.runtimes) == {"onnxruntime-cuda", "torch-cuda", "torch-cuda+2:4"}
        assert device.default_threads == 1


@pytest.mark.parametrize("change", [{"driver": "581"}, {"power_limit_w": 350.0}, {"l2_bytes": 1}, {"name": "Scissors"}])
def test_whatever_makes_a_gpu_another_one_is_in_its_fingerprint(change):
    device = Device(name=GPU.name, gpu=GPU)
    other = device.model_copy(update={"gpu": GPU.model_copy(update=change)})
    assert device.fingerprint != other.fingerprint
    assert "gpu" in device.difference(other)


def test_a_device_without_a_gpu_is_written_and_identified_as_before():
    device = Device(name="slide rule")
    assert "gpu" not in device.model_dump()
    with_gpu = Device(name="slide rule", gpu=GPU)
    assert Device.model_validate_json(with_gpu.model_dump_json()) == with_gpu
    assert device.fingerprint != with_gpu.fingerprint


def test_the_local_device_stays_the_local_one(place):
    assert local_device().gpu is None
    assert on_gpu(place).gpu == place.gpu
    assert on_gpu(GpuPlace(GPU, place.index)).gpu == GPU


# -- the profile --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["onnxruntime-cuda", "torch-cuda"])
def test_a_profile_of_a_gpu_predicts_its_precisions(place, name, tmp_path):
    request = replace(REQUEST, machine=True)
    profile = run_profile(on_gpu(place), get(name), request, cache=tmp_path)
    assert profile.precisions == ("fp32", "fp16")
    assert {trial.name for trial in profile.trials} == {"stock", "CUDA graphs"}
    assert {peak.precision for peak in profile.peaks} == {"fp32", "fp16"}
    assert profile.bandwidths[0].gigabytes_per_second > 0
    assert not profile.thread_scaling
    assert all(4 <= entry.repeat <= 8 for entry in profile.entries)
    again = LatencyProfile.load(next(tmp_path.glob("*.json")))
    assert again == profile
    assert again.runtime.name == name
    for precision in profile.precisions:
        assert LatencyModel().fit(profile).predict(REQUEST.reference, WORKLOAD, precision).ms > 0


def test_a_profile_holds_what_two_of_four_zeros_bring_at_its_batch(place, tmp_path):
    request = replace(REQUEST, precisions=("fp16",), sparse=True, sparsities=(TWO_OF_FOUR,))
    profile = run_profile(on_gpu(place), get("torch-cuda+2:4"), request, cache=tmp_path)
    zeros = [entry for entry in profile.entries if entry.unit.sparsity]
    assert {(entry.unit.pattern, entry.unit.sparsity) for entry in zeros} == {("n:m", 0.5)}
    assert [anchor.name for anchor in profile.anchors if anchor.sparsity] == [
        "2 layers, 2:4 zeros",
        "1 layers, 2:4 zeros",
        "1 layers of 1 heads, 2:4 zeros",
    ]
    assert not profile.break_even
    dense = run_profile(on_gpu(place), get("torch-cuda"), replace(REQUEST, precisions=("fp16",)), cache=tmp_path)
    model = LatencyModel().fit(profile.over(dense))
    assert model.sparsity_range(WORKLOAD, "fp16", "n:m", hidden_size=32) == (0.5, 0.5)
    assert model.zeros_speedup(WORKLOAD, "fp16", 0.5, "n:m", hidden_size=32) > 0


def test_two_of_four_zeros_are_two_of_every_four_inputs_of_an_output():
    mask = kept(10, 6, "n:m", 0.5, np.random.default_rng(0))
    assert mask.shape == (10, 6)
    np.testing.assert_array_equal(mask[:8].reshape(2, 4, 6).sum(axis=1), np.full((2, 6), 2))
    assert len({tuple(column) for column in mask.T}) > 1
    assert zeros_in_words("n:m", 0.5) == "2:4 zeros"


def test_a_ladder_goes_on_beyond_a_large_cache():
    assert max(ladder(1e6, 400e6)) == 64
    assert max(ladder(1e6, 400e6, cache_bytes=60e6)) == 120
    assert max(ladder(1e6, 90e6, cache_bytes=60e6)) == 90
