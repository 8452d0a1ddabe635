"""The same over a real ssh daemon and a real adb daemon; and what a link that breaks in the middle does."""

from __future__ import annotations

import tempfile
import venv

import numpy as np
import onnxruntime
import pytest

from benchmarks import Budget, Contestant, Workload, measure
from benchmarks.answers import answer_differences
from benchmarks.errors import DeviceUnreachableError, TrimfitError
from benchmarks.place import current_place
from benchmarks.rig import Graph
from hardware_profiles import EncoderShape, encoder_graph, local_device, random_inputs, reach
from hardware_profiles.bench import graph_of
from hardware_profiles.places.inspection import PYTHON_VARIABLE
from hardware_profiles.places.remote_rig import RemoteRig
from hardware_profiles.runtimes import MnnCpu, refused

QUICK = Budget(launches=2, min_launches=2, rounds=3, max_seconds=1.0, precision=10)
FEED = {"x": np.ones((3, 4), np.float32)}


@pytest.fixture(params=["sshd", "adbd"])
def far(request):
    return request.getfixturevalue(request.param)


def test_models_are_timed_behind_a_real_link_and_nothing_is_left_there(far, model):
    before = far.left_behind
    with reach(far.name) as device:
        assert device.fingerprint == local_device().fingerprint
        (m,) = measure([Contestant(name="a", model=model)], budget=QUICK)
    assert m.median > 0
    assert m.environment.packages["numpy"]
    assert far.left_behind == before


def test_a_link_that_breaks_while_graphs_are_timed_is_one_line_and_the_next_rig_works(far, model, monkeypatch):
    answer = RemoteRig._answer

    def cut_before_the_answer(rig, what, seconds=0.0):
        if seconds:
            far.cut()
        return answer(rig, what, seconds)

    with reach(far.name), monkeypatch.context() as patch:
        patch.setattr(RemoteRig, "_answer", cut_before_the_answer)
        with pytest.raises(DeviceUnreachableError) as caught:
            timed(model)
        assert "\n" not in str(caught.value)
        patch.undo()
        assert (timed(model) > 0).all()


def timed(model):
    with current_place().rig() as rig:
        rig.load("a", Graph(model, FEED))
        return rig.measure(budget=Budget(rounds=1, max_seconds=1))["a"]


@pytest.fixture
def bare_python():
    """An interpreter without packages, where the far side sees it: /tmp is its own there."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        venv.create(folder, symlinks=True)
        yield f"{folder}/bin/python3"


def test_a_device_whose_python_lacks_onnxruntime_is_one_line_with_the_command(far, bare_python, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, bare_python)
    before = far.left_behind
    with pytest.raises(TrimfitError) as caught, reach(far.name):
        raise AssertionError("a device without onnxruntime was taken")
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"on {far.name} got no numpy and no onnxruntime in {bare_python}, expected")
    assert f"pip install numpy onnxruntime=={onnxruntime.__version__}" in line
    assert far.left_behind == before


@pytest.mark.skipif("mnn-cpu" in refused(), reason=refused().get("mnn-cpu", ""))
def test_a_runtime_with_a_loader_of_its_own_is_timed_there_and_answers_as_here(far, tmp_path):
    encoder = encoder_graph(EncoderShape.uniform(32, 8, 1, 4, 64), tmp_path / "encoder.onnx")
    feed = random_inputs(Workload(seq_len=7))
    np.savez(tmp_path / "pool.npz", **{name: values[None] for name, values in feed.items()})
    before = far.left_behind
    with reach(far.name) as device:
        runtime = MnnCpu().at("int8")
        assert device.runtimes["mnn-cpu"] == runtime.version
        made = runtime.prepare(encoder, "int8", tmp_path / "made.onnx")
        with current_place().rig() as rig:
            rig.load("a", graph_of(runtime, made, feed, 1))
            assert (rig.measure(budget=Budget(rounds=3, max_seconds=1))["a"] > 0).all()
        known = Contestant(
            name="a", model=made, runtime=runtime.name, options=runtime.options(), loader=runtime.loader()
        )
        assert answer_differences([known], {"a": tmp_path / "pool.npz"}, {})["a"] < 1e-6
    assert far.left_behind == before
