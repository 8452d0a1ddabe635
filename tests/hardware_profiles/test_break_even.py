"""A layer becomes sparse only from the sparsity on at which that was measured to be faster on the device."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import made_profile as made
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from pretend_sparse import NAME, PretendSparse

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles import (
    BreakEven,
    LatencyModel,
    LatencyProfile,
    ProfileRequest,
    RuntimeRecord,
    break_even,
    local_device,
    run_profile,
)
from hardware_profiles import profile as profile_module
from hardware_profiles.break_even import NEVER, crossing
from hardware_profiles.clock import Clock
from hardware_profiles.latency_table import LatencyTable, tables_of
from hardware_profiles.layer_breaks import just_sparse
from hardware_profiles.micro_graph import encoder_graph
from hardware_profiles.runtimes import OnnxRuntimeCpu, OnnxRuntimeSparse
from hardware_profiles.shape import EncoderShape
from hardware_profiles.zeros_curve import ZerosCurve

REQUEST = ProfileRequest(
    hidden_size=16, head_size=8, max_heads=2, max_ffn=32, depth=2, workload=Workload(seq_len=8),
    sparsities=(0.5, 0.9, 0.95), budget="fast", sparse=True,
)  # fmt: skip
POINT = BreakEven(out_features=32, in_features=16, workload=REQUEST.workload, precision="fp32", sparsity=0.6)


@pytest.fixture(autouse=True)
def pretending(monkeypatch):
    made = {runtime.name: runtime for runtime in (OnnxRuntimeCpu(), PretendSparse())}
    monkeypatch.setattr(profile_module.runtimes, "get", made.__getitem__)


class FakeMeasuring:
    """Dense layers take 1 ms, sparse ones 2 ms for all weights and as much less as there are zeros."""

    def __init__(self):
        self.timed = []

    def __call__(self, calls, *, budget, threads=1, seed=0):
        self.timed += list(calls)
        return {name: np.full(3, self._seconds(name)) for name in calls}

    def _seconds(self, name):
        with_zeros = name.startswith(("(", "all")) and not name.endswith(")")
        sparsity = float(name.rpartition(" ")[2]) if with_zeros else None
        return 1e-3 if sparsity is None else 2e-3 * (1 - sparsity)


@pytest.fixture
def measuring(monkeypatch):
    fake = FakeMeasuring()
    monkeypatch.setattr("benchmarks.rig.measure_calls", fake)
    return fake


def profiled(cache, request=REQUEST):
    return run_profile(local_device(), PretendSparse(), request, cache=cache)


def test_it_lies_where_the_sparse_operators_line_meets_the_dense_time():
    assert crossing(0.98**-1, (0.5, 0.7, 0.9), (1.0, 0.6, 0.2)) == pytest.approx(0.5)
    assert crossing(1.0, (0.5, 0.9), (1.3, 0.3)) == pytest.approx(0.628)


def test_an_operator_that_is_always_slower_never_pays():
    assert crossing(1.0, (0.5, 0.9), (9.0, 5.0)) == NEVER
    assert crossing(1.0, (0.5, 0.9), (2.0, 2.0)) == NEVER


def test_only_the_layers_own_time_counts_of_an_encoders():
    assert crossing(10.0, (0.5, 0.75), (10.0, 9.5)) == pytest.approx(0.51)  # the layer takes 1 of the 10
    assert crossing(1.0, (0.5, 0.75), (1.0, 0.5)) == pytest.approx(0.51)


def test_fewer_zeros_than_were_measured_are_not_promised_much():
    assert crossing(9.0, (0.5, 0.9), (1.0, 0.2)) == 0.3
    assert crossing(9.0, (0.5, 0.9), (1.0, 1.0)) == 0.3


def test_every_shape_of_layer_gets_its_own_at_every_precision(tmp_path, measuring):
    found = {(p.out_features, p.in_features, p.precision): p.sparsity for p in profiled(tmp_path).break_even}
    shapes = [(16, 16), (32, 16), (16, 32)]
    assert found == {(*shape, precision): 0.51 for shape in shapes for precision in ("fp32", "int8")}


def test_the_runtime_is_told_those_of_the_workload(tmp_path, measuring):
    both = profiled(tmp_path, replace(REQUEST, workload=Workload(seq_len=16)))
    both = profiled(tmp_path)
    assert {p.workload.seq_len for p in both.break_even} == {8, 16}
    asked = both.only(16, 8, REQUEST.workload, "gelu").with_break_even([POINT])
    assert asked.runtime_at(REQUEST.workload).break_even["fp32"] == {"16x16": 0.51, "32x16": 0.6, "16x32": 0.51}
    assert asked.runtime_at(Workload(seq_len=3)).break_even == asked.runtime.break_even
    assert both.runtime.break_even == {}


def test_what_is_known_is_not_measured_again(tmp_path, measuring):
    first = profiled(tmp_path)
    measuring.timed.clear()
    assert profiled(tmp_path) == first
    assert measuring.timed == []


def test_a_runtime_that_skips_zeros_is_asked_only_about_zeros(tmp_path, measuring):
    profile = profiled(tmp_path)
    assert profile.ladder == ()
    units = [str(e.unit) for e in profile.entries if e.precision == "int8"]
    assert sorted(units) == sorted(
        f"{block}{zeros}"
        for block in ("attention of 1 heads", "attention of 2 heads", "FFN of 32")
        for zeros in ("", ", 50% zero blocks", ", 90% zero blocks", ", 95% zero blocks")
    )
    wholes = (("2 layers,", 80), ("2 layers,", 95), ("1 layers,", 90), ("1 layers of 1 heads,", 80), ("uneven,", 70))
    assert {(a.name, a.precision) for a in profile.anchors} == {
        (f"{model} {share}% {zeros}", precision)
        for model, share in wholes
        for zeros, precision in (("zeros", "fp32"), ("zero blocks", "int8"))
    }


def test_it_survives_saving(tmp_path):
    profile = made.profile().with_break_even([POINT])
    assert LatencyProfile.load(profile.save(tmp_path / "p.json")) == profile
    moved = POINT.model_copy(update={"sparsity": 0.7})
    assert profile.with_break_even([moved]).break_even == (moved,)


@pytest.mark.parametrize("asked", [REQUEST.linears(), REQUEST.linears()[1:]])
def test_each_kind_of_layer_is_asked_among_others_that_are_sparse(monkeypatch, asked):
    """Of an encoder in which attention's layers take 3 ms dense and all others 1; 2 ms sparse, times what is left."""
    loaded = {}

    def load(rig, name, runtime, request, zeros, dense, precision, seed):
        assert set(zeros) == set(REQUEST.linears())
        took = {shape: 2e-3 * (1 - share) for shape, share in zeros.items()}
        loaded[name] = sum((took | {shape: 3e-3 if shape == (16, 16) else 1e-3 for shape in dense}).values())

    monkeypatch.setattr(break_even, "_load", load)
    monkeypatch.setattr(break_even, "with_room", lambda *_: {n: SimpleNamespace(seconds=s) for n, s in loaded.items()})
    found = break_even.measure_break_even(PretendSparse(), REQUEST, asked, "fp32")
    expected = {(16, 16): 0.3, (32, 16): 0.51, (16, 32): 0.51}
    assert {(p.out_features, p.in_features): p.sparsity for p in found} == {shape: expected[shape] for shape in asked}


def test_layers_without_zeros_stay_dense_where_others_are_forced_to_be_sparse(tmp_path):
    forced = {"16x16": break_even._ALWAYS}
    assert OnnxRuntimeSparse(break_even={"fp32": forced}).pays("fp32", (16, 16), 0.1)
    assert not OnnxRuntimeSparse(break_even={"fp32": forced}).pays("fp32", (16, 16), 0.0)


@pytest.mark.parametrize("pattern", ["unstructured", "block"])
def test_an_encoder_has_the_zeros_that_were_asked_for_by_size(tmp_path, pattern):
    shape = EncoderShape.uniform(16, 8, 1, 2, 64)
    path = encoder_graph(shape, tmp_path / "m.onnx", pattern=pattern, sparsity={(64, 16): 0.75})
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    shares = {name: np.mean(w == 0) for name, w in weights.items() if w.shape in ((16, 16), (16, 64), (64, 16))}
    up = next(name for name, w in weights.items() if w.shape == (16, 64))
    assert shares.pop(up) == pytest.approx(0.75, abs=0.08)
    assert set(shares.values()) == {0.0}
    blocks = (weights[up].reshape(4, 4, 64) == 0).sum(axis=1)
    assert set(np.unique(blocks)) == {0, 4} if pattern == "block" else len(np.unique(blocks)) > 3


# a profile of zeros on top of the stock runtime's


def sparse_profile(pattern="unstructured", ratio=0.25):
    def unit(kind, width, sparsity=0.0):
        whole = made.unit(kind, width, sparsity)
        return whole.model_copy(update={"pattern": pattern}) if sparsity else whole

    entries = [made.timing(unit(kind, width)) for kind, width in (("attention", 4), ("ffn", 128))]
    entries += [
        made.timing(unit(kind, width, 0.9), seconds_each=ratio * made.cost(unit(kind, width)))
        for kind, width in (("attention", 4), ("ffn", 128))
    ]
    record = RuntimeRecord(name=NAME, version="1.0", options={"custom_op_library": "/lib.so"})
    return LatencyProfile(device=made.DEVICE, runtime=record, entries=tuple(entries))


def test_on_top_of_the_stock_profile_it_knows_every_width_and_what_its_own_zeros_bring():
    shape = made.shape((4, 128), (2, 64))
    model = LatencyModel().fit(sparse_profile("block").over(made.profile()))
    dense = 1e3 * made.true_seconds(shape)
    assert model.predict(shape, made.WORKLOAD).ms == pytest.approx(dense)
    whole = (170 + 138) / 4  # 4 heads, 128 neurons; of half the width: halfway to a removed block's 10 us
    half = (10 + 170 / 4) / 2 + (10 + 138 / 4) / 2
    sparse = model.predict(shape, made.WORKLOAD, pattern="block", sparsity=0.9)
    assert sparse.ms == pytest.approx(1e3 * made.GLUE + 1e-3 * (whole + half))
    assert model.sparsity_range(made.WORKLOAD, "fp32", "block") == (0.9, 0.9)
    with pytest.raises(TrimfitError, match="got unstructured zeros, expected some that were measured for hidden size"):
        model.sparsity_range(made.WORKLOAD, "fp32", "unstructured")


def test_below_the_break_even_point_a_model_is_dense_and_above_it_time_falls_evenly():
    point = BreakEven(out_features=128, in_features=384, workload=made.WORKLOAD, precision="fp32", sparsity=0.6)
    of_another_model = point.model_copy(update={"in_features": 256, "sparsity": 0.3})
    profile = sparse_profile(ratio=0.25).with_break_even([point, of_another_model])
    model = LatencyModel().fit(profile.over(made.profile()))
    speedups = [model.zeros_speedup(made.WORKLOAD, "fp32", sparsity) for sparsity in (0.5, 0.6, 0.75, 0.9)]
    assert speedups == pytest.approx([1.0, 1.0, 1.6, 4.0])
    assert model.sparsity_range(made.WORKLOAD, "fp32", "unstructured") == (0.6, 0.9)


def test_it_keeps_its_own_runtime_there():
    assert sparse_profile().over(made.profile()).runtime == PretendSparse(custom_op_library="/lib.so")


def test_between_two_break_even_points_only_one_layer_gains():
    """The layer that reads the hidden state is sparse from 60 % on, and gains at once as was measured."""
    points = [
        BreakEven(out_features=out, in_features=into, workload=made.WORKLOAD, precision="fp32", sparsity=least)
        for out, into, least in ((128, 384, 0.6), (384, 128, 0.8))
    ]
    ratios = {0.62: 0.9, 0.82: 0.5, 0.9: 0.3}
    timed = [
        made.timing(made.unit("ffn", 128, zeros), seconds_each=ratio * made.cost(made.unit("ffn", 128)))
        for zeros, ratio in ratios.items()
    ]
    profile = made.profile().with_entries(timed).with_break_even(points)
    curve = LatencyTable.of(next(iter(tables_of(profile, Clock(profile)))), profile, Clock(profile)).zeros[
        "ffn", "unstructured"
    ]
    dense = 1e6 * made.cost(made.unit("ffn", 128))
    found = [curve.seconds(128, zeros, lambda width: 10 + width) / dense for zeros in (0.5, 0.6, 0.7, 0.85, 0.9)]
    assert found == pytest.approx([1.0, 0.9 + 0.025, 0.9 - 0.08 * 2.5 / 2, 0.5 - 0.03 * 2.5, 0.3])


def test_a_layer_that_is_slower_once_it_is_sparse_gets_no_slower_with_more_zeros():
    """One timing where one layer is sparse, well above its break, and slower than the dense block."""
    curve = ZerosCurve(((128, ((0.5, 1.4), (0.8, 0.5), (0.9, 0.3))),), ((0.5, 0.4), (0.5, 0.7)))
    slope = 0.5 * (0.5 - 0.3) / 0.1  # of half the weights, as steep as where all are sparse
    found = [curve.seconds(128, zeros, lambda width: float(width)) / 128 for zeros in (0.3, 0.45, 0.5, 0.65)]
    assert found == pytest.approx([1.0, 1.4 + 0.05 * slope, 1.4, 1.4 - 0.15 * slope])


def test_between_its_break_and_the_one_timing_above_a_layer_gains_evenly():
    curve = ZerosCurve(((128, ((0.5, 0.8), (0.8, 0.5), (0.9, 0.3))),), ((0.5, 0.4), (0.5, 0.7)))
    found = [curve.seconds(128, zeros, lambda width: float(width)) / 128 for zeros in (0.4, 0.45, 0.5)]
    assert found == pytest.approx([1.0, 0.9, 0.8])


def test_zeros_just_above_a_break_are_asked_for():
    request = ProfileRequest(384, 32, 4, 128, 2, workload=made.WORKLOAD, sparse=True)
    points = [
        BreakEven(out_features=out, in_features=into, workload=made.WORKLOAD, precision="int8", sparsity=least)
        for out, into, least in ((128, 384, 0.55), (384, 128, 2.0))
    ]
    profile = made.profile().with_break_even(points)
    assert just_sparse(profile, request, "ffn", "int8") == (0.57,)
    assert just_sparse(profile, request, "ffn", "fp32") == ()
    asked = request.units("ffn", "int8", (0.57,))
    assert [unit.sparsity for unit in asked if unit.width == 128 and unit.sparsity] == [0.5, 0.57, 0.7, 0.8, 0.9, 0.95]
