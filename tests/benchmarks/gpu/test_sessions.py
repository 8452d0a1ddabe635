"""Sessions whose buffers stay on a device, timed as on a GPU; this CPU stands in for it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import onnxruntime
import pytest

from benchmarks import Budget, Contestant, Measurement, Samples, TrimfitError, measure
from benchmarks.gpu import load_onnxruntime
from benchmarks.gpu.accelerator import STAND_IN, HostAccelerator
from benchmarks.gpu.onnxruntime_session import (
    CUDA_PROVIDER,
    TENSORRT_PROVIDER,
    OnnxRuntimeGpuSession,
    _providers,
    open_session,
)
from benchmarks.gpu.placement import elsewhere, on_device_in_words
from benchmarks.gpu.rig import GpuRig
from benchmarks.gpu.session import FIRST, GpuCall
from benchmarks.inputs import model_inputs
from benchmarks.rig import Graph
from benchmarks.worker import __main__ as worker

LOADER = load_onnxruntime.__file__


@pytest.fixture
def x(mlp):
    (declared,) = model_inputs(mlp)
    return {declared.name: np.random.default_rng(0).standard_normal((3, 2, declared.shape[-1])).astype(np.float32)}


@pytest.fixture
def session(mlp):
    return open_session(str(mlp), {}, 1, STAND_IN)


def expected(mlp, x):
    return onnxruntime.InferenceSession(str(mlp), providers=["CPUExecutionProvider"]).run(None, x)


def test_bound_buffers_give_what_the_plain_session_gives(mlp, session, x):
    for feed in (x, {name: 2 * values for name, values in x.items()}, {name: values[:1] for name, values in x.items()}):
        for found, wanted in zip(session.run(None, feed), expected(mlp, feed), strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert len(session._plans) == 2


def test_the_first_output_is_asked_for_without_its_name(mlp, session, x):
    (found,) = session.run(FIRST, x)
    np.testing.assert_array_equal(found, expected(mlp, x)[0])


def test_inputs_of_another_type_are_converted(mlp, session, x):
    doubles = {name: values.astype(np.float64) for name, values in x.items()}
    np.testing.assert_array_equal(session.run(None, doubles)[0], expected(mlp, x)[0])


def test_shapes_that_are_not_seen_again_make_room(mlp, session, x, monkeypatch):
    monkeypatch.setattr("benchmarks.gpu.onnxruntime_session._MOST_PLANS", 2)
    (name,) = x
    for rows in (1, 2, 3, 2):
        session.run(None, {name: np.ones((rows, 1, x[name].shape[2]), np.float32)})
    assert [key[0][0] for key in session._plans] == [2, 3]


def test_every_node_is_counted_under_who_runs_it(session):
    nodes = session.nodes()
    assert set(nodes) == {"CPUExecutionProvider"}
    assert sum(nodes["CPUExecutionProvider"].values()) > 0
    assert session.facts()["nodes"] == nodes


def test_an_onnxruntime_that_does_not_tell_is_no_error(mlp):
    class Silent:
        get_inputs = get_outputs = list

    assert OnnxRuntimeGpuSession(Silent(), HostAccelerator()).nodes() == {}


@pytest.mark.parametrize("provider", [CUDA_PROVIDER, TENSORRT_PROVIDER])
def test_an_onnxruntime_without_the_provider_is_refused_with_the_pip_command(mlp, provider):
    with pytest.raises(TrimfitError, match=rf"without {provider}, expected one that has it") as caught:
        open_session(str(mlp), {"provider": provider}, 1, 0)
    assert str(caught.value).endswith("pip install 'onnxruntime-gpu[cuda,cudnn]'")


def test_an_unknown_option_is_refused_by_name(mlp):
    with pytest.raises(TrimfitError, match=r"got runtime option 'turbo', expected one of provider"):
        open_session(str(mlp), {"turbo": True}, 1, STAND_IN)


def test_a_broken_model_is_refused_in_one_line(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(TrimfitError, match=rf"got {broken}, expected an ONNX model") as caught:
        open_session(str(broken), {}, 1, STAND_IN)
    assert "\n" not in str(caught.value)


def test_cuda_is_told_its_stream_and_leaves_tf32_out():
    class Accelerator(HostAccelerator):
        kind, index, stream = "cuda", 3, 77

    (name, told), rest = _providers(CUDA_PROVIDER, {}, Accelerator(), graphs=True)
    assert (name, rest[0]) == (CUDA_PROVIDER, "CPUExecutionProvider")
    place = {"device_id": "3", "user_compute_stream": "77"}
    assert told == {**place, "use_tf32": "0", "enable_cuda_graph": "1"}
    tensorrt, cuda, cpu = _providers(TENSORRT_PROVIDER, {"provider_options": {"a": 1}}, Accelerator(), graphs=True)
    assert tensorrt == (TENSORRT_PROVIDER, {**place, "trt_cuda_graph_enable": "1", "a": "1"})
    assert cuda[1]["enable_cuda_graph"] == "0"
    assert cpu[0] == "CPUExecutionProvider"


class Recorded:
    """A session that notes the number of the CUDA graph it is run with."""

    def __init__(self, session):
        self.session, self.graphs = session, []

    def __getattr__(self, name):
        return getattr(self.session, name)

    def run_with_iobinding(self, binding, options):
        self.graphs.append(int(options.get_run_config_entry("gpu_graph_id")))
        self.session.run_with_iobinding(binding)


def test_a_shape_that_comes_again_is_captured_under_a_number_of_its_own(mlp, x):
    recorded = Recorded(onnxruntime.InferenceSession(str(mlp), providers=["CPUExecutionProvider"]))
    session = OnnxRuntimeGpuSession(recorded, HostAccelerator(), graphs=True)
    other = {name: values[:1] for name, values in x.items()}
    for feed in (x, x, x, x, other, other, other):
        session.run(None, feed)
    first, second = recorded.graphs[:5], recorded.graphs[5:]
    assert first == [-1, -1, -1, 1, 1]  # the first call of a shape finds its outputs' sizes
    assert second == [-1, -1, -1, 2]


def test_more_shapes_than_are_captured_run_plainly(mlp, x, monkeypatch):
    monkeypatch.setattr("benchmarks.gpu.onnxruntime_session._MOST_GRAPHS", 1)
    recorded = Recorded(onnxruntime.InferenceSession(str(mlp), providers=["CPUExecutionProvider"]))
    session = OnnxRuntimeGpuSession(recorded, HostAccelerator(), graphs=True)
    (name,) = x
    for rows in (1, 2):
        for _ in range(5):
            session.run(None, {name: np.ones((rows, 1, x[name].shape[2]), np.float32)})
    assert Counter(recorded.graphs) == {-1: 3 + 6, 1: 3}


def test_a_graph_that_cannot_be_captured_says_so(mlp, x):
    class Failing(Recorded):
        def run_with_iobinding(self, binding, options):
            super().run_with_iobinding(binding, options)
            if self.graphs[-1] != -1:
                raise RuntimeError("operation not permitted when stream is capturing")

    failing = Failing(onnxruntime.InferenceSession(str(mlp), providers=["CPUExecutionProvider"]))
    session = OnnxRuntimeGpuSession(failing, HostAccelerator(), graphs=True)
    graph = Graph(mlp, x, session=lambda: session.run)
    with pytest.raises(TrimfitError, match=r"when stream is capturing from onnxruntime.*leave cuda_graph out"):
        GpuRig(lambda: None).load("a", graph)


def test_a_rig_wakes_the_device_before_it_times(mlp, session, x):
    woken = []
    with GpuRig(lambda: woken.append(True)) as rig:
        rig.load("a", Graph(mlp, x, session=lambda: session.run))
        assert not woken
        found = rig.measure(budget=Budget(max_seconds=0.1, launches=1, rounds=3))
    assert woken == [True]
    assert len(found["a"]) == 3


class Device(HostAccelerator):
    """Notes what is done with it."""

    def __init__(self):
        super().__init__()
        self.done = []

    def flush(self):
        self.done.append("flush")

    def wake(self):
        self.done.append("wake")

    def stop(self):
        self.done.append("stop")
        return 0.125


@pytest.mark.parametrize(("cold", "before"), [(False, []), (True, ["flush"])])
def test_the_worker_wakes_once_and_empties_the_cache_before_each_cold_call(mlp, x, cold, before):
    device = Device()
    plain = onnxruntime.InferenceSession(str(mlp), providers=["CPUExecutionProvider"])
    watch = worker.Stopwatch(GpuCall(OnnxRuntimeGpuSession(plain, device), cold=cold), [x], seed=0)
    warm = worker.warm_up(watch, calls=2, seconds=0.0)
    assert device.done[0] == "wake"
    assert device.done[1:] == [*before, "stop"] * len(warm["seconds"])
    assert set(warm["device_seconds"]) == {0.125}


def test_a_run_without_a_device_has_no_column_for_it(mlp, x):
    watch = worker.Stopwatch(lambda feed: feed, [x], seed=0)
    assert set(watch.calls(1)) == {"seconds", "cpu_seconds", "preemptions"}


def test_models_are_measured_in_processes_of_their_own_with_what_the_device_took(mlp, in_its_place):
    contestants = [
        Contestant(name=name, model=mlp, runtime="onnxruntime-cuda", loader=LOADER, options=options)
        for name, options in (("warm", {}), ("cold", {"cold_cache": True}))
    ]
    found = measure(contestants, budget=Budget(launches=2, min_launches=1, rounds=2, min_samples=1, max_seconds=2))
    for m in found:
        assert m.provenance == "measured_proxy"
        assert len(m.samples.device_seconds) == len(m.samples)
        assert 0 < m.device_median <= m.median
        assert sum(m.nodes["CPUExecutionProvider"].values()) > 0
        assert m.environment.device == "no GPU, this CPU in its place, driver "
        assert Measurement.model_validate_json(m.model_dump_json()) == m
        assert " ms on the GPU; 2 of 2 nodes run on the CPU: 2 MatMul" in on_device_in_words(m)


def test_nodes_that_fell_back_to_the_cpu_are_named_by_their_operators():
    cpu = dict(zip("ABCDEFG", (1, 7, 2, 2, 1, 1, 1), strict=True))
    nodes = {"CUDAExecutionProvider": {"MatMul": 85}, "CPUExecutionProvider": cpu}
    assert elsewhere(nodes) == (15, 100, "7 B, 2 C, 2 D, 1 A, 1 E, 1 F, ...")
    assert elsewhere({"CUDAExecutionProvider": {"MatMul": 85}}) == (0, 85, "")


def test_columns_and_facts_of_a_device_are_written_only_where_there_is_one():
    plain = Samples(launch=(0,), round=(0,), kind=("timed",), seconds=(1.0,), cpu_seconds=(1.0,), preemptions=(0,))
    assert "device_seconds" not in plain.model_dump()
    there = plain.model_copy(update={"device_seconds": (0.5,)})
    assert Samples.model_validate(json.loads(there.model_dump_json())) == there


def test_samples_of_several_lengths_keep_the_seconds_on_the_device():
    column = {"launch": (0, 0), "round": (0, 0), "kind": ("timed",) * 2, "preemptions": (0, 0)}
    both = Samples(**column, seconds=(1.0, 2.0), cpu_seconds=(1.0, 2.0), seq_len=(5, 9), device_seconds=(0.5, 0.75))
    assert both.at(9).device_seconds == (0.75,)


def test_one_thread_that_is_not_pinned_drives_a_gpu(in_its_place):
    assert in_its_place.cpus(4, np.random.default_rng(0)) == ()
    assert in_its_place.cores == 1
