"""What is measured of the machine itself is asked for, kept, and measured once."""

from __future__ import annotations

from dataclasses import replace

import made_profile as made
import numpy as np
import pytest

from benchmarks.workload import Workload
from hardware_profiles import LatencyProfile, ProfileRequest, machine
from hardware_profiles.machine import measure_machine, peak_precision, thread_counts

REQUEST = ProfileRequest(
    hidden_size=16, head_size=8, max_heads=2, max_ffn=32, depth=2, workload=Workload(seq_len=8), budget="fast",
    precisions=("fp32", "int8"), machine=True,
)  # fmt: skip
TWO_CORES = made.profile().model_copy(update={"device": made.DEVICE.model_copy(update={"cores": 2})})


@pytest.fixture
def measuring(monkeypatch):
    seen = []

    def calls(calls, *, budget, threads=1, seed=0):
        seen.extend(calls)
        return {name: np.full(3, 1e-3 / int(name[0])) for name in calls}

    def peak(threads, precision):
        seen.append(f"peak {precision}")
        return made.PEAK.model_copy(update={"precision": precision})

    def bandwidth(threads):
        seen.append("bandwidth")
        return made.BANDWIDTH

    monkeypatch.setattr("benchmarks.rig.measure_calls", calls)
    monkeypatch.setattr(machine, "machine_peak", peak)
    monkeypatch.setattr(machine, "memory_bandwidth", bandwidth)
    return seen


def steps(profile=TWO_CORES, request=REQUEST):
    return list(measure_machine(profile, request, lambda label: None))


def test_the_profile_grows_by_peaks_memory_and_threads(measuring):
    *_, last = steps()
    assert [peak.precision for peak in last.peaks] == ["fp32", "int8"]
    assert last.bandwidths == (made.BANDWIDTH,)
    found = {(model.precision, model.workload.threads): model.seconds for model in last.thread_scaling}
    assert found == {(p, n): pytest.approx(1e-3 / n) for p in REQUEST.precisions for n in (1, 2)}
    assert all(model.workload.seq_len == 8 for model in last.thread_scaling)


def test_every_step_can_be_kept_and_what_is_known_is_not_measured_again(measuring):
    grown = steps()
    assert len(grown) == 5
    for number, profile in enumerate(grown, start=1):
        assert len(steps(profile)) == 5 - number
    measuring.clear()
    assert steps(grown[-1]) == []
    assert measuring == []


def test_only_who_asks_is_told(measuring):
    assert steps(request=replace(REQUEST, machine=False)) == []
    assert len(steps(request=replace(REQUEST, machine=False, budget="thorough"))) == 5
    assert steps(request=replace(REQUEST, sparse=True)) == []


def test_it_survives_saving_and_merging(tmp_path, measuring):
    *_, last = steps()
    assert LatencyProfile.load(last.save(tmp_path / "p.json")) == last
    assert TWO_CORES.merge(last).thread_scaling == last.thread_scaling
    assert last.merge(TWO_CORES).peaks == last.peaks


def test_the_part_about_a_model_has_what_threads_bring_to_it(measuring):
    *_, last = steps()
    assert len(last.only(16, 8, REQUEST.workload, "gelu").thread_scaling) == 4
    assert last.only(16, 8, Workload(seq_len=9), "gelu").thread_scaling == ()
    assert last.only(32, 8, REQUEST.workload, "gelu").thread_scaling == ()
    assert last.only(32, 8, REQUEST.workload, "gelu").peaks == last.peaks


def test_threads_double_up_to_the_cores():
    assert [thread_counts(cores) for cores in (1, 2, 3, 6, 8)] == [
        (1,), (1, 2), (1, 2, 3), (1, 2, 4, 6), (1, 2, 4, 8),
    ]  # fmt: skip


def test_every_kind_of_int8_is_held_against_one_peak():
    assert [peak_precision(name) for name in ("fp32", "int8", "int8-static", "bf16")] == ["fp32", "int8", "int8", None]


def test_an_older_file_has_none_of_it(tmp_path):
    path = made.profile().save(tmp_path / "p.json")
    text = path.read_text()
    for field in ("peaks", "bandwidths", "thread_scaling"):
        assert f'"{field}": []' in text
        text = text.replace(f',\n "{field}": []', "")
    path.write_text(text)
    assert LatencyProfile.load(path) == made.profile()
