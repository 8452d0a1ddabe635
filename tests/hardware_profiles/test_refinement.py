"""More widths are measured where neighbours differ most, so that rounds close in on a step."""

from __future__ import annotations

from dataclasses import replace

import made_profile as made
import numpy as np
import pytest

from benchmarks.workload import Workload
from hardware_profiles import OnnxRuntimeCpu, ProfileRequest, local_device, machine, run_profile
from hardware_profiles.refinement import midpoints, refined_widths
from hardware_profiles.staircase import Step, steps

REQUEST = ProfileRequest(
    hidden_size=16, head_size=8, max_heads=2, max_ffn=1024, depth=1, workload=Workload(seq_len=8),
    precisions=("fp32",), sparsities=(), budget="default",
)  # fmt: skip


class OneStep:
    """FFNs wider than 528 take 2 ms, all else takes 1 ms."""

    def __init__(self):
        self.timed = []

    def __call__(self, calls, *, budget, threads=1, seed=0):
        self.timed += list(calls)
        return {name: np.full(3, self.seconds(name)) for name in calls}

    def seconds(self, name):
        copies, _, what = name.partition(" x ")
        width = int(what.removeprefix("FFN of ")) if what.startswith("FFN") else 0
        return 1e-3 + int(copies) * 1e-3 * (1 + (width > 528)) if what.startswith("FFN") else 1e-3


def profiled(cache, request):
    return run_profile(local_device(), OnnxRuntimeCpu(), request, cache=cache)


def ffn_widths(profile):
    return {entry.unit.width for entry in profile.entries if entry.unit.kind == "ffn"}


@pytest.fixture
def measuring(monkeypatch):
    fake = OneStep()
    monkeypatch.setattr("benchmarks.rig.measure_calls", fake)
    monkeypatch.setattr(machine, "machine_peak", lambda *of: made.PEAK)
    monkeypatch.setattr(machine, "memory_bandwidth", lambda *of: made.BANDWIDTH)
    return fake


def between(widths, seconds, multiple=16, count=9, spread=0.01):
    return midpoints(widths, seconds, [spread] * len(widths), multiple, count)


def test_the_interval_that_rises_most_is_halved():
    assert between((0, 64, 128, 256), (0.0, 1.0, 1.1, 5.0), count=1) == (192,)
    assert between((0, 64, 128, 256), (0.0, 1.0, 1.5, 5.0), count=2) == (96, 192)


def test_a_removed_block_is_no_step():
    assert between((0, 64, 128), (0.0, 9.0, 9.0)) == ()


def test_no_finer_than_kernels_work():
    assert between((64, 80), (1.0, 9.0)) == ()
    assert between((64, 96), (1.0, 9.0)) == (80,)
    assert between((1, 2, 4), (1.0, 2.0, 3.0), multiple=1) == (3,)


def test_small_differences_are_noise():
    assert between((64, 128, 256), (1.0, 1.01, 1.02), spread=0.0) == ()
    assert between((64, 128, 256), (1.0, 2.0, 4.0), spread=1.5) == (192,)


def test_a_busy_moment_is_no_step():
    request = replace(REQUEST, hidden_size=made.HIDDEN, head_size=made.HEAD, max_ffn=128, workload=made.WORKLOAD)
    busy = made.timing(made.unit("ffn", 64), 500e-6).model_copy(update={"iqr": 400e-6})
    steady = made.profile().with_entries([made.timing(made.unit("ffn", width), 50e-6) for width in (32, 96, 128)])
    asked = {"count": 4, "most": 4}
    assert refined_widths(steady.with_entries([busy]), request, "ffn", "fp32", **asked) == ()
    sure = busy.model_copy(update={"iqr": 1e-6})
    assert refined_widths(steady.with_entries([sure]), request, "ffn", "fp32", **asked) != ()


def test_none_are_asked_for_once_there_are_enough():
    assert between((64, 128), (1.0, 9.0), count=0) == ()
    assert between((64, 128), (1.0, 9.0), count=-1) == ()


def test_rounds_close_in_on_the_step(tmp_path, measuring):
    base = {unit.width for unit in REQUEST.units("ffn")}
    thorough = ffn_widths(profiled(tmp_path, replace(REQUEST, budget="thorough")))
    assert {528, 544} <= thorough
    assert thorough - base <= set(range(512, 640))


def test_a_fast_profile_looks_for_no_steps(tmp_path, measuring):
    request = replace(REQUEST, budget="fast")
    assert ffn_widths(profiled(tmp_path, request)) == {unit.width for unit in request.units("ffn")}


@pytest.mark.parametrize("budget", ["default", "thorough"])
def test_what_was_refined_is_not_refined_again(tmp_path, measuring, budget):
    request = replace(REQUEST, budget=budget)
    first = profiled(tmp_path, request)
    measuring.timed.clear()
    assert profiled(tmp_path, request) == first
    assert measuring.timed == []


@pytest.mark.parametrize("budget", ["default", "thorough"])
def test_progress_grows_to_1_while_steps_are_looked_for(tmp_path, measuring, budget):
    shares = []
    request = replace(REQUEST, budget=budget)
    run_profile(
        local_device(), OnnxRuntimeCpu(), request, cache=tmp_path, progress=lambda _, share: shares.append(share)
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_steps_are_where_it_is_steeper_than_on_the_whole():
    widths, seconds = (0, 8, 16, 24, 40), (0.0, 1.0, 1.0, 5.0, 5.0)
    assert steps(widths, seconds, (0.1,) * 5) == (Step(16, 24, 4.0, 4.0),)
    assert steps(widths, seconds, (0.1, 0.1, 4.0, 4.1, 0.1)) == ()


def test_a_ramp_has_no_steps():
    assert steps((0, 10, 20, 40), (0.0, 1.0, 2.0, 4.0), (0.1,) * 4) == ()
    assert steps((0, 10), (0.0, 1.0), (0.1,) * 2) == ()
    assert steps((10, 20), (1.0, 1.0), (0.1,) * 2) == ()
